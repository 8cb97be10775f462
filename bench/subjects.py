"""What is measured: hubs, provisioned alike, each with a row for every satellite; and the floors, which are none."""

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
from pathlib import Path
from typing import Any

from helpers.hub_process import BUS_AGENT, HOST, HubProcess
from helpers.processes import Child, Children, port_open, wait_until
from helpers.released import PINS, released
from hivemind_bus_client.version import __version__

from .buses import Buses, Voice, join
from .floors import Floor
from .loop_watch import LoopWatch
from .names import EMBEDDED, FLOORS, OUR_HUBS, PASSWORD, RELAY, RELEASED
from .process import Memory, Spent, cpu_s, memory, spent
from .satellites import PEM, Device, Keyring, access_key, close_all, open_all
from .starting import until_accepting

SETTLE_S = 1.0


class BenchHub(HubProcess):
    """A hub that may be started with more in its environment."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.environ: dict[str, str] = {}
        self.waits_for_bus = False
        super().__init__(*arguments, **named)

    def start_timed(self) -> float:
        """Start it, and wait until ours has joined the bus there is; the seconds until it accepted connections."""
        taken = self.accept()
        assert self.child is not None
        if self.waits_for_bus and self._joins_a_bus and port_open(self.bus_port):
            self.child.wait_output("Connected to the message bus")
        return taken

    def accept(self) -> float:
        """Start it and wait until it accepts connections; the seconds it took."""

        def start() -> Child:
            return self._children.spawn(self.name, [self._program, "listen"], self.home, self.environ)

        self.child, taken = until_accepting(start, self.port)
        return taken


class Subject:
    """One hub, its devices, and its running process while there is one."""

    bare = ""

    def __init__(self, children: Children, name: str, buses: Buses) -> None:
        self.name = name
        self.is_ours = name in OUR_HUBS
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
        self.hub.waits_for_bus = self.is_ours
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

    def accept(self) -> float:
        """Start the hub and wait for nothing else; the seconds until it accepted connections."""
        return self.hub.accept()

    def start(self, *, watched: bool = False, settles: bool = True) -> float:
        """Start the hub and wait for its bus; the seconds until it accepted connections."""
        self.hub.environ = dict(self.more_environ)
        if watched:
            self.watch = LoopWatch(self.hub.home.path / "loop")
            self.hub.environ |= self.watch.environ
        taken = self.hub.start_timed()
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

    def voice(self) -> Voice:
        """Somebody on its bus."""
        return Voice(self.hub.bus_port)

    def cpu_s(self) -> float:
        """Processor time so far, in seconds."""
        return cpu_s(self.pid)

    def spent(self) -> Spent:
        return spent(self.pid)

    def memory(self) -> Memory:
        return memory(self.pid)


AnySubject = Subject | Floor


def make(children: Children, name: str, buses: Buses) -> AnySubject:
    """Install a subject in a home of its own."""
    if name in FLOORS:
        return Floor(children, name, buses.port(name) if name == RELAY else 0)
    return Subject(children, name, buses)


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


__all__ = ["AnySubject", "Floor", "Subject", "commit", "make", "version"]
