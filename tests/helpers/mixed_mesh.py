"""Hubs and satellites of both makes in one mesh, all of them processes of their own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hivemind_bus_client.identity import NodeIdentity

from . import bus_stub
from .hub_process import HOST, HubProcess
from .pair import DRIVERS, OURS, programs
from .processes import Child, Children, Home, free_port, json_lines, wait_until

LEVEL_BUS = Path(bus_stub.__file__).with_name("level_bus.py")
THEIRS = "released-hub"
IDENTITY_FOLDER = {OURS: "hivemind-core", THEIRS: "hivemind"}
CLIENTS = {OURS: OURS, THEIRS: "released-client"}
PASSWORD = "orbital-walnut-cipher-93-lantern"
UTTERANCE = "recognizer_loop:utterance"
TYPES = (UTTERANCE, "speak")
"""What every row is allowed to say."""
WAIT_S = 60.0
SURVEYOR = "surveyor"
"""The site of those who only ask who is there."""
QUIET_S = 0.5
"""How long nothing more is waited for where nothing may come; over HTTP released satellites ask once a second."""
HTTP_QUIET_S = 1.2


@dataclass(frozen=True)
class Seat:
    """Where a satellite is: its make, its hub, its site, and how it speaks with the hub."""

    make: str
    hub: str
    site: str
    http: bool = False


@dataclass
class Node:
    """A hub and the bus of its agent."""

    make: str
    site: str
    hub: HubProcess
    record: Path
    pem: str
    http_port: int = 0

    def heard(self, words: str, topic: str = UTTERANCE) -> list[dict[str, Any]]:
        """What came onto its agent's bus with these words in it."""
        frames = json_lines(self.record)
        return [frame for frame in frames if frame["type"] == topic and words in json.dumps(frame["data"])]

    def log(self) -> str:
        assert self.hub.child is not None
        return self.hub.child.output()


@dataclass
class Satellite:
    """A satellite under remote control."""

    name: str
    seat: Seat
    child: Child
    pem: str = ""
    told: int = 0

    def got(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Its events with these values."""
        wanted = {"event": event, **fields}
        return [found for found in self.child.events() if wanted.items() <= found.items()]

    def wait(self, event: str, **fields: Any) -> dict[str, Any]:
        """The first of these events."""
        what = f"{event} {str(fields)[:500]} at {self.name}"
        found: list[dict[str, Any]] = wait_until(lambda: self.got(event, **fields), WAIT_S, what)
        return found[0]

    def does(self, command: str, **fields: Any) -> None:
        """Let it do something after what it was told before; see `done`."""
        self.told += 1
        self.child.send(command, **fields)

    def done(self) -> None:
        """Wait until it has done what it was told."""
        wait_until(lambda: len(self.got("sent")) + len(self.got("not_sent")) >= self.told, WAIT_S, self.name)
        assert self.got("not_sent") == []

    def pinged(self) -> int:
        """How many PINGs came to it."""
        return len(self.got("envelope", type="propagate", inner="ping"))

    def utters(self, kind: str, words: str, **more: Any) -> None:
        """Let it send an utterance in an envelope."""
        self.tells(kind, UTTERANCE, {"utterances": [words], "lang": "en-us"}, **more)

    def tells(self, kind: str, topic: str, data: Mapping[str, Any], **more: Any) -> None:
        """Let it send a bus message in an envelope."""
        self.does("send", type=kind, topic=topic, data=data, **more)

    def answers(self, query_id: str) -> list[dict[str, Any]]:
        """What it was answered, in order."""
        events = self.got("envelope")
        return [
            event
            for event in events
            if event["metadata"].get("query_id") == query_id and event["metadata"].get("is_response")
        ]

    def wait_answers(self, query_id: str, count: int) -> list[dict[str, Any]]:
        """What it was answered, as soon as that is so much."""
        what = f"{count} answers to {query_id}"
        wait_until(lambda: len(self.answers(query_id)) >= count, WAIT_S, what)
        return self.answers(query_id)


@dataclass
class MixedMesh:
    """One arrangement; hubs are named by their level, the top first."""

    children: Children
    hubs: dict[str, Node] = field(default_factory=dict)
    satellites: dict[str, Satellite] = field(default_factory=dict)

    def grow(self, makes: Mapping[str, str], sites: Mapping[str, str], seats: Mapping[str, Seat]) -> None:
        """Start hubs of these makes at these sites, each joined to the one before, and all satellites."""
        above: Node | None = None
        for level, make in makes.items():
            here = {name: seat for name, seat in seats.items() if seat.hub == level}
            above = self.hubs[level] = self._hub(level, make, sites[level], here, above)
            for name, seat in here.items():
                self.satellites[name] = Satellite(name, seat, self._satellite(name, seat))
        for satellite in self.satellites.values():
            event = satellite.child.expect("connected")
            assert event["hub"].strip() == self.hubs[satellite.seat.hub].pem.strip()
            satellite.pem = event["pem"]
        self._survey()

    def _survey(self) -> None:
        """Let every satellite ask who is there: so all of ours know everybody's key."""
        for one in self.all:
            one.does("ping", flood_id=f"survey of {one.name}")
        self.done()
        for one in self.all:
            wait_until(lambda one=one: one.seat.make != OURS or one.pinged() >= len(self.all) - 1, WAIT_S, one.name)
        self.quiet()

    def _hub(self, level: str, make: str, site: str, seats: Mapping[str, Seat], above: Node | None) -> Node:
        record = self.children.home(f"bus-{level}").path / "record"
        hub = HubProcess(self.children, programs(make) / "hivemind-core", self._bus(level, record), name=level)
        node = Node(make, site, hub, record, self._identity(make, hub.home, site))
        hub.configure(self._settings(node, level, seats, above))
        for name in seats:
            self.add(node, name, admin=True)
        if above is not None:
            self.add(above, f"hub-{level}")
            for right in ("allow-escalate", "allow-propagate"):
                above.hub.command(right, key_of(f"hub-{level}"))
        self._start(node)
        if above is not None:
            wait_until(lambda: joined(node, above), WAIT_S, f"{level} at the hub above")
        return node

    def _bus(self, level: str, record: Path) -> int:
        """Start the bus of a level's agent; its port."""
        argv: list[str | Path] = [sys.executable, LEVEL_BUS, "--level", level, "--record", record]
        port: int = self.children.spawn(f"bus-{level}", argv).expect("ready")["port"]
        return port

    def _identity(self, make: str, home: Home, site: str) -> str:
        """Make a hub's identity, which is where each make looks for it; the public key."""
        identity = NodeIdentity(home.config / IDENTITY_FOLDER[make] / "_identity.json")
        identity.name, identity.site_id = "hivemind-core", site
        identity.create_keys()
        identity.save()
        return str(identity.public_key)

    def _settings(self, node: Node, level: str, seats: Mapping[str, Seat], above: Node | None) -> dict[str, Any]:
        more: dict[str, Any] = {}
        if any(seat.http for seat in seats.values()):
            node.http_port = free_port()
            ports = {"websocket": node.hub.port, "http": node.http_port}
            network = {f"hivemind-{name}-plugin": {"host": HOST, "port": port} for name, port in ports.items()}
            more["network_protocol"] = network
        if above is not None:
            address = {"host": HOST, "port": above.hub.port}
            more["upstream"] = {"enabled": True, **address, "key": key_of(f"hub-{level}"), "password": PASSWORD}
        return more

    def add(self, node: Node, name: str, *, admin: bool = False) -> None:
        """Make a row with the command of the hub's make."""
        own = ["--name", name, "--access-key", key_of(name), "--password", PASSWORD, "--admin", str(admin).lower()]
        node.hub.command("add-client", *own, *(part for topic in TYPES for part in ("--allow", topic)))

    def _start(self, node: Node) -> None:
        child = node.hub.start()
        if node.http_port:
            child.wait_port(node.http_port)

    def _satellite(self, name: str, seat: Seat) -> Child:
        node = self.hubs[seat.hub]
        url = f"http://{HOST}:{node.http_port}" if seat.http else f"ws://{HOST}:{node.hub.port}"
        options = {"url": url, "key": key_of(name), "password": PASSWORD, "site": seat.site, "name": name}
        argv: list[str | Path] = [programs(CLIENTS[seat.make]) / "python", DRIVERS / "mesh_satellite.py"]
        return self.children.spawn(name, [*argv, *(f"--{key}={value}" for key, value in options.items())])

    def ping(self, make: str, level: str, timeout_s: float = 5) -> Child:
        """Start `hivemind-client ping --json` of a make at a hub."""
        name = f"ping-{make}-{level}-{timeout_s:g}"
        self.add(self.hubs[level], name)
        link = ["--host", f"ws://{HOST}", "--port", str(self.hubs[level].hub.port)]
        own = ["--key", key_of(name), "--password", PASSWORD, "--siteid", SURVEYOR]
        program = programs(CLIENTS[make]) / "hivemind-client"
        return self.children.spawn(name, [program, "ping", "--json", "--timeout", str(timeout_s), *own, *link])

    @property
    def all(self) -> list[Satellite]:
        """The satellites."""
        return list(self.satellites.values())

    @property
    def sites(self) -> list[str]:
        """Every site."""
        return sorted({*(hub.site for hub in self.hubs.values()), *(one.seat.site for one in self.all)})

    def sites_of_all(self) -> dict[str, str]:
        """The site of every hub and satellite."""
        of_hubs = {level: hub.site for level, hub in self.hubs.items()}
        return of_hubs | {one.name: one.seat.site for one in self.all}

    def others(self, but: str) -> list[Satellite]:
        """The satellites except one."""
        return [one for one in self.all if one.name != but]

    def up_from(self, level: str) -> list[str]:
        """The hubs on the way up from one, itself the first."""
        levels = list(self.hubs)
        return levels[levels.index(level) :: -1]

    def name_of(self, node: str | None) -> str:
        """The level of a hub or the name of a satellite, by its public key; anything else as it is."""
        pems = {hub.pem.strip(): level for level, hub in self.hubs.items()} | {
            one.pem.strip(): one.name for one in self.all
        }
        return pems.get(str(node).strip(), str(node))

    @contextmanager
    def friends(self) -> Iterator[None]:
        """For a while every satellite trusts every other."""
        self._all_do("trust")
        yield
        self._all_do("distrust")

    def _all_do(self, command: str) -> None:
        for one in self.all:
            for other in self.others(one.name):
                one.does(command, alias=other.name, pem=other.pem)
        self.done()

    def done(self) -> None:
        """Wait until every satellite has done what it was told."""
        for one in self.all:
            one.done()

    def quiet(self) -> None:
        """Wait for what may not come."""
        self.done()
        time.sleep(HTTP_QUIET_S if any(one.seat.http for one in self.satellites.values()) else QUIET_S)


def key_of(name: str) -> str:
    """The access key of a row."""
    return f"key-of-{name}"


def joined(node: Node, above: Node) -> bool:
    """Whether the hub above has admitted this one. A released hub says that a client came before it is admitted."""
    if node.make == OURS:
        return "joined the hub above" in node.log()
    return bool(above.heard("", "hive.client.connect"))
