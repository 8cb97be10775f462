"""Child processes for tests and measurements: private homes, captured output, bounded waits, always ended."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

POLL_S = 0.02
PATIENCE_S = 60.0
"""How long a process may take for anything: only a test that fails waits so long."""
TAIL_LINES = 40
PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to outgoing connections and to whoever asks for any."""


class ChildError(AssertionError):
    """A child did not do what was waited for; the text ends with what it printed."""


def _own_ports() -> Iterator[int]:
    """The ports that no other worker of this run hands out, round and round from any of them."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    own = PORTS[int(worker.removeprefix("gw")) :: int(workers)]
    first = random.SystemRandom().randrange(len(own))
    return cycle([*own[first:], *own[:first]])


_ports = _own_ports()


def free_port() -> int:
    """A TCP port that nothing listens on, and that nobody else is given before it is used."""
    return next(port for port in _ports if _is_free(port))


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("", port))
        return True
    return False


def port_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def json_lines(path: Path) -> list[dict[str, Any]]:
    """What stands in a file of one JSON object a line; a line that is still being written is not there yet."""
    whole, _, _ = path.read_text("utf-8", "replace").rpartition("\n")
    return [json.loads(line) for line in whole.split("\n") if line]


def wait_until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Return the condition's first true value; raise ChildError when the time is over."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise ChildError(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_S)
    return value


class Home:
    """A home directory of its own: nothing a child writes lands in the account that runs the tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in (self.config, self.data, self.state, self.cache, self.tmp):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def config(self) -> Path:
        return self.path / ".config"

    @property
    def data(self) -> Path:
        return self.path / ".local" / "share"

    @property
    def state(self) -> Path:
        return self.path / ".local" / "state"

    @property
    def cache(self) -> Path:
        return self.path / ".cache"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    def environ(self) -> dict[str, str]:
        """The whole environment of a child: nothing of the caller's but where programs are."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.path),
            "XDG_CONFIG_HOME": str(self.config),
            "XDG_DATA_HOME": str(self.data),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(self.cache),
            "XDG_RUNTIME_DIR": str(self.tmp),
            "TMPDIR": str(self.tmp),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONNOUSERSITE": "1",
        }


class Child:
    """One running process. Its standard output is read as lines; everything it prints is kept in files."""

    def __init__(self, name: str, argv: Sequence[str | Path], home: Home, env: Mapping[str, str] | None = None) -> None:
        logs = home.path / "logs"
        logs.mkdir(exist_ok=True)
        stem = f"{len(list(logs.iterdir())) // 2:02}-{name}"
        self.name = name
        self.stdout = logs / f"{stem}.out"
        self.stderr = logs / f"{stem}.err"
        self._lines: list[str] = []
        self._read_to = 0
        self._next_event = 0
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=home.path,
                env={**home.environ(), **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    # What it prints

    def lines(self) -> list[str]:
        """Every whole line it has printed on standard output so far."""
        with self.stdout.open("rb") as file:
            file.seek(self._read_to)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_to += len(whole)
        self._lines += whole.decode("utf-8", "replace").splitlines()
        return self._lines

    def output(self) -> str:
        """Standard output and error as they are now."""
        return self.stdout.read_text("utf-8", "replace") + self.stderr.read_text("utf-8", "replace")

    def tail(self) -> str:
        """The end of what it printed, with its name and how it ended, for a failure's report."""
        state = "running" if self.running else f"exit status {self.process.returncode}"
        last = "\n".join(self.output().splitlines()[-TAIL_LINES:])
        return f"--- {self.name} ({state}) ---\n{last}"

    def events(self) -> list[dict[str, Any]]:
        """The lines that are JSON objects with a key `event`."""
        found = []
        for line in self.lines():
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and "event" in value:
                    found.append(value)
        return found

    # What is waited for

    def wait_line(self, part: str, timeout_s: float = PATIENCE_S) -> str:
        """The first line of its output that contains `part`."""
        found = self._wait(lambda: [x for x in self.lines() if part in x], timeout_s, f"line {part!r}")
        return str(found[0])

    def wait_output(self, part: str, timeout_s: float = PATIENCE_S) -> None:
        """Until `part` stands anywhere in what it printed, unfinished lines and standard error included."""
        self._wait(lambda: part in self.output(), timeout_s, f"output {part!r}")

    def wait_port(self, port: int, timeout_s: float = PATIENCE_S) -> None:
        self._wait(lambda: port_open(port), timeout_s, f"port {port}")

    def wait_exit(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit status. One that does not end is made to say where it stands."""
        try:
            wait_until(lambda: not self.running, timeout_s, "it did not end")
        except ChildError:
            self.process.send_signal(signal.SIGABRT)  # faulthandler prints where every thread is
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            raise ChildError(f"the end of {self.name}: not within {timeout_s:g} s\n{self.tail()}") from None
        return int(self.process.returncode)

    def expect(self, event: str, timeout_s: float = PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """The next event of this name with these values; the ones before it are passed over for good."""
        wanted = {"event": event, **fields}

        def match() -> dict[str, Any] | None:
            events = self.events()
            for index in range(self._next_event, len(events)):
                if wanted.items() <= events[index].items():
                    self._next_event = index + 1
                    return events[index]
            return None

        found: dict[str, Any] = self._wait(match, timeout_s, f"event {wanted}")
        return found

    def _wait(self, condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
        end = time.monotonic() + timeout_s
        while not (value := condition()):
            ended = not self.running
            if ended and not (value := condition()):
                raise ChildError(f"{self.name} ended before {what}\n{self.tail()}")
            if not ended and time.monotonic() > end:
                raise ChildError(f"{self.name}: no {what} within {timeout_s:g} s\n{self.tail()}")
            if not value:
                time.sleep(POLL_S)
        return value

    # What is done to it

    def send(self, command: str, **fields: Any) -> None:
        """One JSON command on its standard input, for the drivers."""
        self.write(json.dumps({"command": command, **fields}) + "\n")

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def stop(self, timeout_s: float = PATIENCE_S) -> int:
        """Ask it to end (SIGTERM), then make it; its exit status."""
        if self.running:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        self.kill()
        return int(self.process.returncode)

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self.close_stdin()


class Children:
    """Every process of one test or measurement; leaving the `with` block ends them all, newest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: list[Child] = []

    def __enter__(self) -> Children:
        atexit.register(self.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        atexit.unregister(self.stop)

    def home(self, name: str) -> Home:
        return Home(self.folder / name)

    def spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        home: Home | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        child = Child(name, argv, home or self.home(name), env)
        self.all.append(child)
        return child

    def run(self, name: str, argv: Sequence[str | Path], home: Home, timeout_s: float = PATIENCE_S) -> str:
        """Run a command to its end and return what it printed on standard output; it must succeed."""
        child = self.spawn(name, argv, home)
        child.close_stdin()
        if child.wait_exit(timeout_s):
            raise ChildError(f"{name} failed\n{child.tail()}")
        return child.stdout.read_text("utf-8", "replace")

    def stop(self) -> None:
        for child in reversed(self.all):
            if child.running:
                child.kill()
            child.close_stdin()

    def report(self) -> str:
        """The end of what each of them printed."""
        return "\n".join(child.tail() for child in self.all)
