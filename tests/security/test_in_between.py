"""P3 and P4: what somebody between a hub and a satellite makes of the RSA handshake, and of frames sent back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from helpers.attacks_protocol import rsa_pair
from helpers.link_hub import LinkHub, eventually
from helpers.live_hub import LiveHub, closed, satellite
from helpers.target import PASSWORD
from hivemind_bus_client.legacy import HubLegacyTerms, OlderOffer
from hivemind_bus_client.link import HubTerms, KeyNeeded, Link, hub_offer
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

KEY = "an-access-key"


class RsaHub(LinkHub):
    """Anybody with an RSA key of their own, who offers nothing but the RSA handshake."""

    def __init__(self) -> None:
        super().__init__({KEY: PASSWORD})
        self.pem, self._private = rsa_pair()

    def _link(self, key: str) -> Link:
        ciphers, encodings = ("AES-GCM",), ("JSON-HEX",)
        older = OlderOffer(0, password=False, crypto_key=False)
        offer = hub_offer(binarize=False, encodings=encodings, ciphers=ciphers, pinned=False, older=older)
        hello = {"pubkey": self.pem, "peer": "someone", "node_id": self.pem}
        legacy = HubLegacyTerms(encodings, ciphers, None, self._private)
        terms = HubTerms(hello, offer, self.static_key, floor=0, legacy=legacy)
        return Link.hub(terms, time.monotonic())

    async def _handle(self, peer: Any, event: Any) -> None:
        if isinstance(event, KeyNeeded) and event.compute is not None:
            done = await asyncio.to_thread(event.compute)
            for following in peer.link.key_derived(done, time.monotonic()):
                await self._handle(peer, following)
            return
        await super()._handle(peer, event)


async def test_p03_an_rsa_key_that_nobody_vouched_for_is_not_believed(tmp_path: Path) -> None:
    """Not by default; who asks for version 1 gets it, at the first contact."""
    async with RsaHub() as hub:
        client = satellite(tmp_path / "default", hub.port, KEY, PASSWORD)
        with pytest.raises(ConnectionError):
            await client.connect(timeout=60)
        await client.close()
        assert hub.patterns == []
        knowing = satellite(tmp_path / "knowing", hub.port, KEY, PASSWORD, min_protocol_version=1)
        await knowing.connect(timeout=60)
        await knowing.close()
        assert hub.patterns == ["rsa"]


async def test_p03_who_has_met_the_hub_believes_no_rsa_key_whatever_it_allows(tmp_path: Path) -> None:
    async with LinkHub({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD, min_protocol_version=1)
        await client.connect(timeout=60)
        await client.close()
        port = hub.port
    imposter = RsaHub()
    imposter.port = port
    async with imposter:
        again = satellite(tmp_path, port, KEY, PASSWORD, min_protocol_version=1)
        with pytest.raises(ConnectionError):
            await again.connect(timeout=60)
        await again.close()
        assert imposter.patterns == []


class Overheard:
    """A Link whose frames somebody keeps as they come."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.frames: list[bytes] = []

    def receive(self, frame: bytes | str, now: float) -> Any:
        if isinstance(frame, bytes):
            self.frames.append(frame)
        return self._link.receive(frame, now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class Mirror(LinkHub):
    """Somebody between who sends a satellite all that it has said in its session, once."""

    def _link(self, key: str) -> Any:
        return Overheard(super()._link(key))

    async def _received(self, peer: Any, message: HiveMessage) -> None:
        await super()._received(peer, message)
        if message.msg_type == HiveMessageType.BUS and self.connections == 1:
            for frame in peer.link.frames:
                await peer.socket.send_bytes(frame)


async def test_p04_a_satellite_takes_none_of_its_own_frames(tmp_path: Path) -> None:
    async with Mirror({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        heard: list[str] = []
        client.on_mycroft("speak", lambda message: heard.append(message.data["utterance"]))
        await client.connect(timeout=60)
        words = Message("speak", {"utterance": "said to myself"})
        await client.emit(HiveMessage(HiveMessageType.BUS, words))
        await eventually(lambda: heard[:1] == ["said to myself"])  # which is what every program here hears of its own
        await eventually(lambda: len(heard) > 1 or (hub.connections > 1 and hub.peers and hub.peers[-1].hello))
        await hub.peers[-1].tell("speak", {"utterance": "said by the hub"})
        await eventually(lambda: len(heard) > 1)
        assert heard == ["said to myself", "said by the hub"]
        await client.close()


async def test_p04_a_hub_takes_none_of_its_own_frames(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add(KEY, PASSWORD)
        socket, _ = await hub.session(KEY, PASSWORD)
        await eventually(lambda: hub.hub.peers)
        [peer] = hub.hub.peers
        for words in ("in the place of a HELLO", "one", "two"):
            data = {"utterances": [words]}
            hub.agent.deliver(Message("recognizer_loop:utterance", data, {"destination": peer.peer_id}))
        await socket.recv()  # the hub counts what it takes, and it has taken one
        with contextlib.suppress(ConnectionClosed):
            while not hub.agent.utterances:
                await socket.send(await asyncio.wait_for(socket.recv(), 60))
        assert (await closed(socket))[0] == 1008
        assert hub.agent.utterances == []
