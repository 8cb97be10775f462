"""What a satellite that plays no audio says of what it was told to speak, and when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from helpers.http_link_hub import HttpLinkHub
from helpers.link_hub import NODE_ID, LinkHub, Peer, derive, eventually
from helpers.processes import PATIENCE_S, wait_until
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.client import BinaryDataCallbacks, HiveMessageBusClient
from hivemind_bus_client.delivery import takes_speech
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import Message
from hivemind_bus_client.playback import (
    ENDED,
    LONGEST_S,
    MAX_SESSIONS,
    SHORTEST_S,
    STARTED,
    Acknowledgements,
    denied_acknowledgement,
    spoken_session,
)
from hivemind_bus_client.psk_cache import PskCache

KITCHEN, HALL = {"session_id": "kitchen", "lang": "en-US"}, {"session_id": "hall"}


def playing(plan: Acknowledgements, session: dict[str, Any], now: float) -> int:
    """Words that began to play."""
    number = plan.told(session, now)
    assert (STARTED, session) in plan.due(now)
    return number


# --- the rules


def test_it_starts_at_once_and_ends_a_little_later() -> None:
    plan = Acknowledgements()
    number = plan.told(KITCHEN, 10.0)
    plan.shown("kitchen", number)
    assert plan.deadline() == 10.0
    assert plan.due(10.0) == [(STARTED, KITCHEN)]
    assert plan.deadline() == 10.0 + SHORTEST_S
    assert plan.due(10.0 + SHORTEST_S / 2) == []
    assert plan.due(10.0 + SHORTEST_S) == [(ENDED, KITCHEN)]
    assert plan.deadline() is None


def test_the_end_keeps_its_distance_from_a_start_that_was_late() -> None:
    plan = Acknowledgements()
    plan.shown("kitchen", plan.told(KITCHEN, 10.0))
    assert plan.due(12.0) == [(STARTED, KITCHEN)]
    assert plan.due(12.0) == []
    assert plan.deadline() == 12.0 + SHORTEST_S


def test_it_lasts_as_long_as_the_handlers() -> None:
    plan = Acknowledgements()
    number = playing(plan, KITCHEN, 0.0)
    assert plan.due(5.0) == []
    plan.shown("kitchen", number)
    assert plan.due(5.0) == [(ENDED, KITCHEN)]


def test_handlers_that_never_return_are_not_waited_for() -> None:
    plan = Acknowledgements()
    playing(plan, KITCHEN, 0.0)
    assert plan.deadline() == LONGEST_S
    assert plan.due(LONGEST_S) == [(ENDED, KITCHEN)]


def test_more_words_are_played_after_those_before_and_acknowledged_with_them() -> None:
    plan = Acknowledgements()
    first = playing(plan, KITCHEN, 0.0)
    second = plan.told(KITCHEN, 0.1)
    plan.shown("kitchen", first)
    assert plan.due(1.0) == []
    plan.shown("kitchen", second)
    assert plan.due(1.0) == [(ENDED, KITCHEN)]


def test_every_session_is_told_of_its_own() -> None:
    plan = Acknowledgements()
    kitchen, hall = plan.told(KITCHEN, 0.0), plan.told(HALL, 0.0)
    assert plan.due(0.0) == [(STARTED, KITCHEN), (STARTED, HALL)]
    plan.shown("hall", hall)
    assert plan.due(1.0) == [(ENDED, HALL)]
    plan.shown("kitchen", kitchen)
    assert plan.due(1.0) == [(ENDED, KITCHEN)]


def test_what_is_shown_too_late_concerns_nothing_newer() -> None:
    plan = Acknowledgements()
    old = playing(plan, KITCHEN, 0.0)
    assert plan.due(LONGEST_S) == [(ENDED, KITCHEN)]
    playing(plan, KITCHEN, 20.0)
    plan.shown("kitchen", old)
    plan.shown("cellar", 7)
    assert plan.due(21.0) == []


def test_sessions_are_bounded_and_forgotten() -> None:
    plan = Acknowledgements()
    for number in range(MAX_SESSIONS + 5):
        plan.told({"session_id": str(number)}, 0.0)
    assert len(plan.due(0.0)) == MAX_SESSIONS
    plan.forget()
    assert plan.deadline() is None


@pytest.mark.parametrize("topic", ["speak", "ovos.utterance.speak"])
def test_words_are_recognised(topic: str) -> None:
    assert spoken_session({"type": topic, "data": {}, "context": {"session": KITCHEN}}, "own") == KITCHEN


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"speak",
        {"type": "ovos.utterance.handled", "context": {"session": KITCHEN}},
        {"type": "speak"},
        {"type": ["speak"], "context": {"session": KITCHEN}},
        {"type": "speak", "context": "kitchen"},
        {"type": "speak", "context": {"session": "kitchen"}},
        {"type": "speak", "context": {"session": {"session_id": 5}}},
        {"type": "speak", "context": {"session": {"session_id": ""}}},
        {"type": "speak", "context": {"session": {"session_id": "default"}}},
    ],
)
def test_nothing_else_is_acknowledged(body: object) -> None:
    assert spoken_session(body, "own") is None


def test_the_session_of_the_assistants_own_device_is_acknowledged_by_whose_session_it_is() -> None:
    words = {"type": "speak", "context": {"session": {"session_id": "default"}}}
    assert spoken_session(words, "default") == {"session_id": "default"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "hive.policy.denied", "data": {"denied_type": STARTED}}, True),
        ({"type": "hive.policy.denied", "data": {"denied_type": "ovos.audio.output.ended"}}, True),
        ({"type": "hive.policy.denied", "data": {"denied_type": "mycroft.stop"}}, False),
        ({"type": "hive.policy.denied", "data": "x"}, False),
        ({"type": "hive.policy.denied", "data": {"denied_type": [STARTED]}}, False),
        ({"type": "speak", "data": {"denied_type": STARTED}}, False),
        (None, False),
    ],
)
def test_a_denial_of_an_acknowledgement_is_recognised(body: object, expected: bool) -> None:
    assert denied_acknowledgement(body) is expected


def test_who_handles_speech_from_the_hub() -> None:
    class Player(BinaryDataCallbacks):
        def handle_receive_tts(self, *_: Any) -> None:
            return None

    assigned = BinaryDataCallbacks()
    assigned.handle_receive_tts = lambda *_: None  # type: ignore[method-assign]
    assert not takes_speech(BinaryDataCallbacks())
    assert takes_speech(Player())
    assert takes_speech(assigned)


# --- the clients

KEY, PASSWORD = "an-access-key", "correct horse battery staple"


KINDS = {"threads": HiveMessageBusClient, "asyncio": AsyncHiveMessageBusClient, "HTTP": HiveMindHTTPClient}


@pytest.fixture(params=KINDS)
def kind(request: Any) -> str:
    return str(request.param)


@pytest.fixture
async def hub(kind: str) -> AsyncIterator[LinkHub]:
    async with (HttpLinkHub if kind == "HTTP" else LinkHub)({KEY: PASSWORD}) as running:
        yield running


class Satellite:
    """A client of either kind; its handlers note what they are told."""

    def __init__(self, kind: str, hub: LinkHub, identity: NodeIdentity) -> None:
        PskCache(identity.noise_key).save(KEY, NODE_ID, derive(PASSWORD, NODE_ID), PASSWORD)
        self.kind = kind
        self.hub = hub
        self.given = {
            "host": "http://127.0.0.1" if kind == "HTTP" else "ws://127.0.0.1",
            "port": hub.port,
            "identity": identity,
        }
        self.heard: list[str] = []
        self.client: Any = None

    async def connect(self, *connecting: Any, **options: Any) -> None:
        self.client = KINDS[self.kind](KEY, PASSWORD, **self.given, **options)
        self.client.on("message", self.heard.append)
        await self.call(self.client.connect, *connecting)

    async def call(self, method: Any, *args: Any) -> None:
        if self.kind == "asyncio":
            await asyncio.wait_for(method(*args), 60)
        else:
            await asyncio.wait_for(asyncio.to_thread(method, *args), 60)

    async def emit(self, msg_type: str) -> None:
        await self.call(self.client.emit, Message(msg_type))

    async def say(self) -> None:
        await self.call(self.client.emit, Message("recognizer_loop:utterance", {"utterances": ["hello"]}))

    @property
    def peer(self) -> Peer:
        return self.hub.peers[0]


@pytest.fixture
async def satellite(kind: str, hub: LinkHub, tmp_path: Any, monkeypatch: Any) -> AsyncIterator[Satellite]:
    monkeypatch.setattr("hivemind_bus_client.reconnect.FIRST_DELAY_S", 0.05)
    made = Satellite(kind, hub, NodeIdentity(tmp_path / "sat" / "_identity.json"))
    yield made
    if made.client is not None:
        await made.call(made.client.close)


def acknowledged(hub: LinkHub) -> list[tuple[str, str]]:
    """The acknowledgements that came in: type and session."""
    bodies = [message.body for message in hub.received]
    return [(x["type"], x["context"]["session"]["session_id"]) for x in bodies if "audio" in x["type"]]


async def quiet(hub: LinkHub) -> None:
    """Until an acknowledgement would have come."""
    await asyncio.sleep(SHORTEST_S * 2)
    assert acknowledged(hub) == []


async def test_what_is_told_to_the_handlers_is_acknowledged(hub: LinkHub, satellite: Satellite) -> None:
    await satellite.connect()
    own = satellite.client.session_id
    await satellite.say()
    await eventually(lambda: len(acknowledged(hub)) == 2)
    assert acknowledged(hub) == [(STARTED, own), (ENDED, own)]
    assert [message.body["data"] for message in hub.received[1:]] == [{}, {}]


async def test_many_sessions_over_one_connection(hub: LinkHub, satellite: Satellite) -> None:
    await satellite.connect()
    users = ["alice", "bob"]
    for user in users:
        session = {"session_id": user, "active_skills": ["parrot"]}
        await satellite.peer.tell("speak", {"utterance": "hi"}, session=session)
    await eventually(lambda: len(acknowledged(hub)) == 4)
    for user in users:
        assert [kind for kind, session_id in acknowledged(hub) if session_id == user] == [STARTED, ENDED]
    assert hub.received[-1].body["context"]["session"]["active_skills"] == ["parrot"]


async def test_twins_are_acknowledged_once(hub: LinkHub, satellite: Satellite) -> None:
    await satellite.connect()
    data, session = {"utterance": "hi"}, {"session_id": "s"}
    await satellite.peer.tell("ovos.utterance.speak", data, session=session)
    await eventually(lambda: len(acknowledged(hub)) == 2)
    await satellite.peer.tell("speak", data, session=session, _namespace_compat_twin=True)
    await asyncio.sleep(SHORTEST_S * 2)
    assert acknowledged(hub) == [(STARTED, "s"), (ENDED, "s")]
    assert TWIN_FREE.isdisjoint(hub.received[-1].body["context"])


TWIN_FREE = {"_namespace_compat_twin", "_intent_compat_twin"}


async def test_a_handler_that_speaks_by_itself_is_waited_for(hub: LinkHub, satellite: Satellite) -> None:
    done = threading.Event()
    await satellite.connect()

    async def play(_: Any) -> None:
        await asyncio.to_thread(done.wait, 60)

    satellite.client.on_mycroft("speak", play)
    await satellite.say()
    await eventually(lambda: acknowledged(hub))
    await asyncio.sleep(SHORTEST_S * 2)
    assert [kind for kind, _ in acknowledged(hub)] == [STARTED]
    done.set()
    await eventually(lambda: [kind for kind, _ in acknowledged(hub)] == [STARTED, ENDED])


async def test_a_hub_that_takes_none_is_asked_once_and_nobody_hears_of_it(hub: LinkHub, satellite: Satellite) -> None:
    hub.denied_types = {STARTED, ENDED}
    await satellite.connect()
    heard: list[Any] = []
    satellite.client.on_mycroft("hive.policy.denied", heard.append)
    for _ in range(3):
        await satellite.say()
        await eventually(lambda: acknowledged(hub))
        await asyncio.sleep(SHORTEST_S * 2)
    assert [kind for kind, _ in acknowledged(hub)] == [STARTED]
    assert heard == []
    assert not [text for text in satellite.heard if "denied" in text]


async def test_the_next_connection_is_asked_again(hub: LinkHub, satellite: Satellite) -> None:
    hub.denied_types = {STARTED, ENDED}
    await satellite.connect()
    await satellite.say()
    await eventually(lambda: acknowledged(hub))
    hub.denied_types = set()
    hub.peers[0].abort()
    await eventually(lambda: hub.connections == 2 and satellite.client.connected_event.is_set())
    hub.received.clear()
    await satellite.say()
    await eventually(lambda: [kind for kind, _ in acknowledged(hub)] == [STARTED, ENDED])


async def test_a_program_that_says_so_itself_is_not_interrupted(hub: LinkHub, satellite: Satellite) -> None:
    hub.denied_types = {STARTED}
    await satellite.connect()
    await satellite.emit(STARTED)
    await eventually(lambda: [text for text in satellite.heard if "denied" in text])
    hub.received.clear()
    await satellite.say()
    await quiet(hub)


async def test_nor_is_one_that_says_so_for_the_first_time_while_it_plays(hub: LinkHub, satellite: Satellite) -> None:
    await satellite.connect()
    said = threading.Event()

    async def play(_: Any) -> None:
        await satellite.emit(STARTED)
        said.set()

    satellite.client.on_mycroft("speak", play)
    await satellite.say()
    await eventually(said.is_set)
    await asyncio.sleep(SHORTEST_S * 2)
    assert {kind for kind, _ in acknowledged(hub)} == {STARTED}, "the end is the program's to tell"


async def test_the_newer_names_count_too(hub: LinkHub, satellite: Satellite) -> None:
    await satellite.connect()
    await satellite.emit("ovos.audio.output.started")
    await eventually(lambda: hub.received)
    hub.received.clear()
    await satellite.say()
    await quiet(hub)


class Player(BinaryDataCallbacks):
    def handle_receive_tts(self, *_: Any) -> None:
        return None


@pytest.mark.parametrize(
    ("connecting", "options"),
    [((), {"bin_callbacks": Player()}), ((FakeBus(),), {}), ((), {"internal_bus": FakeBus()})],
    ids=["speech from the hub", "a bus of its own", "an internal bus of its own"],
)
async def test_a_program_that_may_play_decides_for_itself(
    hub: LinkHub, satellite: Satellite, connecting: tuple[Any, ...], options: dict[str, Any]
) -> None:
    await satellite.connect(*connecting, **options)
    await satellite.say()
    await quiet(hub)
    await satellite.call(satellite.client.close)
    await satellite.connect(*connecting, **options, acknowledge_playback=True)
    await satellite.say()
    await eventually(lambda: [kind for kind, _ in acknowledged(hub)] == [STARTED, ENDED])


async def test_it_can_be_turned_off(hub: LinkHub, satellite: Satellite) -> None:
    await satellite.connect(acknowledge_playback=False)
    await satellite.say()
    await quiet(hub)


async def test_a_connection_that_ends_meanwhile_ends_it(
    hub: LinkHub, satellite: Satellite, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()
    await satellite.connect()

    async def play(_: Any) -> None:
        await asyncio.to_thread(done.wait, 60)

    satellite.client.on_mycroft("speak", play)
    await satellite.say()
    await eventually(lambda: acknowledged(hub))
    hub.peers[0].abort()
    await eventually(lambda: hub.connections == 2 and satellite.client.connected_event.is_set())
    done.set()
    await asyncio.sleep(SHORTEST_S * 2)
    assert [kind for kind, _ in acknowledged(hub)] == [STARTED]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Every client ends its own threads."""
    before = set(threading.enumerate())
    yield

    def left() -> list[str]:
        named = {thread.name for thread in set(threading.enumerate()) - before}
        return [name for name in named if name.startswith("hivemind")]

    wait_until(lambda: not left(), PATIENCE_S, f"the end of {left()}")
