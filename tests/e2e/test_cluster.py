"""Three hubs that are one, as processes over a real redis-server; the satellites know one name for all of them."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import bus_stub
from helpers.agent_bus import bus_client, eventually
from helpers.hub_cluster import HubCluster, MemberHub, Seat
from helpers.processes import Child, Children, free_port, json_lines
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.refusals import HiveMindRefused
from hivemind_core.clients import Client
from hivemind_core.roles import DEFAULT_ROLE, ROLES

PASSWORD = "correct horse battery staple 42"
NAMES = ("kitchen", "hall", "attic")
UTTERANCE = "recognizer_loop:utterance"
HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
DOMAIN = "hive.test"
PROPAGATE, BROADCAST, CASCADE = HiveMessageType.PROPAGATE, HiveMessageType.BROADCAST, HiveMessageType.CASCADE
PING = HiveMessageType.PING
SOON_S = 60.0
"""Not the promise but when a test gives up."""


class Scene:
    """The cluster, and the bus of the assistant of each hub; or one bus for all of them."""

    def __init__(self, children: Children, *, buses: int) -> None:
        self.children = children
        self.buses = [self._bus(number) for number in range(buses)]
        self.ports = [int(bus.expect("ready")["port"]) for bus in self.buses]
        self.port = free_port()
        self.redis = RedisServer(children, RedisSetup(appendonly=True))
        seats = [
            Seat(f"hub-{number + 1}", host, self.port, self.ports[number % buses]) for number, host in enumerate(HOSTS)
        ]
        self.cluster = HubCluster(children, self.redis, seats)
        types = ROLES[DEFAULT_ROLE].types
        rows = [Client(0, name, name, is_admin=name == "kitchen", allowed_types=types) for name in NAMES]
        self.cluster.add_clients(rows, PASSWORD)
        self.cluster.start()

    def _bus(self, number: int) -> Child:
        record = ["--record", self.children.folder / f"bus-{number}.jsonl"]
        return self.children.spawn(f"bus-{number}", [sys.executable, bus_stub.__file__, *record])

    def add(self, name: str) -> None:
        """Let one more satellite in, whose access key is its name."""
        self.cluster.first.command("add-client", "--name", name, "--access-key", name, "--password", PASSWORD)

    def hub(self, number: int) -> MemberHub:
        """The hub of a number, from 1 on."""
        return self.cluster.hubs[number - 1]

    def heard(self, number: int) -> list[dict[str, Any]]:
        """What was said on the bus of the assistant of a hub."""
        return json_lines(self.children.folder / f"bus-{(number - 1) % len(self.buses)}.jsonl")

    def peer_id(self, satellite: Satellite) -> str:
        """How the hubs call a satellite that has said something."""
        said = [frame for number in (1, 2, 3) for frame in self.heard(number) if frame["type"] == UTTERANCE]
        own = [x["context"]["source"] for x in said if satellite.session in x["context"]["source"]]
        return str(own[-1])

    async def say(self, number: int, message: Message) -> None:
        """Put a message on the bus of the assistant of a hub."""
        async with bus_client(self.ports[(number - 1) % len(self.buses)]) as bus:
            await bus.send_str(message.serialize())

    async def heal(self) -> None:
        """Start what does not run, and wait until the hubs are together."""
        for hub in self.cluster.hubs:
            if not hub.running.running:
                hub.start()
        await asyncio.to_thread(self.cluster.wait_together)


class Satellite:
    """One device; it looks for the hive at a hub, and if that is away at the next."""

    def __init__(self, folder: Path, name: str, number: int, port: int) -> None:
        self.name = name
        self.said: list[str] = []
        self.denied: list[str] = []
        self.envelopes: list[HiveMessage] = []
        self.losses = 0
        """How often its connection has ended."""
        identity = NodeIdentity(folder / name / "_identity.json")
        identity.name = name
        where = {"host": f"hub-{number}.{DOMAIN}", "port": port, "identity": identity}
        self.client = AsyncHiveMessageBusClient(name, password=PASSWORD, **where)
        self.client.on_mycroft("speak", lambda message: self.said.append(message.data["utterance"]))
        self.client.on_mycroft("hive.policy.denied", lambda message: self.denied.append(message.data["code"]))
        for kind in (PROPAGATE, BROADCAST, CASCADE):
            self.client.on(kind, self.envelopes.append)
        self.client.on("close", self._lost)

    def _lost(self) -> None:
        self.losses += 1

    @property
    def session(self) -> str:
        """Its session id, which is part of how the hubs call it."""
        return str(self.client.session_id)

    async def ask(self, text: str) -> None:
        """Say something, and hear the answer."""
        await self.client.emit(Message(UTTERANCE, {"utterances": [text], "lang": "en-us"}), timeout=SOON_S)
        await eventually(lambda: f"you said: {text}" in self.said, SOON_S)

    async def send(self, kind: HiveMessageType, text: str, **metadata: str) -> None:
        """Send a message that travels."""
        inner = HiveMessage(HiveMessageType.BUS, Message("told", {"text": text}))
        await self.client.emit(HiveMessage(kind, inner, metadata=metadata), timeout=SOON_S)

    def told(self, kind: HiveMessageType) -> list[str]:
        """The texts of what came and travelled."""
        found = [each.payload.body for each in self.envelopes if each.msg_type == kind]
        return [body["data"]["text"] for body in found if body.get("type") == "told"]


Join = Callable[..., Any]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Children(tmp_path_factory.mktemp("cluster")) as children:
        yield Scene(children, buses=3)


@pytest.fixture
async def scene(running: Scene) -> Scene:
    """All of it, well."""
    await running.heal()
    return running


@pytest.fixture(autouse=True)
def one_name_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hub-N.hive.test` has the addresses of all hubs, that of hub N first."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        name, _, domain = str(host).partition(".")
        if domain != DOMAIN:
            return resolve(host, port, *rest, **named)
        first = int(name.removeprefix("hub-")) - 1
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))
            for address in HOSTS[first:] + HOSTS[:first]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.fixture
async def join(running: Scene) -> AsyncIterator[Join]:
    """Joins a satellite at a hub; all leave at the end."""
    joined: list[Satellite] = []

    async def one(name: str, number: int) -> Satellite:
        satellite = Satellite(running.children.folder / "devices", name, number, running.port)
        joined.append(satellite)
        await satellite.client.connect(timeout=SOON_S)
        return satellite

    yield one
    for satellite in joined:
        await satellite.client.close()


async def one_each(join: Join) -> list[Satellite]:
    return [await join(name, number) for number, name in enumerate(NAMES, start=1)]


async def test_any_hub_takes_any_satellite(scene: Scene, join: Join, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        kitchen = await join("kitchen", number)
        await kitchen.ask(f"is this hub {number}")
        assert f"is this hub {number}" in json.dumps(scene.heard(number))
        await kitchen.client.close()
    stranger = Satellite(tmp_path, "kitchen", 2, scene.port)
    with pytest.raises(HiveMindRefused):  # the device key that one hub pinned counts at all
        await stranger.client.connect(timeout=SOON_S)


async def test_answers_find_a_satellite_at_another_hub(scene: Scene, join: Join) -> None:
    kitchen, hall, _ = await one_each(join)
    await hall.ask("where am I")
    hall_id = await known(scene, hall, 1, 3)
    await scene.say(1, spoken("from hub 1", hall_id))
    await scene.say(3, sent_down("sent down", hall_id))
    await scene.say(3, spoken("from hub 3", hall_id))
    wanted = ["from hub 1", "from hub 3", "sent down", "you said: where am I"]
    await eventually(lambda: len(said(hall)) >= len(wanted), SOON_S)
    assert sorted(said(hall)) == wanted
    assert kitchen.said == []


KNOWN = "it is known at hub"


async def known(scene: Scene, satellite: Satellite, *numbers: int) -> str:
    """Wait until other hubs have heard where a satellite is that has said something; how the hubs call it."""
    peer_id = scene.peer_id(satellite)
    for number in numbers:
        text = f"{KNOWN} {number}"
        await until(
            lambda number=number, text=text: scene.say(number, spoken(text, peer_id)),  # type: ignore[misc]
            lambda text=text: text in satellite.said,  # type: ignore[misc]
        )
    return peer_id


def said(satellite: Satellite) -> list[str]:
    """What it was told, but for that."""
    return [text for text in satellite.said if not text.startswith(KNOWN)]


async def lose(satellite: Satellite, end: Callable[[], object]) -> None:
    """End its hub, and wait until it has noticed: what it says before that is lost."""
    before = satellite.losses
    await asyncio.to_thread(end)
    await eventually(lambda: satellite.losses > before, SOON_S)


def spoken(text: str, peer_id: str) -> Message:
    """What an assistant says to a satellite."""
    return Message("speak", {"utterance": text}, {"destination": peer_id, "source": "skills"})


def sent_down(text: str, peer_id: str) -> Message:
    """A request to a hub to send that to a satellite."""
    payload = {"type": "speak", "data": {"utterance": text}, "context": {}}
    return Message("hive.send.downstream", {"msg_type": "bus", "payload": payload, "peer": peer_id})


async def test_what_goes_to_all_goes_to_the_satellites_of_all_hubs_once(scene: Scene, join: Join) -> None:
    kitchen, hall, attic = await one_each(join)
    await hall.send(PROPAGATE, "from below")
    await kitchen.send(BROADCAST, "from an admin")
    await kitchen.send(PROPAGATE, "last")
    wanted = {kitchen: ["from below"], hall: ["from an admin", "last"], attic: ["from an admin", "from below", "last"]}

    def told(satellite: Satellite) -> list[str]:
        return [*satellite.told(BROADCAST), *satellite.told(PROPAGATE)]

    await eventually(lambda: all(len(told(each)) >= len(texts) for each, texts in wanted.items()), SOON_S)
    assert {each: sorted(told(each)) for each in wanted} == wanted


async def test_a_cascade_is_answered_by_satellites_of_all_hubs(scene: Scene, join: Join) -> None:
    kitchen, *others = await one_each(join)
    for each in others:
        answer_cascades(each)
    await kitchen.send(CASCADE, "who is there", query_id="roll-call")
    await eventually(lambda: len(kitchen.told(CASCADE)) >= len(others), SOON_S)
    assert sorted(kitchen.told(CASCADE)) == ["attic here", "hall here"]


def answer_cascades(satellite: Satellite) -> None:
    async def answer(message: HiveMessage) -> None:
        inner = HiveMessage(HiveMessageType.BUS, Message("told", {"text": f"{satellite.name} here"}))
        metadata = {**message.metadata, "is_response": True, "responder_peer": satellite.name}
        await satellite.client.emit(HiveMessage(CASCADE, inner, metadata=metadata))

    satellite.client.on(CASCADE, answer)


async def test_a_ping_finds_the_satellites_of_all_hubs(scene: Scene, join: Join) -> None:
    kitchen, hall, attic = await one_each(join)
    await kitchen.client.emit(HiveMessage(PROPAGATE, HiveMessage(PING, {"flood_id": "a flood", "peer": "kitchen"})))

    def found() -> list[str]:
        return sorted(each.payload.body["peer"] for each in kitchen.envelopes if each.payload.msg_type == PING)

    wanted = sorted([scene.cluster.first.node_id, *(f"{each.name}::{each.session}" for each in (hall, attic))])
    await eventually(lambda: len(found()) >= len(wanted), SOON_S)
    assert found() == wanted


async def test_what_a_command_changes_acts_on_the_connections_of_every_hub(scene: Scene, join: Join) -> None:
    for name in ("cellar", "shed"):
        scene.add(name)
    rows = {row["name"]: str(row["client_id"]) for row in json.loads(scene.hub(3).command("list-clients", "--json"))}
    satellites = [await join("cellar", 1), await join("shed", 2)]
    for each in satellites:
        await each.ask("may I")
        await asyncio.to_thread(scene.hub(3).command, "blacklist-msg", UTTERANCE, rows[each.name])
        await until(lambda of=each: of.client.emit(asking("and now")), lambda of=each: of.denied)
        assert set(each.denied) == {"acl_disallowed_type"}
    for each in satellites:
        await asyncio.to_thread(scene.hub(3).command, "delete-client", rows[each.name], "--yes")
        await eventually(lambda of=each: of.client.stopping, SOON_S)
    assert await asyncio.to_thread(lambda: len(json.loads(scene.hub(1).command("list-clients", "--json")))) == 3


def asking(text: str) -> Message:
    return Message(UTTERANCE, {"utterances": [text], "lang": "en-us"})


async def until(again: Callable[[], Awaitable[None]], condition: Callable[[], object]) -> None:
    """Do something again and again until a condition holds."""
    deadline = asyncio.get_running_loop().time() + SOON_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await again()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_the_satellites_of_a_hub_that_ends_go_on_at_another(scene: Scene, join: Join, end: str) -> None:
    kitchen, hall, _ = await one_each(join)
    await hall.ask("before")
    hall_id = scene.peer_id(hall)
    await lose(hall, getattr(scene.hub(2), end))
    await hall.ask("after")
    assert "after" in json.dumps(scene.heard(3))
    await until(lambda: scene.say(1, spoken("from hub 1", hall_id)), lambda: "from hub 1" in hall.said)
    await scene.heal()
    await until(lambda: scene.say(2, spoken("late", hall_id)), lambda: "late" in hall.said)
    await kitchen.send(PROPAGATE, "all together")
    await eventually(lambda: hall.told(PROPAGATE), SOON_S)
    assert kitchen.said == []


async def test_without_redis_each_hub_goes_on_and_says_what_cannot_cross(scene: Scene, join: Join) -> None:
    kitchen, hall, _ = await one_each(join)
    await hall.ask("before")
    hall_id = await known(scene, hall, 1)
    scene.redis.kill()
    await kitchen.ask("right after")
    await until(lambda: kitchen.send(PROPAGATE, "lost"), lambda: kitchen.denied)
    assert set(kitchen.denied) == {"backend_unavailable"}
    await scene.say(1, spoken("lost", hall_id))
    await eventually(lambda: errors(scene, 1), SOON_S)
    assert errors(scene, 1)[-1]["error"].startswith("backend_unavailable")
    for each in (kitchen, hall):
        await each.ask("still there")
    assert "lost" not in hall.said
    scene.hub(3).kill()
    scene.hub(3).start(waited_for=False)
    await asyncio.to_thread(scene.hub(3).running.wait_output, "The hub waits for its clients")
    await asyncio.to_thread(scene.redis.start)
    await asyncio.to_thread(scene.hub(3).wait_ready)
    await until(lambda: scene.say(1, spoken("back", hall_id)), lambda: "back" in hall.said)
    await until(lambda: kitchen.send(PROPAGATE, "back"), lambda: "back" in hall.told(PROPAGATE))
    await asyncio.to_thread(scene.hub(2).command, "rename-client", "2", "--name", "hall")


def errors(scene: Scene, number: int) -> list[dict[str, Any]]:
    return [frame["data"] for frame in scene.heard(number) if frame["type"] == "hive.client.send.error"]


def test_a_hub_with_another_identity_does_not_run(running: Scene) -> None:
    seat = Seat("stranger", "127.0.0.14", running.port)
    stranger = MemberHub(running.children, seat, running.redis.url)
    refused = stranger.spawn("listen")
    assert refused.wait_exit() in (1, 2)
    assert "hivemind-core cluster join" in refused.tail()
    assert len(running.cluster.wait_members(3)) == 3


async def test_hubs_that_share_an_assistant_answer_once(children: Children, join: Join) -> None:
    shared = await asyncio.to_thread(Scene, children, buses=1)
    satellites = [Satellite(children.folder / "devices", name, n, shared.port) for n, name in enumerate(NAMES, 1)]
    for number, each in enumerate(satellites):
        await each.client.connect(timeout=SOON_S)
        await each.ask(f"question {number}")
    hall_id = shared.peer_id(satellites[1])
    for text in ("one", "two", "two"):
        await shared.say(1, spoken(text, hall_id))
    await shared.say(1, sent_down("sent down", hall_id))
    await shared.say(1, spoken("last", hall_id))
    await eventually(lambda: "last" in satellites[1].said and "sent down" in satellites[1].said, SOON_S)
    await lose(satellites[1], shared.hub(2).kill)
    await satellites[1].ask("moved")
    await until(lambda: shared.say(1, spoken("there", hall_id)), lambda: "there" in satellites[1].said)
    own = [text for text in satellites[1].said if text != "there"]
    wanted = ["you said: question 1", "one", "two", "two", "sent down", "last", "you said: moved"]
    assert sorted(own) == sorted(wanted)
    assert [each.said for each in (satellites[0], satellites[2])] == [
        ["you said: question 0"],
        ["you said: question 2"],
    ]
    for each in satellites:
        await each.client.close()
