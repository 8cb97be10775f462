"""The floors as processes: what no hub of this kind can do without. They let everybody in."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from helpers.processes import Child, Children, free_port

from . import ROOT
from .bare_link import ECHO
from .bare_link import RELAY as RELAYS
from .loop_watch import LoopWatch
from .names import BARE, PASSWORD, RELAY
from .process import Memory, Spent, cpu_s, memory, spent
from .satellites import PEM, Keyring
from .starting import until_accepting

KINDS = {BARE: ECHO, RELAY: RELAYS}
"""How satellites speak with each."""


class Floor:
    """A floor, and its running process while there is one: see `bare_echo` and `bare_relay`."""

    is_ours = False
    rows = 1_000_000
    watch: LoopWatch | None = None

    def __init__(self, children: Children, name: str, bus_port: int = 0) -> None:
        self.name = name
        self.bare = KINDS[name]
        self.port = free_port()
        self.keyring = Keyring(PASSWORD, PEM.format("bench"))
        self.more_arguments: tuple[str, ...] = ("--bus", str(bus_port)) if bus_port else ()
        self.more_environ: dict[str, str] = {}
        self.home = children.home(name.replace(" ", "-"))
        self._children = children
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def provide(self, count: int, keys: Mapping[str, str] | None = None) -> None:
        """Nothing is needed."""

    def accept(self) -> float:
        """Start it; the seconds until it listened."""
        argv = [sys.executable, "-m", f"bench.bare_{self.bare}", "--port", str(self.port), *self.more_arguments]
        environ = {"PYTHONPATH": str(ROOT), **self.more_environ}
        if self.watch is not None:
            more = self.watch.environ
            environ |= {**more, "PYTHONPATH": f"{more['PYTHONPATH']}:{ROOT}"}

        def start() -> Child:
            return self._children.spawn(self.name.replace(" ", "-"), argv, self.home, environ)

        self._child, taken = until_accepting(start, self.port)
        return taken

    def start(self, *, watched: bool = False, settles: bool = True) -> float:
        """Start it; the seconds until it listened."""
        self.watch = LoopWatch(self.home.path / "loop") if watched else None
        return self.accept()

    def stop(self) -> None:
        """End it."""
        assert self._child is not None
        self._child.stop()

    def cpu_s(self) -> float:
        """Processor time so far, in seconds."""
        return cpu_s(self.pid)

    def spent(self) -> Spent:
        return spent(self.pid)

    def memory(self) -> Memory:
        return memory(self.pid)
