"""Weaknesses that need a look into the hub: over real sockets, with the hub in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from helpers import live_hub
from helpers.agent_bus import bus_client, receive_types
from helpers.link_hub import eventually
from helpers.live_hub import LiveHub, closed, flush, send
from helpers.mailbox_stores import LETTER
from helpers.processes import Children, free_port
from helpers.target import PASSWORD, Target
from hivemind_bus_client.link import Link, Received
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_core.agents.busclient import BusAddress, BusTuning
from hivemind_core.agents.busserver import BusServer
from hivemind_core.binary import BinaryHandler
from hivemind_core.mailbox_service import Mailbox
from hivemind_core.mailbox_store import MailboxStore
from hivemind_core.testing import quick_psk


async def joined(hub: LiveHub, key: str) -> tuple[Any, Link]:
    """A satellite that the hub has registered."""
    before = len(hub.hub.peers)
    socket, link = await hub.session(key, PASSWORD)
    await eventually(lambda: len(hub.hub.peers) > before)
    return socket, link


def utterance(words: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": [words]}))


class Hangs(BinaryHandler):
    """A handler that takes for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.end = threading.Event(), threading.Event()

    def handle_receive_file(self, *_: Any, **__: Any) -> None:
        self.began.set()
        self.end.wait(60)


async def test_w22_a_handler_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    handler = Hangs()
    async with LiveHub(tmp_path, parts={"binary": handler}) as hub:
        for key in ("kitchen", "hall"):
            hub.add(key, PASSWORD)
        kitchen, hall = await joined(hub, "kitchen"), await joined(hub, "hall")
        data = HiveMessage(
            HiveMessageType.BINARY, b"x", metadata={"file_name": "x"}, bin_type=HiveMindBinaryPayloadType.FILE
        )
        await send(*kitchen, data)
        assert await asyncio.to_thread(handler.began.wait, 60)
        await send(*hall, utterance("am I heard"))
        await send(*kitchen, utterance("and I"))
        await eventually(lambda: sorted(hub.agent.utterances) == ["am I heard", "and I"])
        handler.end.set()


async def test_w24_unknown_keys_cost_one_question_whether_anybody_wrote(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        statements: list[str] = []
        hub.hub.db.store._db.set_trace_callback(statements.append)  # type: ignore[attr-defined]
        for number in range(5):
            assert (await closed(await hub.raw(f"no-such-key-{number}")))[0] == 1008
        assert set(statements) <= {"PRAGMA data_version"}


async def test_w23_messages_do_not_touch_the_database(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add("kitchen", PASSWORD)
        kitchen = await joined(hub, "kitchen")
        await send(*kitchen, utterance("first"))
        await eventually(lambda: hub.agent.utterances == ["first"])
        await eventually(lambda: "noise_pubkey" in hub.stored()[0].metadata)
        await eventually(lambda: hub.stored()[0].last_seen > 0)  # which is next written in a minute
        statements: list[str] = []
        hub.hub.db.store._db.set_trace_callback(statements.append)  # type: ignore[attr-defined]
        for number in range(50):
            await send(*kitchen, utterance(str(number)))
        await eventually(lambda: len(hub.agent.utterances) == 51)
        assert len(set(statements) - {"PRAGMA data_version"}) == 0


async def test_w29_an_answer_costs_the_same_however_many_are_here(tmp_path: Path) -> None:
    async with LiveHub(tmp_path, derive=quick_psk) as hub:
        costs = []
        for count in (2, 12):
            while len(hub.hub.peers) < count:
                key = f"client-{len(hub.hub.peers)}"
                hub.add(key, PASSWORD)
                await quickly_joined(hub, key)
            [first, *_] = hub.hub.peers
            said = Message("speak", {"utterance": "x"}, {"destination": first.peer_id})
            costs.append(min(calls_of(hub, said) for _ in range(3)))  # the collector may call something meanwhile
        assert costs[1] <= costs[0] * 1.2


async def quickly_joined(hub: LiveHub, key: str) -> None:
    """As `joined`, with the quick key of a hub that was made with it."""
    original, live_hub.derive_once = live_hub.derive_once, quick_psk  # type: ignore[assignment]
    try:
        await joined(hub, key)
    finally:
        live_hub.derive_once = original


def calls_of(hub: LiveHub, message: Message) -> int:
    """How many Python functions are called to deliver a message; the second time, when all is set up."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    hub.hub.deliver(message)
    sys.setprofile(note)
    try:
        hub.hub.deliver(message)
    finally:
        sys.setprofile(None)
    return count


async def test_w31_one_depositor_leaves_room_for_others(tmp_path: Path) -> None:
    mailbox = Mailbox(lambda: MailboxStore(tmp_path / "mailbox.db"), "node")
    async with LiveHub(tmp_path, parts={"mailbox": mailbox}) as hub:
        for key in ("greedy", "modest", "owner"):
            hub.add(key, PASSWORD)
        greedy, modest = await joined(hub, "greedy"), await joined(hub, "modest")
        outcomes = [await deposited(*greedy) for _ in range(140)]
        assert outcomes.count("ok") == 128
        assert await deposited(*modest) == "ok"


async def deposited(socket: Any, link: Link) -> str:
    """Leave a letter for the owner; the status of the reply."""
    body = {"cmd": "deposit", "target_key": "owner", "payload": LETTER}
    await send(socket, link, HiveMessage(HiveMessageType.RENDEZVOUS, body))
    while True:
        for event in link.receive(await asyncio.wait_for(socket.recv(), 60), 0.0):
            if isinstance(event, Received) and event.message.msg_type == HiveMessageType.RENDEZVOUS:
                return str(event.message.payload["status"])
        await flush(socket, link)


def test_w33_nothing_is_announced_on_the_network(children: Children) -> None:
    """Presence is on by default there, and so in configurations that come from there."""
    hub = Target(children, config={"presence": {"enabled": True, "zeroconf": True, "upnp": True}})
    sockets = {link for fd in Path(f"/proc/{hub.pid}/fd").iterdir() if (link := target_of(fd)).startswith("socket:")}
    assert sockets
    tables = [Path(f"/proc/{hub.pid}/net/{name}").read_text("utf-8") for name in ("udp", "udp6", "raw")]
    inodes = {row.split()[9] for table in tables for row in table.splitlines()[1:]}
    assert not {f"socket:[{inode}]" for inode in inodes} & sockets
    hub.close()


def target_of(fd: Path) -> str:
    with contextlib.suppress(OSError):
        return str(fd.readlink())
    return ""


async def test_w34_a_bus_client_that_dies_takes_no_other_along() -> None:
    """Of the bus that the hub itself offers, where there is no assistant."""
    port = free_port()
    server = BusServer(BusAddress(port=port), BusTuning(), lambda message: None)
    await server.start()
    try:
        async with bus_client(port) as dies, bus_client(port) as stays:
            assert dies._response.connection is not None
            assert dies._response.connection.transport is not None
            dies._response.connection.transport.abort()
            for number in range(20):
                await stays.send_str(json.dumps({"type": f"number {number}"}))
            assert (await receive_types(stays, 21))[-1] == "number 19"
            assert not stays.closed
    finally:
        await server.stop()
