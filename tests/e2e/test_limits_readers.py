"""A satellite that reads too slowly and then reads on is told so by its WebSocket; one that never does:
test_conversation.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import LiveHub, closed, satellite, send
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.refusals import REFUSALS
from hivemind_core.transports import websocket

KEY, OTHER, PASSWORD = "an-access-key", "another-access-key", "correct horse battery staple 42"
UTTERANCE = "recognizer_loop:utterance"
SPEECH = HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": ["hello"]}))
LONG_ENOUGH_S = 60.0
FRAME, MOST_FRAMES = "y" * 50_000, 2000


async def test_who_reads_on_is_told_why_it_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """1013, after what was on its way, and nothing of what was dropped; others have theirs meanwhile."""
    monkeypatch.setattr(websocket, "CLOSE_WITHIN_S", LONG_ENOUGH_S)
    row = REFUSALS["slow_reader"]
    async with LiveHub(tmp_path / "hub") as hub:
        hub.add(KEY, PASSWORD)
        hub.add(OTHER, PASSWORD)
        socket, link = await hub.session(KEY, PASSWORD)
        await send(socket, link, SPEECH)
        [peer] = await eventually(lambda: list(hub.hub.peers))
        socket.transport.pause_reading()
        other = satellite(tmp_path / "other", hub.port, OTHER, PASSWORD)
        await other.connect(timeout=LONG_ENOUGH_S)
        for number in range(MOST_FRAMES):
            if row.sentence in caplog.text:
                break
            hub.agent.deliver(Message("flood", {"x": FRAME}, {"destination": peer.peer_id}))
            await asyncio.sleep(0 if number % 50 else 0.001)
        assert row.sentence in caplog.text
        await other.emit(SPEECH)
        await eventually(lambda: len(hub.agent.of_type(UTTERANCE)) == 2)
        socket.transport.resume_reading()
        code, reason = await closed(socket)
        assert (code, reason.startswith(row.wire_reason)) == (1013, True)
        await eventually(lambda: len(list(hub.hub.peers)) == 1)
        await other.close()
