"""A satellite and a hub of either make as processes, a bus stub behind the hub and a tap between the two."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest

from . import bus_stub, wire_tap
from .hub_process import HubProcess
from .processes import Child, ChildError, Children, Home, free_port, wait_until
from .released import EnvironmentFailed, released

OURS = "ours"
OUR_PROGRAMS = Path(sys.executable).parent
DRIVERS = Path(__file__).parents[1] / "interop" / "drivers"
KEY = "key-of-the-kitchen"
PASSWORD = "correct horse battery staple 42"
OTHER_KEY = "key-of-the-bedroom"
OTHER_PASSWORD = "another horse another battery 43"
RECONNECT_S = 60
SLOW_S = 60
"""The oldest clients wait 5, 10 and 20 seconds before they try again, and need seconds for a handshake."""
AGAIN_S, TRIES = 8, 4
"""Released hub 4.0.0 stumbles when a client comes while it answers another, and is without its bus for 5 seconds.
The oldest clients miss a hub's offer that comes fast or before them, and then have to connect again."""


def cannot_run(reason: str) -> NoReturn:
    """End the test for want of something outside: a failure in CI, where nobody reads skips, else a skip."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def programs(make: str) -> Path:
    """Where the programs of `ours` or of a released environment are."""
    if make == OURS:
        return OUR_PROGRAMS
    try:
        return released(make)
    except EnvironmentFailed as error:
        cannot_run(f"no environment for {make}: {error}")


class Pair:
    """One hub with one client row (KEY, PASSWORD), running, and satellites that reach it through the tap."""

    _written: ClassVar[dict[str, dict[Path, tuple[int, bytes]]]] = {}
    """What `add-client` of each make of hub has written."""

    def __init__(self, children: Children, satellite_make: str, hub_make: str) -> None:
        self.children = children
        self.satellite_make = satellite_make
        self.hub_make = hub_make
        self.satellite_programs = programs(satellite_make)
        self.bus_record = children.folder / "bus.jsonl"
        stub: list[str | Path] = [sys.executable, bus_stub.__file__, "--record", str(self.bus_record)]
        self.bus = children.spawn("bus", stub)
        bus_port = self.bus.expect("ready")["port"]
        self.hub = HubProcess(children, programs(hub_make) / "hivemind-core", bus_port)
        self._admit()
        self.hub.start()
        self.port = free_port()
        self.tap = self._start_tap()

    def _admit(self) -> None:
        """Make the client row: by the hub's own command once, whose files serve for the next hubs of its make."""
        folder = self.hub.home.data
        if self.hub_make not in self._written:
            self.hub.add_client(KEY, PASSWORD)
            files = [file for file in folder.rglob("*") if file.is_file()]
            self._written[self.hub_make] = {
                file.relative_to(folder): (file.stat().st_mode, file.read_bytes()) for file in files
            }
            return
        for name, (mode, content) in self._written[self.hub_make].items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(mode)

    def _start_tap(self) -> Child:
        ports = ["--port", str(self.port), "--to", str(self.hub.port)]
        tap = self.children.spawn("tap", [sys.executable, wire_tap.__file__, *ports])
        tap.expect("ready")
        return tap

    def cut(self) -> None:
        """Cut every connection and lay a new wire; what passed on the old one is forgotten."""
        self.tap.kill()
        self.tap = self._start_tap()

    def satellite(self, *, key: str = KEY, password: str = PASSWORD, home: Home | None = None) -> Child:
        """Start the driver; without a home of an earlier one it is a new device."""
        argv: list[str | Path] = [self.satellite_programs / "python", DRIVERS / "satellite.py"]
        options = ["--port", str(self.port), "--key", key, "--password", password]
        return self.children.spawn("satellite", [*argv, *options], home or self.new_home())

    def new_home(self) -> Home:
        return self.children.home(f"device-{len(self.children.all)}")

    def close(self, satellite: Child) -> None:
        """End a satellite as a person does."""
        satellite.send("close")
        satellite.expect("done")
        satellite.kill()

    def command(self, home: Home, *arguments: str) -> Child:
        """Start `hivemind-client` of the satellite's make."""
        argv: list[str | Path] = [self.satellite_programs / "hivemind-client", *arguments]
        return self.children.spawn(f"client-{arguments[0]}", argv, home)

    # What passed on the wire

    def patterns(self) -> list[str]:
        """The Noise pattern of every handshake begun so far."""
        return [shake["noise"]["pattern"] for shake in self._shakes("satellite") if "pattern" in shake["noise"]]

    def _shakes(self, sender: str) -> list[dict[str, Any]]:
        texts = [json.loads(x["text"]) for x in self.wire("text") if x["from"] == sender]
        return [text["payload"] for text in texts if text["msg_type"] == "shake"]

    def wire(self, event: str) -> list[dict[str, Any]]:
        """What the tap noted of one kind."""
        return [x for x in self.tap.events() if x["event"] == event]

    def closes(self, sender: str = "hub") -> list[tuple[int, str]]:
        """Code and reason of every close frame one side began with or answered."""
        return [(x["code"], x["reason"]) for x in self.wire("close") if x["from"] == sender]

    def wait_session_after(self, links: int) -> None:
        """Until a satellite has come up on a connection later than the first `links`."""
        wait_until(
            lambda: any(x["link"] > links and x["from"] == "satellite" for x in self.wire("binary")),
            RECONNECT_S,
            f"a session after link {links}\n{self.tap.tail()}",
        )

    def links(self) -> int:
        """How many connections there were."""
        return len(self.wire("up"))


def sent(satellite: Child, text: str) -> bool:
    """Say something; whether it was sent: the session may not be up yet, which the satellite says at once.

    The answer may be there before the driver says that it was sent, so no event is passed over here.
    """

    def outcomes() -> list[str]:
        return [x["event"] for x in satellite.events() if x["event"] in ("sent", "not_sent")]

    before = len(outcomes())
    satellite.send("utterance", text=text)
    wait_until(lambda: len(outcomes()) > before, 60, f"the outcome of sending\n{satellite.tail()}")
    return outcomes()[-1] == "sent"


def talk(satellite: Child, text: str = "hello world", timeout_s: float = SLOW_S) -> None:
    """Say something, again until there is a session to say it in, and hear the answer."""
    wait_until(lambda: sent(satellite, text), timeout_s, f"sending\n{satellite.tail()}")
    satellite.expect("speak", timeout_s, utterance=f"you said: {text}")
    satellite.expect("handled", timeout_s)


def converse(satellite: Child, text: str, *, stumbles: bool, ready: Callable[[], object] = bool) -> None:
    """Say something and hear the answer; where one side `stumbles`, what it loses is said again when it is `ready`."""
    for again in range(1, TRIES if stumbles else 1):
        with contextlib.suppress(ChildError):
            ready()
            talk(satellite, f"{text} {again}", AGAIN_S)
            return
    talk(satellite, text, SLOW_S)
