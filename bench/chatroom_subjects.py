"""The chatrooms that are measured: at the same hub, each with a client row of its own."""

from __future__ import annotations

import re
import time
from pathlib import Path

from helpers.chatroom_process import BIN, PASSWORD, ChatroomProcess
from helpers.hub_process import HOST, HubProcess
from helpers.processes import Child, Children, free_port
from helpers.released import PINS, released
from hivemind_chatroom.version import __version__

from .browsers import PollTab, StreamTab
from .buses import start_bus
from .report import OURS
from .subjects import commit

RELEASED = "released-chatroom"
UNLIMITED = "1000000"
"""Messages a minute: one browser sends here what else many do."""


class OurRoom:
    """Our chatroom, with its own defaults but for the limit on one browser."""

    name = OURS
    tab = StreamTab

    def __init__(self, children: Children, hub_port: int) -> None:
        self._process = ChatroomProcess(children, hub_port, "--rate", UNLIMITED)

    @property
    def port(self) -> int:
        return self._process.port

    @property
    def pid(self) -> int:
        assert self._process.child is not None
        return self._process.child.pid

    def start(self) -> float:
        """Start it; the seconds until it had its link to the hub."""
        begun = time.monotonic()
        self._process.start(key=self.name)
        return time.monotonic() - begun

    def stop(self) -> None:
        self._process.stop()


class ReleasedRoom:
    """The released chatroom in its own environment, with its own defaults."""

    name = RELEASED
    tab = PollTab

    def __init__(self, children: Children, hub_port: int) -> None:
        self.port = free_port()
        self._children = children
        self._programs = released(RELEASED)
        self._home = children.home(self.name)
        self._child: Child | None = None
        identity = {"key": self.name, "password": PASSWORD, "siteid": "flask", "host": HOST, "port": str(hub_port)}
        options = [part for name, value in identity.items() for part in (f"--{name}", value)]
        children.run("set-identity", [self._programs / "hivemind-client", "set-identity", *options], self._home)

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self) -> float:
        """Start it; the seconds until it served, which it does once it has its link to the hub."""
        begun = time.monotonic()
        argv: list[str | Path] = [self._programs / "hivemind-flask-chatroom", "--host", HOST, "--port", str(self.port)]
        self._child = self._children.spawn(self.name, argv, self._home)
        self._child.wait_port(self.port)
        return time.monotonic() - begun

    def stop(self) -> None:
        assert self._child is not None
        self._child.stop()


Room = OurRoom | ReleasedRoom
ROOMS: dict[str, type[OurRoom] | type[ReleasedRoom]] = {RELEASED: ReleasedRoom, OURS: OurRoom}


def make_rooms(children: Children, names: tuple[str, ...]) -> list[Room]:
    """Start the hub and what answers there, and install the chatrooms."""
    hub = HubProcess(children, BIN / "hivemind-core", start_bus(children))
    for name in names:
        hub.add_client(name, PASSWORD, name=name)
    hub.start()
    return [ROOMS[name](children, hub.port) for name in names]


def version(name: str) -> str:
    """Which version a chatroom is."""
    if name == RELEASED:
        pins = (PINS / f"{RELEASED}.txt").read_text()
        found = re.search(r"^hivemind-flask-chatroom==(.*)$", pins, re.MULTILINE)
        return found.group(1) if found else "?"
    return f"{__version__}, commit {commit()}"
