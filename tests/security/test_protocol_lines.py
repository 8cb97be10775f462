"""The known defects of the protocol and its implementations, numbered as the table of docs/security.md does."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from websockets.asyncio.client import connect

from helpers.attacks_outside import outcome, p09_access_keys_in_the_log
from helpers.http_link_hub import HttpLinkHub
from helpers.link_hub import LinkHub, eventually
from helpers.live_hub import HOST, LiveHub, closed, satellite, send
from helpers.target import PASSWORD, Target
from hivemind_bus_client.driver import HandshakeTimedOut
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.intercom import seal
from hivemind_bus_client.link import Link
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_bus_client.sides import HANDSHAKE_TIMEOUT_S
from hivemind_core.hub_identity import HubIdentity

KEY = "an-access-key"
UTTERANCE = "recognizer_loop:utterance"


def utterance(words: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": [words]}))


class Stripping(LinkHub):
    """Somebody between hub and satellite who takes the newest protocol out of the offer."""

    strips = True

    def _link(self, key: str) -> Link:
        link = super()._link(key)
        if self.strips:
            link._out[:] = [frame.replace('"noise"', '"nothing"') for frame in link._out]  # type: ignore[union-attr]
        return link


async def test_p02_an_offer_without_noise_is_not_taken_by_who_wants_it(tmp_path: Path) -> None:
    async with Stripping({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD, min_protocol_version=3)
        with pytest.raises(ConnectionError):
            await client.connect(timeout=60)
        assert hub.patterns == []
        await client.close()


async def test_p02_nor_by_who_has_met_the_hub_before(tmp_path: Path) -> None:
    async with Stripping({KEY: PASSWORD}) as hub:
        hub.strips = False
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        await client.connect(timeout=60)
        await client.close()
        hub.strips = True
        again = satellite(tmp_path, hub.port, KEY, PASSWORD)
        with pytest.raises(ConnectionError):
            await again.connect(timeout=60)
        assert len(hub.patterns) == 1
        await again.close()


async def test_p03_another_hub_with_the_same_password_is_refused(tmp_path: Path) -> None:
    async with LinkHub({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        await client.connect(timeout=60)
        await client.close()
        hub.static_key = generate_static_key()
        again = satellite(tmp_path, hub.port, KEY, PASSWORD)
        with pytest.raises(ConnectionError):
            await again.connect(timeout=60)
        assert hub.received == []
        await again.close()


async def test_p04_a_recorded_frame_is_worth_nothing(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add(KEY, PASSWORD)
        socket, link = await hub.session(KEY, PASSWORD)
        link.send(utterance("open the door"))
        frames = link.frames_to_send()
        for frame in [*frames, *frames]:
            await socket.send(frame)
        await closed(socket)
        assert hub.agent.utterances == ["open the door"]


def rsa_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), private


async def test_p05_a_sealed_message_acts_once_and_for_its_author_only(tmp_path: Path) -> None:
    (hub_pem, hub_key), (own_pem, own_key) = rsa_pair(), rsa_pair()
    hub = LiveHub(tmp_path)
    hub.identity = HubIdentity(hub_pem, hub.identity.noise_key, rsa_key=hub_key)
    made: dict[str, HiveMessage] = {}
    async with hub:
        hub.add("author", PASSWORD, metadata={"intercom_pubkey": own_pem})
        hub.add("thief", PASSWORD, metadata={"intercom_pubkey": rsa_pair()[0]})
        author, thief = await hub.session("author", PASSWORD), await hub.session("thief", PASSWORD)
        for sender, words in ((author, "first"), (author, "first"), (thief, "stolen")):
            made[words] = made.get(words) or seal(utterance(words), hub_pem, own_key)
            await send(*sender, made[words])
        changed = seal(utterance("changed"), hub_pem, own_key)
        swapped = {**changed.body, "ciphertext": made["first"].body["ciphertext"]}
        await send(*author, HiveMessage(HiveMessageType.INTERCOM, swapped, target_pubkey=hub_pem))
        await send(*author, utterance("the end"))
        await send(*thief, utterance("the end"))
        await eventually(lambda: hub.agent.utterances.count("the end") == 2)
        await eventually(lambda: "first" in hub.agent.utterances)  # sealed ones are opened beside the loop, in turn
        await send(*author, seal(utterance("last"), hub_pem, own_key))
        await eventually(lambda: "last" in hub.agent.utterances)
        assert set(hub.agent.utterances) == {"first", "the end", "last"}
        assert hub.agent.utterances.count("first") == 1


async def test_p09_access_keys_are_not_logged(target: Target) -> None:
    assert await outcome(p09_access_keys_in_the_log, target) == ""


async def test_p10_a_question_over_a_binarized_link_is_answered(tmp_path: Path) -> None:
    async with LiveHub(tmp_path, binarize=True) as hub:
        hub.add(KEY, PASSWORD)
        hub.agent.respond = lambda message: message.reply("speak", {"utterance": "it is noon", "lang": "en-us"})
        client = hub.client(KEY, PASSWORD)
        answers: list[HiveMessage] = []
        client.on("query", answers.append)
        await client.connect(timeout=60)
        question = HiveMessage(HiveMessageType.QUERY, utterance("what time is it"), metadata={"query_id": "p10"})
        await client.emit(question)
        await eventually(lambda: any("it is noon" in answer.serialize() for answer in answers))
        assert client.connected_event.is_set()
        await client.close()


async def test_p11_a_binarized_link_keeps_the_address(tmp_path: Path) -> None:
    async with LiveHub(tmp_path, binarize=True) as hub:
        for key in ("one", "other"):
            hub.add(key, PASSWORD)
        one, other = hub.client("one", PASSWORD, "a"), hub.client("other", PASSWORD, "b")
        came: list[HiveMessage] = []
        other.on("propagate", came.append)
        await one.connect(timeout=60)
        await other.connect(timeout=60)
        await one.emit(HiveMessage(HiveMessageType.PROPAGATE, utterance("x"), target_site_id="cellar"))
        await eventually(lambda: came)
        assert came[0].target_site_id == "cellar"
        await one.close()
        await other.close()


async def test_p12_what_goes_over_http_says_where_it_comes_from(tmp_path: Path) -> None:
    async with HttpLinkHub({KEY: PASSWORD}) as hub:
        identity = NodeIdentity(tmp_path / "_identity.json")
        client = HiveMindHTTPClient(KEY, PASSWORD, host=HOST, port=hub.port, identity=identity)
        await asyncio.to_thread(client.connect, timeout=60)
        await asyncio.to_thread(client.emit, utterance("hello"))
        await eventually(lambda: hub.utterances)
        assert {"source", "platform", "destination", "session"} <= set(hub.utterances[0].body["context"])
        await asyncio.to_thread(client.close)


async def test_p13_a_long_message_reaches_an_asyncio_satellite(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add(KEY, PASSWORD)
        hub.agent.respond = lambda message: message.reply("speak", {"utterance": "x" * 2_000_000})
        client = hub.client(KEY, PASSWORD)
        heard: list[int] = []
        client.on_mycroft("speak", lambda message: heard.append(len(message.data["utterance"])))
        await client.connect(timeout=60)
        await client.emit(utterance("tell me all"))
        await eventually(lambda: heard == [2_000_000])
        await client.close()


async def test_p14_a_plus_in_the_token_is_a_plus(tmp_path: Path) -> None:
    key = "a>>>b?>>>c~~~"
    token = b64encode(f"raw:{key}".encode()).decode()
    assert "+" in token
    async with LiveHub(tmp_path) as hub:
        hub.add(key, PASSWORD)
        socket = await connect(f"ws://{HOST}:{hub.port}/?authorization={token}")
        assert "hello" in str(await asyncio.wait_for(socket.recv(), 60))
        await socket.close()


async def test_p16_nobody_speaks_in_the_session_of_the_house(target: Target) -> None:
    session = await target.session(target.key(), session={"session_id": "default"})
    await session.emit(UTTERANCE, {"utterances": ["am I the house"]}, session={"session_id": "default"})
    heard = await asyncio.to_thread(target.peer.hears, "am I the house")
    assert heard["context"]["session"]["session_id"] != "default"
    await target.hang_up()


async def test_p17_what_is_broadcast_again_reaches_nobody_again(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add("one", PASSWORD, is_admin=True)
        hub.add("other", PASSWORD)
        other = hub.client("other", PASSWORD)
        came: list[HiveMessage] = []
        other.on("broadcast", came.append)
        await other.connect(timeout=60)
        one = await hub.session("one", PASSWORD)
        message = HiveMessage(HiveMessageType.BROADCAST, utterance("once"))
        node = hub.identity.node_id
        looped = HiveMessage(HiveMessageType.BROADCAST, utterance("looped"), route=[{"source": node, "targets": ["x"]}])
        for each in (message, looped, HiveMessage(HiveMessageType.BROADCAST, utterance("last"))):
            await send(*one, each)
        await eventually(lambda: any("last" in each.serialize() for each in came))
        assert len([each for each in came if "once" in each.serialize()]) == 1
        await other.close()


async def test_p07_who_does_not_finish_the_handshake_is_closed(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add(KEY, PASSWORD)
        silent = await hub.raw(KEY)
        hub.ahead_s = HANDSHAKE_TIMEOUT_S + 1
        assert (await closed(silent))[0] != 1006


class Mute(LinkHub):
    """A hub that says its greeting and then nothing any more."""

    async def _handle(self, peer: Any, event: Any) -> None:
        return None


async def test_p15_a_satellite_waits_for_no_hub_for_ever(tmp_path: Path) -> None:
    async with Mute({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        with pytest.raises(HandshakeTimedOut):
            await client.connect(timeout=2)
        await client.close()
