"""Hosts that vanish: nothing is closed and nothing refused, there is only silence. Each on a network of its own.

Who merely reads nothing any more: test_faults_peers.py.
"""

from __future__ import annotations

import gc
import json
import re
import socket
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import crowd, device
from helpers.bus_peer import BusPeer, Frame
from helpers.fault_scene import PASSWORD, FaultScene, eventually
from helpers.hosts import Hosts
from helpers.hub_process import HOST
from helpers.live_hub import LiveHub
from helpers.processes import Child, Children, Home, free_port, wait_until
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.mailbox import fetch, leave
from hivemind_bus_client.message import Message

HUB, ROOM, HALL = "hub", "room", "hall"
KITCHEN, PORCH, BATH, CROWD = "key-1", "key-2", "key-3", ("key-4", "key-5", "key-6", "key-7")
WAIT_S = 60.0
HEARTBEAT = {"websocket_ping_interval": 3, "websocket_ping_timeout": 2}
"""Of a satellite, by which it notices that its hub is gone."""
ESTABLISHED = "01"
"""In /proc/net/tcp."""
SILENT_S, PATIENT_S, LONG_S = 1, 4, 300
"""When the hub pings, how long it waits then; and where nobody does, as far as a test can see."""
MANY = (150, 40, 10)
"""With a session, in their handshake, and silent."""
FEW = 20
GROWN_KB = 12_000
"""Sixty kilobytes for each of them: the hub collects what has ended now and then, not at once."""


class House:
    """A hub on a host of its own, with its assistant, and satellites elsewhere."""

    def __init__(self, children: Children, hosts: Hosts, *, silent_s: float) -> None:
        self.children = children
        self.hosts = hosts
        self.http_port = free_port()
        self._silent_s = silent_s
        self.scene = hosts.at(HUB, self._started)
        self.bus = hosts.at(HUB, lambda: BusPeer(self.scene.bus_port).joined())

    def _started(self) -> FaultScene:
        scene = FaultScene(self.children, clients=7)
        scene.bus.kill()
        scene.start_bus("--habit", "keeps silent")  # `self.bus` answers
        pings = {"websocket_ping_interval": self._silent_s, "websocket_ping_timeout": PATIENT_S}
        websocket = {"host": "0.0.0.0", "port": scene.hub.port, **pings}
        http = {"host": "0.0.0.0", "port": self.http_port, "queue_ttl_s": PATIENT_S}
        network = {"hivemind-websocket-plugin": websocket, "hivemind-http-plugin": http}
        scene.configure(network_protocol=network, rendezvous={"enabled": True})
        return scene.start()

    def satellite(self, key: str, host: str, *, home: Home | None = None, **more: Any) -> Child:
        """A satellite that has been answered; a home of an earlier one makes it the same device."""
        port = ["--port", self.scene.hub.port] if key != BATH else ["--port", self.http_port]
        where = [*port, "--host", f"{'ws' if key != BATH else 'http'}://{self.hosts.address(HUB)}"]
        who = ["--key", key, "--password", PASSWORD, "--more", json.dumps(more)]
        argv = [sys.executable, device.__file__, *where, *who]
        home = home or self.children.home(f"home of {key}")
        child = self.hosts.at(host, lambda: self.children.spawn(key, [str(word) for word in argv], home))
        child.expect("open", WAIT_S)
        answered(child, f"{key} is here")
        return child

    def connections(self, state: str = "registered") -> int:
        """How many the hub counts."""
        _, text = self.hosts.at(HUB, lambda: self.scene.ask("/metrics"))
        found = re.search(rf'^hivemind_connections{{state="{state}"}} (\d+)', text, re.MULTILINE)
        assert found, text
        return int(found[1])

    def told(self, msg_type: str) -> list[Frame]:
        """What stood on the assistant's bus of one type."""
        return [frame for frame in list(self.bus.heard) if frame.get("type") == msg_type]

    def peer_id(self, words: str) -> str:
        """The peer id of who said this."""
        return str(self.bus.hears(words)["context"]["source"])

    def left(self) -> set[str]:
        """The peer ids that are said to have left."""
        return {frame["data"]["peer"] for frame in self.told("hive.client.disconnect")}

    def speak(self, peer_id: str, words: str) -> None:
        """Let the assistant say something."""
        self.bus.emit("speak", {"utterance": words}, {"source": "skills", "destination": peer_id})

    def unconfirmed(self, address: str) -> list[int]:
        """How many bytes nobody has confirmed on each WebSocket that the hub's machine has with an address."""
        lines = Path(f"/proc/{self.scene.process.pid}/net/tcp").read_text("ascii").splitlines()[1:]
        rows = [line.split() for line in lines]
        own, other = f":{self.scene.hub.port:04X}", f"{socket.inet_aton(address)[::-1].hex().upper()}:"
        mine = [row for row in rows if row[1].endswith(own) and row[2].startswith(other) and row[3] == ESTABLISHED]
        return [int(row[4].split(":")[0], 16) for row in mine]

    def vanish(self, address: str) -> None:
        """Unplug the room when it has got all that was sent there."""
        wait_until(lambda: not any(self.unconfirmed(address)), WAIT_S, "all is confirmed")
        self.hosts.unplug(ROOM)


def say(satellite: Child, words: str, *, timeout: float = 0, confirmed: bool = False) -> None:
    satellite.send("say", text=words, timeout=timeout, confirmed=confirmed)


def answered(satellite: Child, words: str) -> None:
    """It says something, and hears the answer once."""
    say(satellite, words)
    satellite.expect("spoken", WAIT_S, utterance=f"you said: {words}")


def heard(satellite: Child) -> list[str]:
    return [event["utterance"] for event in satellite.events() if event["event"] == "spoken"]


def refused(satellite: Child) -> list[tuple[str, str]]:
    """What it was asked to say and could not, and why."""
    return [(event["text"], event["error"]) for event in satellite.events() if event["event"] == "not_sent"]


def events(satellite: Child, name: str) -> int:
    return sum(event["event"] == name for event in satellite.events())


def talking(satellite: Child, until: Any, what: str) -> None:
    """It says one thing after the other, and is answered, until something holds."""
    count = iter(range(10**6))

    def holds() -> object:
        answered(satellite, f"{what} {next(count)}")
        return until()

    wait_until(holds, WAIT_S, what)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts(HUB, ROOM, HALL) as made:
        yield made


def made_house(children: Children, hosts: Hosts, silent_s: float) -> Iterator[House]:
    house = House(children, hosts, silent_s=silent_s)
    try:
        yield house
    finally:
        house.bus.close()
        children.stop()  # before their hosts go


@pytest.fixture
def house(hosts: Hosts, children: Children) -> Iterator[House]:
    yield from made_house(children, hosts, SILENT_S)


@pytest.fixture
def patient_house(hosts: Hosts, children: Children) -> Iterator[House]:
    yield from made_house(children, hosts, LONG_S)


def test_a_host_of_satellites_vanishes(house: House) -> None:
    """Over both transports: the hub lets go of them, says so, and serves the others all the while."""
    porch = house.satellite(PORCH, HALL)
    home = house.children.home("kitchen")
    alice, own = _friends(house, home)
    kitchen, bath = house.satellite(KITCHEN, ROOM, home=home), house.satellite(BATH, ROOM)
    gone = {house.peer_id(f"{key} is here") for key in (KITCHEN, BATH)}
    assert house.connections() == 3
    house.hosts.unplug(ROOM)
    for peer_id in gone:
        house.speak(peer_id, "are you there")
    house.hosts.at(HUB, lambda: _leave(house, alice, own))
    talking(porch, lambda: gone <= house.left() and house.connections() == 1, "the others left")
    wait_until(lambda: not house.unconfirmed(house.hosts.address(ROOM)), WAIT_S, "the WebSocket is closed")
    assert "does not answer pings" in house.scene.process.output()
    assert house.scene.rows()[KITCHEN].last_seen > 0
    for peer_id in gone:
        house.bus.emit("hive.send.downstream", {"msg_type": "bus", "peer": peer_id, "payload": SPEAK}, {})
    wait_until(lambda: len(house.told("hive.client.send.error")) == 2, WAIT_S, "that they cannot be reached")
    for satellite in (kitchen, bath):
        satellite.kill()
    house.hosts.rebuild(ROOM)
    back = house.satellite(KITCHEN, ROOM, home=home)
    assert heard(back) == [f"you said: {KITCHEN} is here"]  # what was said to who was away is lost
    assert house.hosts.at(HUB, lambda: _fetched(house, own)) == ["left for the kitchen"]  # but for the mailbox
    assert (events(porch, "open"), events(porch, "close")) == (1, 0)


SPEAK = {"type": "speak", "data": {"utterance": "too late"}, "context": {}}


def _friends(house: House, home: Home) -> tuple[NodeIdentity, NodeIdentity]:
    """Alice, and the kitchen, which trusts her."""
    alice = NodeIdentity(house.children.home("alice").config / "_identity.json")
    own = NodeIdentity(home.config / "hivemind" / "_identity.json")
    for identity in (alice, own):
        identity.create_keys()
    own.add_trusted_key("alice", str(alice.public_key))
    for identity in (alice, own):
        identity.save()
    return alice, own


def _visitor(house: House, key: str, identity: NodeIdentity) -> HiveMessageBusClient:
    """A client in this process, on the hub's own machine."""
    return HiveMessageBusClient(key, PASSWORD, host=HOST, port=house.scene.hub.port, identity=identity)


def _leave(house: House, alice: NodeIdentity, to: NodeIdentity) -> None:
    with _visitor(house, CROWD[0], alice) as client:
        leave(client, KITCHEN, str(to.public_key), Message("speak", {"utterance": "left for the kitchen"}))


def _fetched(house: House, own: NodeIdentity) -> list[str]:
    found: list[str] = []
    with _visitor(house, KITCHEN, own) as client:
        client.on_mycroft("speak", lambda message: found.append(message.data["utterance"]))
        for letter in fetch(client):
            client.protocol.handle_intercom(letter)
        wait_until(lambda: found, WAIT_S, "what was left")
    return found


def test_one_comes_back_while_its_old_connection_stands(patient_house: House) -> None:
    """Switched off and on, then into another network: it is taken in at once, and answers go nowhere else."""
    house = patient_house
    porch = house.satellite(PORCH, HALL)
    home, address = house.children.home("kitchen"), house.hosts.address(ROOM)
    kitchen = house.satellite(KITCHEN, ROOM, home=home)
    ids = [house.peer_id(f"{KITCHEN} is here")]
    house.vanish(address)
    kitchen.kill()
    house.hosts.rebuild(ROOM)
    kitchen = house.satellite(KITCHEN, ROOM, home=home, **HEARTBEAT)
    answered(kitchen, "switched on again")
    ids.append(house.peer_id("switched on again"))
    assert house.connections() == 3
    house.vanish(address)
    house.hosts.move(ROOM, 77)
    house.hosts.plug(ROOM)
    kitchen.expect("close", WAIT_S)
    kitchen.expect("open", WAIT_S)
    answered(kitchen, "in another network")
    ids.append(house.peer_id("in another network"))
    answered(porch, "and the others")
    assert len(set(ids)) == 3
    assert house.connections() == 4
    assert heard(kitchen).count("you said: in another network") == 1
    assert house.unconfirmed(address) == [0, 0]  # both stand, and not a byte was sent there
    assert not house.left()


def test_the_host_of_the_hub_vanishes(house: House) -> None:
    """Each satellite notices, says so, and comes back; whatever it took is answered, once, or was refused."""
    steady = house.satellite(KITCHEN, ROOM, **HEARTBEAT)
    porch = house.satellite(PORCH, HALL, **HEARTBEAT)
    files = house.scene.descriptors()
    house.hosts.unplug(HUB)
    say(porch, "into the dark", confirmed=True)
    for satellite in (steady, porch):
        satellite.expect("close", WAIT_S)
        satellite.expect("reconnecting", WAIT_S)
    say(porch, "right now")
    for words in ("into the dark", "right now"):
        wait_until(lambda text=words: (text, "NotConnected") in refused(porch), WAIT_S, f"{words} is refused")
    waiting = [f"when it is back {number}" for number in range(5)]
    for words in waiting:
        say(steady, words, timeout=10 * WAIT_S)
    wait_until(lambda: house.connections() == 0, WAIT_S, "the hub has noticed, too")
    house.hosts.plug(HUB)
    for satellite in (steady, porch):
        satellite.expect("open", 2 * WAIT_S)
        answered(satellite, "here we are")
    wait_until(lambda: len(heard(steady)) == 2 + len(waiting), WAIT_S, "what was kept is answered")
    for words in waiting:
        assert heard(steady).count(f"you said: {words}") == 1
        assert len([frame for frame in house.bus.utterances() if frame["data"]["utterances"] == [words]]) == 1
    assert not [frame for frame in house.bus.utterances() if frame["data"]["utterances"] == ["right now"]]
    assert house.connections() == 2
    wait_until(lambda: house.scene.descriptors() <= files, WAIT_S, "descriptors are back")


def test_a_network_that_is_gone_for_a_moment(patient_house: House) -> None:
    """Shorter than anybody's patience: no connection ends, and what was said meanwhile arrives, both ways."""
    house = patient_house
    kitchen = house.satellite(KITCHEN, ROOM, websocket_ping_interval=LONG_S)
    house.hosts.unplug(HUB)
    say(kitchen, "from the room")
    kitchen.expect("sent", WAIT_S, text="from the room")
    house.speak(house.peer_id(f"{KITCHEN} is here"), "from the hub")
    house.hosts.plug(HUB)
    wait_until(lambda: {"you said: from the room", "from the hub"} <= {*heard(kitchen)}, WAIT_S, "both arrive")
    assert len(heard(kitchen)) == 3
    assert events(kitchen, "close") == 0


def test_hundreds_vanish_at_once(house: House) -> None:
    """Sessions, unfinished handshakes and silent sockets: all are let go, and nobody else is harmed."""
    porch = house.satellite(PORCH, HALL)
    files, memory = house.scene.descriptors(), house.scene.status("VmRSS")
    url = f"ws://{house.hosts.address(HUB)}:{house.scene.hub.port}"
    argv = [sys.executable, crowd.__file__, url, ",".join(CROWD), *map(str, MANY)]
    many = house.hosts.at(ROOM, lambda: house.children.spawn("crowd", argv))
    many.write(f"{PASSWORD}\n")
    many.expect("there", 2 * WAIT_S)
    assert house.scene.descriptors() > files + sum(MANY) // 2  # on a slow machine some have been cut before
    house.hosts.unplug(ROOM)
    talking(porch, lambda: house.connections() == 1 and house.connections("handshake") == 0, "all others are gone")
    wait_until(lambda: house.scene.descriptors() <= files, WAIT_S, "descriptors are back")
    assert house.scene.status("VmRSS") - memory < GROWN_KB
    assert (events(porch, "open"), events(porch, "close")) == (1, 0)


async def test_nothing_of_them_is_kept(tmp_path: Path) -> None:
    """In this process, where that can be looked at: one that is kept is found among all that memory does."""
    async with LiveHub(tmp_path) as live:
        keys = [f"key-{number}" for number in range(FEW)]
        for key in keys:
            live.add(key, PASSWORD)
        sockets = [(await live.session(key, PASSWORD))[0] for key in keys]
        peers = live.hub.peers.connections()
        for peer in peers:
            peer.conn.cut()  # type: ignore[attr-defined]  # as it does with one that does not answer pings
        kept = [weakref.ref(peer.conn) for peer in peers]  # each holds its peer and that its link
        assert len(kept) == FEW
        del peers, peer
        await eventually(lambda: not live.hub.peers.connections(), "that all have left")
        await eventually(lambda: gc.collect() >= 0 and not any(each() for each in kept), "nothing is kept")
        for socket_ in sockets:
            await socket_.wait_closed()
