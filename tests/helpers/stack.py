"""A deployment that runs: the containers that a documented command line started, and a satellite beside them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .containers import ROOT, Clone, composed, rendered
from .engines import Network, settle
from .processes import Home

BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery staple 42"
OWNER = 1000
UP_S = 240
SATELLITE_S = 180


@dataclass
class Stack:
    """A deployment that runs."""

    program: str
    clone: Clone
    network: Network
    composer: list[str | Path]
    command: str
    """The command line that starts it, as it is documented."""
    environ: dict[str, str]
    home: Home

    @property
    def version(self) -> str:
        """The tag of its images."""
        services = rendered(self.clone, self.command)["services"]
        return str(services["hivemind_cli"]["image"].rpartition(":")[2])

    def compose(
        self, *more: str, command: str = "", files: Sequence[Path] = (), **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run its command line, or another one, with more files after those it names and more words at its end."""
        words = composed(command or self.command, self.composer)
        at = words.index("up")
        words[at:at] = [part for file in files for part in ("--file", file)]
        return self.clone.run([*self.network.prefix, *words, *more], timeout_s=UP_S, **{**self.environ, **environ})

    def engine(self, *argv: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return self.clone.run([*self.network.prefix, self.program, *argv], timeout_s=timeout_s, **self.environ)

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(self.engine("inspect", "--type", "container", container).stdout)
        return dict(found)

    def state(self, container: str) -> dict[str, Any]:
        return dict(self.inspect(container)["State"])

    def exec(self, container: str, *argv: str) -> str:
        done = self.engine("exec", container, *argv)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def healthy(self, container: str) -> bool:
        """Ask the container's own health check, whatever runs it otherwise."""
        if self.program == "podman":
            return self.engine("healthcheck", "run", container).returncode == 0
        return bool(self.state(container)["Health"]["Status"] == "healthy")

    def logs(self, container: str, lines: int = 40) -> str:
        done = self.engine("logs", "--tail", str(lines), container)
        return done.stdout + done.stderr

    def wait_healthy(self, *containers: str) -> None:
        for name in containers:
            settle(lambda name=name: self.healthy(name), UP_S, lambda name=name: f"{name}: {self.logs(name)}")

    def crash(self, container: str, name: str) -> None:
        """Kill the process whose command line has a name, from inside, as if it had crashed."""
        kill = "import os\nfor p in filter(str.isdigit, os.listdir('/proc')):\n"
        kill += f" if b'{name}' in open(f'/proc/{{p}}/cmdline','rb').read() and int(p) > 1: os.kill(int(p), 9)"
        self.engine("exec", container, "python3", "-c", kill)

    def restarts(self, container: str) -> int:
        return int(self.inspect(container)["RestartCount"])

    def exit_codes(self) -> dict[str, int]:
        """How each container ended."""
        names = self.engine("ps", "--all", "--format", "{{.Names}}").stdout.split()
        return {name: int(self.state(name)["ExitCode"]) for name in names}

    def names(self) -> set[str]:
        return set(self.engine("ps", "--format", "{{.Names}}").stdout.split())

    def clients(self, container: str) -> list[str]:
        listed = json.loads(self.exec(container, "hivemind-core", "list-clients", "--json"))
        return [client["name"] for client in listed]

    def by_hand(self, line: str) -> str:
        """What a person sees who types a line in a terminal."""
        done = self.clone.run(
            [*self.network.prefix, "script", "--quiet", "--return", "--command", line, "/dev/null"], **self.environ
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def satellite(self, *argv: str | Path) -> str:
        """Run a program of ours as a satellite on the machine the containers are on."""
        done = subprocess.run(
            [*self.network.prefix, *(str(part) for part in argv)],
            capture_output=True,
            text=True,
            timeout=SATELLITE_S,
            env=self.home.environ(),
            check=False,
        )
        return done.stdout + done.stderr

    def join(self, name: str) -> None:
        """Make a client in hivemind_cli and set a satellite up with what it prints."""
        made = ["--name", name, "--access-key", f"key-of-the-{name}", "--password", PASSWORD]
        printed = self.exec("hivemind_cli", "hivemind-core", "add-client", *made)
        (line,) = [line.strip() for line in printed.splitlines() if "set-identity" in line]
        assert "--host hub.example --port 5678" in line
        _, *arguments = shlex.split(line.replace("hub.example", "127.0.0.1"))
        self.satellite(BIN / "hivemind-client", *arguments)

    def ask(self, question: str) -> str:
        return self.satellite(sys.executable, ROOT / "examples" / "ask.py", *question.split())


def make_folders(clone: Clone) -> None:
    """Run what `.env.example` says, as the owner it names."""
    for folder in clone.folders():
        folder.mkdir(parents=True, exist_ok=True)
    for path in (clone.home, *clone.home.rglob("*")):
        os.chown(path, OWNER, OWNER)
    for parent in (clone.home, *clone.home.parents):
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o711)
