"""What a client, or an address, may take of a hub, whatever number of connections it has: on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from helpers.link_hub import eventually
from helpers.live_hub import HOST, LiveHub, send
from hivemind_bus_client.denials import DENIED
from hivemind_bus_client.link import Link, Received
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core import mesh
from hivemind_core.asking import MOST_AT, MOST_EACH
from hivemind_core.config import WebSocketConfig
from hivemind_core.door import MAX_CONNECTIONS_OF_KEY, NEW_SESSIONS_AT_ONCE
from hivemind_core.proxies import TrustedProxies

HERE, THERE = "192.0.2.1", "192.0.2.2"
GREEDY, MODEST, PASSWORD = "a-greedy-key", "a-modest-key", "correct horse battery staple 42"
UTTERANCE, HANDLED = "recognizer_loop:utterance", "ovos.utterance.handled"
BEHIND_A_PROXY = WebSocketConfig(HOST, 0, proxies=TrustedProxies((ip_network("127.0.0.0/8"),)))


class FullOfWork:
    """A mailbox that answers nobody before the hub stops."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._over = asyncio.Event()

    async def start(self) -> None:
        pass

    async def handle(self, owner_key: str, body: dict[str, Any], wall: float) -> dict[str, Any]:
        self.asked.append(owner_key)
        await self._over.wait()
        return {}

    async def stop(self) -> None:
        self._over.set()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveHub]:
    """A hub whose assistant answers nothing but "now", at once."""

    def answer(message: Message) -> None:
        if message.data.get("utterances") == ["now"]:
            live.agent.deliver(message.reply("speak", {"utterance": "at once"}))
            live.agent.deliver(message.reply(HANDLED))

    async with LiveHub(tmp_path / "hub", websocket=BEHIND_A_PROXY, parts={"mailbox": FullOfWork()}) as live:
        live.agent.respond = answer
        live.stand_still()
        yield live


class Device:
    """A connection that keeps what it is told."""

    def __init__(self, socket: ClientConnection, link: Link) -> None:
        self._socket = socket
        self._link = link
        self._told: list[HiveMessage] = []

    async def say(self, message: HiveMessage) -> None:
        await send(self._socket, self._link, message)

    async def ask(self, query_id: str, text: str = "later") -> None:
        bus = HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": [text]}))
        await self.say(HiveMessage(HiveMessageType.QUERY, bus, metadata={"query_id": query_id}))

    async def heard(self) -> HiveMessage:
        """The next message that it is told; the hub has 60 s for it."""
        while not self._told:
            frame = await asyncio.wait_for(self._socket.recv(), 60)
            events = self._link.receive(frame, 0.0)
            self._told += [event.message for event in events if isinstance(event, Received)]
        return self._told.pop(0)


def body(message: HiveMessage) -> dict[str, Any]:
    inner = message.payload.body if message.msg_type == HiveMessageType.QUERY else message.body
    return dict(inner)


async def connected(live: LiveHub, key: str, *addresses: str) -> list[Device]:
    """Connections of one client, from these addresses; an empty one is this machine."""
    live.add(key, PASSWORD, can_escalate=True)
    device_key, found = generate_static_key(), []
    for address in addresses:
        headers = {"X-Forwarded-For": address} if address else None
        found.append(Device(*await live.session(key, PASSWORD, headers, device_key)))
    return found


async def test_a_client_with_many_connections_leaves_the_first_question_of_another_its_place(live: LiveHub) -> None:
    crowd = await connected(live, GREEDY, *[""] * MAX_CONNECTIONS_OF_KEY)
    for number, device in enumerate(crowd):
        await device.ask(f"q{number}")
        if number < MOST_EACH:
            await eventually(lambda asked=number + 1: len(live.agent.utterances) == asked)
    denied = [body(await device.heard()) for device in crowd[MOST_EACH:]]
    assert {(each["type"], each["data"]["code"]) for each in denied} == {(DENIED, "too_many_questions")}
    assert len(live.agent.utterances) == MOST_EACH
    [modest] = await connected(live, MODEST, "")
    await modest.ask("mine", "now")
    assert body(await modest.heard())["data"]["utterance"] == "at once"


async def test_an_address_takes_not_all_places_for_questions_and_its_greedy_make_room_for_the_modest(
    live: LiveHub,
) -> None:
    for client in range(4):
        [greedy] = await connected(live, f"greedy-{client}", HERE)
        for number in range(MOST_EACH):
            await greedy.ask(f"q{client}-{number}")
    [neighbour], [other] = await connected(live, "neighbour", HERE), await connected(live, "other", THERE)
    told = [body(await greedy.heard())["data"]["code"] for _ in range(MOST_EACH - MOST_AT // 4)]
    assert set(told) == {"too_many_questions"}
    for modest in (neighbour, other):
        await modest.ask(f"of {id(modest)}", "now")
        assert body(await modest.heard())["data"]["utterance"] == "at once"


async def test_a_client_changes_its_sessions_no_more_often_for_having_many_connections(live: LiveHub) -> None:
    crowd = await connected(live, GREEDY, *[HERE] * (NEW_SESSIONS_AT_ONCE + 3))
    joined = "hive.client.connect"
    await eventually(lambda: len(live.agent.of_type(joined)) == len(crowd))
    for number, device in enumerate(crowd):
        await device.say(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": f"another-{number}"}}))
        if number < NEW_SESSIONS_AT_ONCE:
            await eventually(lambda there=number + 1: len(live.agent.of_type(joined)) == len(crowd) + there)
    for device in crowd[NEW_SESSIONS_AT_ONCE:]:
        assert body(await device.heard())["data"]["code"] == "too_many_sessions"
    [other] = await connected(live, MODEST, HERE)
    await other.say(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": "mine"}}))
    await eventually(lambda: any("::mine" in str(each.data) for each in live.agent.of_type(joined)))


async def test_requests_to_the_mailbox_wait_for_each_client_and_address_and_not_for_each_connection(
    live: LiveHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh, "MAX_MAIL_WAITING", 3)
    monkeypatch.setattr(mesh, "MAX_MAIL_WAITING_AT", 5)
    asked = live.hub.mailbox.asked  # type: ignore[union-attr]
    for key, address, taken in ((GREEDY, HERE, 3), ("neighbour", HERE, 2), (MODEST, THERE, 3), ("ours", "", 3)):
        for device in await connected(live, key, *[address] * 4):
            await device.say(HiveMessage(HiveMessageType.RENDEZVOUS, {"cmd": "collect"}))
            await device.ask(f"afterwards {id(device)}", "now")
            assert body(await device.heard())["data"]["utterance"] == "at once"
        assert asked.count(key) == taken
    await live.hub.mailbox.stop()  # type: ignore[union-attr]
