"""What a satellite shares of its own bus, seen at a real hub: there for whoever watches, and nowhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import LiveHub
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import Message

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"


@pytest.mark.parametrize("shares", [True, False])
async def test_a_satellite_shares_its_bus_if_it_says_so(shares: bool, tmp_path: Path) -> None:
    seen: list[str] = []
    async with LiveHub(tmp_path / "hub") as live:
        live.add(KEY, PASSWORD)
        live.hub.mesh.on_shared_bus = lambda peer_id, message: seen.append(message.msg_type)

        def speak_at_home() -> None:
            bus, own = FakeBus(), NodeIdentity(identity_file=tmp_path / "_identity.json")
            client = HiveMessageBusClient(
                KEY, password=PASSWORD, host="127.0.0.1", port=live.port, share_bus=shares, identity=own
            )
            client.connect(bus=bus, timeout=60)
            bus.emit(Message("kitchen.light", {"on": True}))
            client.emit_mycroft(Message("recognizer_loop:utterance", {"utterances": ["done"]}))
            client.flush()
            client.close()

        await asyncio.to_thread(speak_at_home)
        await eventually(lambda: live.agent.utterances)
        assert ("kitchen.light" in seen) == shares
        assert live.agent.of_type("kitchen.light") == []
