"""The satellite: with a client that a test plays, and with the real one at a small hub."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.chatroom_core import CONNECTED, DOWN, SECRET, visitor
from helpers.link_hub import LinkHub, eventually
from hivemind_bus_client.client import HiveMessageBusClient
from hivemind_bus_client.exceptions import NotConnected
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.refusals import REFUSALS, HiveMindRefused
from hivemind_chatroom.chat import Chat, LinkState, TurnedAway
from hivemind_chatroom.hive import Hive
from hivemind_chatroom.incoming import TOPICS
from hivemind_chatroom.messages import ChatMessage
from hivemind_chatroom.sentences import say
from hivemind_chatroom.settings import PLATFORM, Settings

WAIT_S = 60.0
KEY, PASSWORD = "key of the chatroom", "orbital-walnut-cipher-93-lantern"


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)
    return found


class PlayedClient:
    """A client whose connection is what the test says."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[Any], None]] = {}
        self.events: dict[str, Callable[..., None]] = {}
        self.sent: list[Message] = []
        self.raises: list[Exception] = []
        self.connected = False
        self.problem = ""
        self.closed = False
        self.is_started = False

    def on_mycroft(self, topic: str, handler: Callable[[Any], None]) -> None:
        self.handlers[topic] = handler

    def on(self, name: str, handler: Callable[..., None]) -> None:
        self.events[name] = handler

    def run_in_thread(self) -> None:
        self.is_started = True

    def emit_mycroft(self, message: Message) -> None:
        if self.raises:
            raise self.raises.pop(0)
        self.sent.append(message)

    def close(self, timeout_s: float) -> None:
        self.closed = True

    def happens(self, name: str, *args: Any) -> None:
        self.connected = name == "open"
        self.events[name](*args)


class InjectedClient:
    """As little as a program may bring: no events, no state."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.sent: list[Message] = []

    def on_mycroft(self, topic: str, handler: Callable[[Any], None]) -> None:
        self.topics.append(topic)

    def emit(self, message: Message) -> None:
        self.sent.append(message)


class Stage:
    """A chatroom with a satellite whose client is played."""

    def __init__(self) -> None:
        self.chat = Chat(Settings(secret=SECRET))
        self.client = PlayedClient()
        self.hive = Hive(self.chat, lambda: self.client)

    def say(self, text: str = "hello", name: str = "alice") -> ChatMessage:
        return self.chat.post(visitor(name), "flask", "en", text)

    def line(self, number: int) -> ChatMessage:
        return next(message for message in self.chat.messages("", None, 0, 99) if message.id == number)

    def hears(self, topic: str, data: Any = None, context: Any = None) -> None:
        self.client.handlers[topic](Message(topic, data or {}, context or {}))

    def end(self) -> None:
        self.chat.stop()
        self.hive.stop()
        assert not self.hive._sender.is_alive()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    made.hive.start()
    yield made
    made.end()


# --- a played client ---------------------------------------------------------------------------------------------


def test_it_hears_every_topic_of_the_assistant(stage: Stage) -> None:
    assert stage.client.is_started
    assert set(stage.client.handlers) == set(TOPICS)
    assert stage.hive.client is stage.client


def test_what_is_said_goes_out_once_the_link_stands(stage: Stage) -> None:
    number = stage.say("what time is it").id
    assert stage.client.sent == []
    stage.client.happens("open")
    [message] = until(lambda: stage.client.sent)
    assert (message.msg_type, message.data) == (
        "recognizer_loop:utterance",
        {"utterances": ["what time is it"], "lang": "en"},
    )
    assert (message.context["source"], message.context["user"]) == (PLATFORM, "alice")
    until(lambda: stage.line(number).state == "sent")


def test_an_answer_comes_back(stage: Stage) -> None:
    stage.client.happens("open")
    number = stage.say().id
    [message] = until(lambda: stage.client.sent)
    stage.hears("speak", {"utterance": "hi"}, message.context)
    [_, answer] = stage.chat.messages("", "flask", 0, 9)
    assert (answer.message, answer.reply_to) == ("@alice - hi", number)


def test_an_envelope_is_opened(stage: Stage) -> None:
    inner = Message("speak", {"utterance": "hi"}, {})
    stage.client.handlers["speak"](HiveMessage(HiveMessageType.BUS, inner))
    assert [message.text for message in stage.chat.messages("", None, 0, 9)] == ["hi"]


@pytest.mark.parametrize("message", [None, 3, "speak", {}, object(), Message("speak"), Message("other", {"a": 1})])
def test_any_shape_is_survived(stage: Stage, message: Any) -> None:
    for handler in stage.client.handlers.values():
        handler(message)
    assert stage.chat.messages("", None, 0, 9) == []


def test_the_link_is_shown_as_it_is(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    assert stage.chat.link.state == "connecting"
    stage.client.happens("open")
    assert stage.chat.link.is_up
    stage.client.problem = "The hub does not answer. Start it."
    stage.client.happens("close")
    assert stage.chat.link.as_dict() == {
        "state": "down",
        "text": say("hub_down").text,
        "cure": say("hub_down").cure,
    }
    assert "The hub does not answer. Start it." in caplog.text
    stage.client.happens("open")
    assert stage.chat.link.is_up


@pytest.mark.parametrize("event", ["reconnecting", "error"])
def test_an_error_of_a_connection_that_stands_is_no_loss(stage: Stage, event: str) -> None:
    stage.client.happens("open")
    stage.client.events[event]()
    assert stage.chat.link.is_up
    stage.client.happens(event)
    assert stage.chat.link.state == "down"


def test_a_loss_counts_though_the_next_connection_stands_already(stage: Stage) -> None:
    stage.client.happens("open")
    number = stage.say().id
    until(lambda: stage.line(number).state == "sent")
    stage.client.events["close"]()
    stage.client.events["open"]()
    turn = stage.chat._conversation.turns.get(number)
    assert turn is not None
    assert turn.was_cut
    assert stage.chat.link.is_up


def test_a_link_that_comes_back_while_its_loss_is_noted_is_up(stage: Stage) -> None:
    stage.client.happens("open")
    set_link = stage.chat.set_link

    def late(link: LinkState) -> None:
        if not link.is_up:
            stage.client.happens("open")
        set_link(link)

    stage.chat.set_link = late  # type: ignore[method-assign]
    stage.client.happens("reconnecting")
    assert stage.chat.link.is_up


def test_what_is_not_sent_goes_out_later(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_chatroom.hive.RETRY_S", 0.01)
    stage.client.happens("open")
    stage.client.connected = False
    stage.client.raises = [NotConnected("down")]
    number = stage.say().id
    until(lambda: stage.chat.link.state == "down")
    assert stage.line(number).state == "sending"
    stage.client.happens("open")
    until(lambda: stage.line(number).state == "sent")
    assert len(stage.client.sent) == 1


def test_what_fails_is_told_and_the_next_goes_out(stage: Stage) -> None:
    stage.client.happens("open")
    stage.client.raises = [ValueError("it is too large")]
    first, second = stage.say("one").id, stage.say("two").id
    until(lambda: stage.line(second).state == "sent")
    assert (stage.line(first).state, "it is too large" in stage.line(first).note) == ("failed", True)


@pytest.mark.parametrize("told_first", [False, True])
def test_a_refusal_for_good_is_shown_and_ends_what_waits(stage: Stage, told_first: bool) -> None:
    error = HiveMindRefused(REFUSALS["invalid_key"])
    stage.client.happens("open")
    stage.client.raises = [error] * 9
    if told_first:
        waiting = stage.say().id
        stage.client.events["auth_rejected"](str(error.refusal))
    else:
        waiting = stage.say().id
    until(lambda: stage.line(waiting).state == "failed")
    assert REFUSALS["invalid_key"].sentence in f"{stage.chat.link.text} {stage.chat.link.cure}"
    assert stage.chat.link.cure.endswith("Then start the chatroom again.")
    for event in ("close", "error", "reconnecting"):
        stage.client.happens(event)
    assert stage.chat.link.is_refused
    with pytest.raises(TurnedAway):
        stage.say()


def test_what_a_hub_says_in_refusing_can_be_shown(stage: Stage) -> None:
    stage.client.events["auth_rejected"]("no \ud800\x1b[31m\u202e" + "x" * 10_000)
    link = stage.chat.link
    assert link.is_refused
    assert (link.text + link.cure).isprintable()
    assert len(link.text) < 1000


def test_a_client_that_cannot_be_made_says_so() -> None:
    def broken() -> Any:
        raise LookupError("no identity")

    with pytest.raises(LookupError):
        Hive(Chat(Settings()), broken).start()
    with pytest.raises(ValueError, match="no client"):
        Hive(Chat(Settings())).start()


def test_its_own_client_is_closed_at_the_end() -> None:
    stage = Stage()
    stage.hive.start()
    stage.client.happens("open")
    stage.end()
    assert stage.client.closed
    stage.client.happens("close")
    assert stage.chat.link == CONNECTED


def test_a_client_of_somebody_else_is_used_and_left_alone() -> None:
    stage, client = Stage(), InjectedClient()
    stage.hive.use(client)
    assert set(client.topics) == set(TOPICS)
    assert stage.chat.link.is_up
    stage.say()
    until(lambda: client.sent)
    stage.end()


def test_a_client_of_somebody_else_may_connect_later() -> None:
    class Later(PlayedClient):
        connected_event = threading.Event()

    stage, client = Stage(), Later()
    stage.hive.use(client)
    assert stage.chat.link.state == "connecting"
    client.happens("open")
    assert stage.chat.link.is_up
    stage.end()
    assert not client.closed


# --- the real client ---------------------------------------------------------------------------------------------


class Joined:
    """A chatroom at a hub."""

    def __init__(self, folder: Path, hub: LinkHub, password: str = PASSWORD, key: str = KEY) -> None:
        self.chat = Chat(Settings(secret=SECRET))
        self.hub = hub

        def client() -> HiveMessageBusClient:
            identity = NodeIdentity(folder / "_identity.json")
            where = {"host": "127.0.0.1", "port": hub.port}
            return HiveMessageBusClient(key, password=password, identity=identity, useragent=PLATFORM, **where)

        self.hive = Hive(self.chat, client)

    def say(self, text: str, name: str = "alice") -> int:
        return self.chat.post(visitor(name), "flask", "en", text).id

    def lines(self) -> dict[int, ChatMessage]:
        return {message.id: message for message in self.chat.messages("", None, 0, 99)}

    def answers(self, number: int) -> list[str]:
        return [line.message for line in self.lines().values() if line.reply_to == number]

    def stop(self) -> None:
        self.chat.stop()
        self.hive.stop()


@pytest.fixture
async def hub() -> AsyncIterator[LinkHub]:
    async with LinkHub({KEY: PASSWORD}) as running:
        yield running


@pytest.fixture
async def joined(hub: LinkHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Joined]:
    monkeypatch.setattr("hivemind_bus_client.reconnect.FIRST_DELAY_S", 0.05)
    made = Joined(tmp_path, hub)
    await asyncio.to_thread(made.hive.start)
    await eventually(lambda: made.chat.link.is_up)
    yield made
    await asyncio.to_thread(made.stop)


async def test_a_real_client_carries_several_people(joined: Joined) -> None:
    numbers = {name: joined.say(f"I am {name}", name) for name in ("alice", "bob")}
    for name, number in numbers.items():
        await eventually(lambda number=number: joined.answers(number))
        assert joined.answers(number) == [f"@{name} - you said I am {name}"]
        assert joined.lines()[number].state == "answered"
    assert joined.hub.peers[0].useragent == PLATFORM
    said = [message.body for message in joined.hub.received if message.body["type"] == "recognizer_loop:utterance"]
    contexts = [message["context"] for message in said]
    assert [context["user"] for context in contexts] == ["alice", "bob"]
    assert len({context["session"]["session_id"] for context in contexts}) == 2
    assert [context["session"]["site_id"] for context in contexts] == ["flask", "flask"]


async def test_a_denial_of_a_real_hub_is_told(joined: Joined) -> None:
    joined.hub.denied_types.add("recognizer_loop:utterance")
    number = joined.say("may I")
    await eventually(lambda: joined.lines()[number].state == "denied")
    assert "allow-msg" in joined.lines()[number].note


async def test_the_newer_names_of_topics_are_heard(joined: Joined) -> None:
    await joined.hub.peers[0].tell("ovos.utterance.speak", {"utterance": "dinner is ready"})
    await eventually(joined.lines)
    await joined.hub.peers[0].tell("speak", {"utterance": "the end"})
    await eventually(lambda: len(joined.lines()) > 1)
    assert [line.text for line in joined.lines().values()] == ["dinner is ready", "the end"]


async def test_a_hub_that_goes_and_comes_back_loses_no_message(joined: Joined) -> None:
    await joined.hub.kill()
    await eventually(lambda: joined.chat.link.state == "down")
    assert joined.chat.link.cure
    number = joined.say("are you there")
    assert joined.lines()[number].state == "sending"
    await joined.hub.start()
    await eventually(lambda: joined.answers(number))
    assert joined.chat.link.is_up
    assert joined.answers(number) == ["@alice - you said are you there"]


async def test_a_hub_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_bus_client.reconnect.FIRST_DELAY_S", 0.05)
    hub = LinkHub({KEY: PASSWORD})
    async with hub:
        pass
    joined = Joined(tmp_path, hub)
    await asyncio.to_thread(joined.hive.start)
    try:
        await eventually(lambda: joined.chat.link.state == DOWN.state)
        number = joined.say("first")
        async with hub:
            await eventually(lambda: joined.answers(number))
    finally:
        await asyncio.to_thread(joined.stop)


async def test_a_key_nobody_knows_is_refused_for_good(hub: LinkHub, tmp_path: Path) -> None:
    joined = Joined(tmp_path, hub, key="another key")
    await asyncio.to_thread(joined.hive.start)
    try:
        await eventually(lambda: joined.chat.link.is_refused)
        assert REFUSALS["invalid_key"].sentence in joined.chat.link.text
        with pytest.raises(TurnedAway):
            joined.say("hello")
        attempts = hub.connections
        await asyncio.sleep(0.1)
        assert hub.connections == attempts
    finally:
        await asyncio.to_thread(joined.stop)
