"""Attacks by what the protocol leaves open, over sockets, and further ones of clients. As in `attacks_outside`."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from base64 import b64encode
from contextlib import closing, suppress

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.intercom import seal
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

from .hub_process import HOST, UTTERANCE
from .target import Session, Target, closed, first_text, soon

QUIET_S = 0.1
PLUS_KEY = "a>>>b?>>>c~~~"
"""Whose token has a `+` in it."""


def token_of(key: str) -> str:
    """What a connection is opened with, as it stands in a URL of the oldest clients."""
    return b64encode(f"raw:{key}".encode()).decode()


def rsa_pair() -> tuple[str, str]:
    """A public and a private key, as PEM."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), private


def utterance(words: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": [words], "lang": "en-us"}))


def heard_at_the_agent(target: Target, words: str) -> int:
    """How often the agent was told something."""
    return sum(frame["data"]["utterances"] == [words] for frame in target.peer.utterances())


async def p04_frame_sent_again(target: Target) -> str:
    kitchen = await target.session(target.key())
    await target.registered(kitchen)
    kitchen.link.send(utterance("open the door"))
    frames = kitchen.link.frames_to_send()
    with suppress(ConnectionClosed):
        for frame in [*frames, *frames]:
            await kitchen.socket.send(frame)
    assert await closed(kitchen.socket) is not None
    await target.registered(await target.session(target.key()))  # whatever was said before has been heard by now
    count = heard_at_the_agent(target, "open the door")
    assert count > 0, "not even the first was heard"
    return f"what was recorded is heard {count} times" if count > 1 else ""


async def p05_sealed_message_sent_again(target: Target) -> str:
    """By who wrote it: the same sealed message, twice, and another after it."""
    pem, key = rsa_pair()
    author = await target.session(target.key(), pubkey=pem)
    await target.registered(author)
    folder = "hivemind" if target.released else "hivemind-core"
    hub_pem = NodeIdentity(target.hub.home.config / folder / "_identity.json").public_key
    assert hub_pem
    letter = seal(utterance("open the gate"), hub_pem, key)
    for each in (letter, letter, seal(utterance("the last one"), hub_pem, key)):
        await author.send(each)
    assert await soon(lambda: heard_at_the_agent(target, "the last one")), "no sealed message is heard"
    count = heard_at_the_agent(target, "open the gate")
    assert count > 0, "not even the first was heard"
    return f"one sealed message acts {count} times" if count > 1 else ""


async def p09_access_keys_on_the_bus(target: Target) -> str:
    key = target.key()
    kitchen = await target.session(key, session={"session_id": "p09"})
    await target.registered(kitchen)
    await kitchen.close()
    assert await soon(lambda: [x for x in target.bus_frames("hive.client.disconnect") if "p09" in str(x)])
    return "access keys stand on the agent bus" if key in str(target.peer.heard) else ""


async def p14_plus_in_the_token(target: Target) -> str:
    token = token_of(PLUS_KEY)
    assert "+" in token
    target.change(target.key(), api_key=PLUS_KEY)
    socket = await connect(f"ws://{HOST}:{target.hub.port}/?authorization={token}", compression=None)
    told = await first_text(socket)
    await socket.close()
    return "" if "hello" in told else "a client whose token has a + in it is unknown"


async def p16_session_of_the_house(target: Target) -> str:
    thief = await target.session(target.key(), session={"session_id": "default"})
    await thief.emit(UTTERANCE, {"utterances": ["am I the house"]}, session={"session_id": "default"})
    heard = await asyncio.to_thread(target.peer.hears, "am I the house")
    session_id = heard["context"]["session"]["session_id"]
    return "a satellite speaks in the session of the house" if session_id == "default" else ""


async def p17_broadcast_that_comes_round(target: Target) -> str:
    """Two hubs of a ring pass on what the same third one said."""
    keys = [target.key() for _ in range(2)]
    for key in keys:
        target.change(key, is_admin=1)
    hall = await target.session(target.key())
    ring = [await target.session(key) for key in keys]
    await target.registered(hall, *ring)
    for words in ("it is noon", "and the last"):
        for hub in ring:
            await hub.travel(HiveMessageType.BROADCAST, words, route=[{"source": "a third one", "targets": []}])
            await asyncio.sleep(QUIET_S)
    assert await soon(lambda: hall.heard("and the last"))
    count = len(hall.heard("it is noon"))
    return f"what goes round is passed on {count} times" if count > 1 else ""


async def w23_newcomer_at_a_locked_database(target: Target) -> str:
    """Somebody comes whose row the hub writes, while another process holds the database; who is there talks."""
    kitchen = await target.session(target.key())
    await target.registered(kitchen)
    with closing(sqlite3.connect(target.hub.database, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        newcomer = asyncio.create_task(_tries_to_join(target))
        begin = time.monotonic()
        try:
            while time.monotonic() < begin + 1:
                await kitchen.say("am I heard")
                heard = len(kitchen.heard("you said: am I heard"))
                if not await soon(lambda heard=heard: len(kitchen.heard("you said: am I heard")) > heard, _s(target)):
                    return "while the database is locked and somebody comes nobody is answered"
                await asyncio.sleep(0.1)
        finally:
            database.execute("ROLLBACK")
            newcomer.cancel()
            await asyncio.gather(newcomer, return_exceptions=True)
    return ""


def _s(target: Target) -> float:
    return target.within(3)


async def _tries_to_join(target: Target) -> None:
    await target.session(target.key())


async def w37_id_that_somebody_else_used(target: Target) -> str:
    """Of a question that was answered; another node answers the next one with this id."""
    first, asker, other = [await target.session(target.key()) for _ in range(3)]
    await target.registered(first, asker, other)
    about = {"query_id": "w37 again"}
    await first.travel(HiveMessageType.QUERY, "who is first", metadata=about)
    assert await soon(lambda: first.heard("hive.query.complete")), "the first is not answered"
    await asker.travel(HiveMessageType.CASCADE, "who else is there", metadata=about)
    assert await soon(lambda: other.heard("who else is there")), "nobody else was asked"
    await other.send(_answer(other, "only me"))
    came = await soon(lambda: asker.heard("only me"), target.within(3))
    return "" if came else "another's answer to a question with an id used before reaches nobody"


def _answer(answering: Session, words: str) -> HiveMessage:
    """What a node says to the CASCADE that came last."""
    asked = next(x for x in reversed(answering.messages) if x.msg_type == HiveMessageType.CASCADE)
    about = {**asked.metadata, "is_response": True, "responder_peer": "another"}
    said = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": words}, {}))
    return HiveMessage(HiveMessageType.CASCADE, said, metadata=about, route=asked.route)


async def p18_message_without_its_envelope(target: Target) -> str:
    """Whether what travels arrives as if the hub itself had said it."""
    kitchen, hall = await target.session(target.key()), await target.session(target.key())
    await target.registered(kitchen, hall)
    await kitchen.travel(HiveMessageType.PROPAGATE, "pass it on")
    [message, *_] = await soon(lambda: hall.heard("pass it on"))
    wrapped = message.msg_type == HiveMessageType.PROPAGATE
    return "" if wrapped else f"what travels arrives as {message.msg_type}, without its envelope"
