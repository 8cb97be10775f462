"""What is measured: hubs, provisioned alike, each with a row for every satellite; and the floor, which is no hub."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers import bus_stub
from helpers.hub_process import BUS_AGENT, HOST, UTTERANCE, HubProcess
from helpers.ovos import STABLE, Ovos
from helpers.processes import Child, Children, free_port, port_open, wait_until
from helpers.released import PINS, released
from hivemind_bus_client.version import __version__

from . import ROOT
from .loop_watch import LoopWatch
from .process import Memory, cpu_s, memory
from .report import OURS
from .satellites import PEM, Device, Keyring, access_key, close_all, open_all

PASSWORD = "correct horse battery staple 42"
RELEASED = "released-hub"
BARE = "bare echo"
EMBEDDED, OVOS_BUS = "ours, embedded bus", "ours, OVOS bus"
RELEASED_OVOS_BUS = "released-hub, OVOS bus"
EAR = "hivemind-bench-ear"
SETTLE_S = 1.0
BATCH = 5000


@dataclass
class Buses:
    """The assistants' buses: one stub behind all hubs that join one, and one of a real OVOS."""

    children: Children
    _ports: dict[str, int] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """The port of the bus behind a subject, started when it is first wanted."""
        if name == EMBEDDED:
            return free_port()  # the hub itself serves it
        kind = "ovos" if name in (OVOS_BUS, RELEASED_OVOS_BUS) else "stub"
        if kind not in self._ports:
            self._ports[kind] = self._ovos() if kind == "ovos" else start_bus(self.children)
        return self._ports[kind]

    def _ovos(self) -> int:
        ovos = Ovos(self.children, STABLE)
        ovos.start_bus()
        join(self.children, ovos.port)
        return ovos.port


def start_bus(children: Children) -> int:
    """The one bus stub behind every hub; its port."""
    port: int = children.spawn("bus", [sys.executable, bus_stub.__file__]).expect("ready")["port"]
    return port


def module(children: Children, name: str, *arguments: str) -> Child:
    """Start a module of this package as a process."""
    argv = [sys.executable, "-m", f"bench.{name}", *arguments]
    return children.spawn(name, argv, env={"PYTHONPATH": str(ROOT)})


def join(children: Children, port: int) -> Child:
    """Let an assistant join a bus."""
    child = module(children, "responder", "--port", str(port))
    child.expect("joined")
    return child


class BenchHub(HubProcess):
    """A hub that may be started with more in its environment."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.environ: dict[str, str] = {}
        super().__init__(*arguments, **named)

    def start(self) -> Child:
        """Start it and wait until it accepts connections, and ours until it has joined the bus there is."""
        return self._started(self.environ)

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        self.child = self._children.spawn(self.name, [self._program, "listen"], self.home, self.environ)


class Subject:
    """One hub, its devices, and its running process while there is one."""

    bare = False

    def __init__(self, children: Children, name: str, buses: Buses) -> None:
        self.name = name
        self.is_ours = name in (OURS, EMBEDDED, OVOS_BUS)
        self.rows = 0
        """Devices that may connect."""
        self.keyring = Keyring(PASSWORD, PEM.format("bench"))
        self.watch: LoopWatch | None = None
        self.more_environ: dict[str, str] = {}
        """What the hub is to have in its environment."""
        self._children = children
        self._row: dict[str, Any] = {}
        self._responder: Child | None = None
        programs = Path(sys.executable).parent if self.is_ours else released(RELEASED)
        bus_port = buses.port(name)
        self.hub = BenchHub(children, programs / "hivemind-core", bus_port, name=re.sub(r"\W+", "-", name))
        self.configure({})

    @property
    def port(self) -> int:
        """Where satellites connect."""
        return self.hub.port

    @property
    def pid(self) -> int:
        assert self.hub.child is not None
        return self.hub.child.pid

    def configure(self, extra: Mapping[str, Any]) -> None:
        """Write server.json anew, with more in it."""
        agent: dict[str, Any] = {}
        if self.name == EMBEDDED:
            address = {"host": HOST, "port": self.hub.bus_port}
            agent = {"agent_protocol": {"module": "embedded", BUS_AGENT: address}}
        self.hub.configure({**agent, **extra})

    def provide(self, count: int, keys: Mapping[str, str] | None = None) -> None:
        """See that so many devices may connect, all with one password and a key that is derived already; and those with
        passwords of their own (access key -> password), with none."""
        if not self._row:
            self._meet_first()
        metadata = json.loads(self._row["metadata"] or "{}")
        metadata = {key: value for key, value in metadata.items() if "pub" not in key}
        row = {**self._row, "metadata": json.dumps(metadata)}
        self._add([{**row, "api_key": access_key(number)} for number in range(self.rows, count)])
        fresh = {**self._row, "metadata": "{}"}
        self._add([{**fresh, "api_key": key, "password": password} for key, password in (keys or {}).items()])
        self.rows = max(self.rows, count)

    def _meet_first(self) -> None:
        """Make one row with the hub's own command, and let its device connect: so the key is derived and kept."""
        self.hub.add_client(access_key(0), PASSWORD, name="bench")
        for right in ("allow-propagate", "allow-escalate"):
            self.hub.command(right, access_key(0))
        self.start()

        async def meet() -> None:
            await close_all(await open_all([Device(access_key(0))], self.keyring, self.port))

        asyncio.run(meet())
        self.stop()
        with closing(sqlite3.connect(self.hub.database)) as connection:
            cursor = connection.execute("SELECT * FROM clients")
            self._row = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
        self.rows = 1

    def _add(self, rows: list[dict[str, Any]]) -> None:
        with closing(sqlite3.connect(self.hub.database)) as connection, connection:
            (last,) = connection.execute("SELECT max(client_id) FROM clients").fetchone()
            columns = list(self._row)
            marks = ",".join("?" * len(columns))
            values = [list({**row, "client_id": last + number}.values()) for number, row in enumerate(rows, 1)]
            connection.executemany(f"INSERT INTO clients ({','.join(columns)}) VALUES ({marks})", values)

    def start(self, *, watched: bool = False, settles: bool = True) -> float:
        """Start the hub; the seconds until it accepted connections."""
        self.hub.environ = dict(self.more_environ)
        if watched:
            self.watch = LoopWatch(self.hub.home.path / "loop")
            self.hub.environ |= self.watch.environ
        begun = time.monotonic()
        self.hub.start()
        taken = time.monotonic() - begun
        if self.name == EMBEDDED:
            wait_until(lambda: port_open(self.hub.bus_port), 10, "the embedded bus")
            self._responder = join(self._children, self.hub.bus_port)
        if settles:
            time.sleep(SETTLE_S)
        return taken

    def stop(self) -> None:
        """End the hub."""
        self.hub.stop()
        if self._responder is not None:
            self._responder.stop()

    def cpu_s(self) -> float:
        """Processor time so far, in seconds."""
        return cpu_s(self.pid)

    def memory(self) -> Memory:
        return memory(self.pid)


class BareEcho:
    """The floor: see `bare_echo`. It lets everybody in."""

    bare = True
    is_ours = False
    name = BARE
    rows = 1_000_000
    watch: LoopWatch | None = None

    def __init__(self, children: Children) -> None:
        self.port = free_port()
        self.keyring = Keyring(PASSWORD, PEM.format("bench"))
        self._children = children
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def provide(self, count: int, keys: Mapping[str, str] | None = None) -> None:
        """Nothing is needed."""

    def start(self, *, watched: bool = False, settles: bool = True) -> float:
        """Start it; the seconds until it listened."""
        begun = time.monotonic()
        argv = [sys.executable, "-m", "bench.bare_echo", "--port", str(self.port)]
        environ = {"PYTHONPATH": str(ROOT)}
        home = self._children.home("bare-echo")
        if watched:
            self.watch = LoopWatch(home.path / "loop")
            more = self.watch.environ
            environ = {**more, "PYTHONPATH": f"{more['PYTHONPATH']}:{ROOT}"}
        self._child = self._children.spawn("bare-echo", argv, home, environ)
        self._child.wait_line("listening")
        return time.monotonic() - begun

    def stop(self) -> None:
        """End it."""
        assert self._child is not None
        self._child.stop()

    def cpu_s(self) -> float:
        """Processor time so far, in seconds."""
        return cpu_s(self.pid)

    def memory(self) -> Memory:
        return memory(self.pid)


AnySubject = Subject | BareEcho


def make(children: Children, name: str, buses: Buses) -> AnySubject:
    """Install a subject in a home of its own."""
    return BareEcho(children) if name == BARE else Subject(children, name, buses)


def version(name: str) -> str:
    """Which version a subject is."""
    if name.startswith(RELEASED):
        found = re.search(r"^hivemind-core==(.*)$", (PINS / f"{RELEASED}.txt").read_text(), re.MULTILINE)
        return found.group(1) if found else "?"
    return f"{__version__}, commit {commit()}"


def commit() -> str:
    """The commit that is checked out here."""
    argv = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(argv, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"


__all__ = ["UTTERANCE", "AnySubject", "BareEcho", "Buses", "Subject", "commit", "make", "start_bus", "version"]
