"""What the hub does when it is told something odd: as the released hub, row by row, or as deviations.json says.

Rows that need a socket are tested where those are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from helpers import vectors
from hivemind_bus_client.link import ClientTerms, Link, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.clients import Client
from hivemind_core.config import Config
from hivemind_core.testing import MemoryHive, MemorySatellite

FILE = "hub_behaviour_core5.3.10a1"
NEEDS_A_SOCKET = {"upgrade/path /x", "session/WebSocket message of 10 MiB + 1 byte"}
SILENCE = ["no reply, connection stays open"]
MARKERS = {"unknown marker 7": 7, "MORE without FIRST": 4, "malformed bitstring": 1}
STRONG = "orbital walnut cipher lantern 93"
KEYS = {
    "accesskey-sat-0020": STRONG,
    "accesskey-nopass-03": None,
    "accesskey-weak-0004": "password1",
}

Row = dict[str, Any]


def rows(stage: str) -> list[Any]:
    """The rows of a stage, as parameters."""
    found = []
    for name, row in vectors.cases(FILE).items():
        if row["stage"] == stage and name not in NEEDS_A_SOCKET:
            found.append(pytest.param(row, name, id=row["case"]))
    return found


def body_of(sent: Any) -> bytes:
    if isinstance(sent, str):
        return bytes.fromhex(sent[4:]) if sent.startswith("hex:") else sent.encode()
    return json.dumps(sent).encode()


@pytest.fixture
async def hive() -> AsyncIterator[MemoryHive]:
    floor = Config(Path("server.json"), runtime_password_strength_check=False, min_protocol_version=3)
    async with MemoryHive(floor) as running:
        yield running


def closed(satellite: MemorySatellite) -> list[Any]:
    assert satellite.closed is not None
    code, reason = satellite.closed
    return [{"close_code": code, "reason": reason}]


# --- upgrade ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "name"), rows("upgrade"))
async def test_upgrade(row: Row, name: str, tmp_path: Any) -> None:
    async with MemoryHive(Config(path=tmp_path / "server.json")) as hive:
        for key, password in KEYS.items():
            hive.db.add(Client(0, key, key, password=password))
        assert await knock(hive, row["sent"]) == vectors.expected(FILE, name)


async def knock(hive: MemoryHive, sent: Row) -> list[Any]:
    """Come with an authorization token and, if let in, shake hands."""
    token = unquote_plus(sent["auth"]) if "auth" in sent else base64.b64encode(f"x:{sent['key']}".encode()).decode()
    visitor = await hive.hub.identify(token, "192.0.2.1")
    if isinstance(visitor, Refused):
        return [{"close_code": visitor.close_code, "reason": visitor.reason}]
    satellite = ClearEars(hive, visitor.client.password or "")
    await hive.connect(satellite, visitor.client, visitor.useragent)
    if satellite.closed:
        return closed(satellite)
    return [{"cleartext_msg_type": kind} for kind in satellite.clear[:2]]


class ClearEars(MemorySatellite):
    """A satellite that notes what it is told in the clear."""

    def __init__(self, hive: MemoryHive, password: str) -> None:
        super().__init__(hive, password)
        self.clear: list[str] = []

    def take(self, frames: list[bytes | str]) -> None:
        self.clear += [json.loads(frame)["msg_type"] for frame in frames if isinstance(frame, str)]
        super().take(frames)


# --- before the session -------------------------------------------------------------------------------------


class Silent(MemorySatellite):
    """A satellite that hears and never answers by itself."""

    def take(self, frames: list[bytes | str]) -> None:
        self.frames = [*getattr(self, "frames", []), *frames]


async def silent(hive: MemoryHive, row: Client | None = None) -> Silent:
    satellite = Silent(hive, STRONG)
    await hive.connect(satellite, row or hive.add_client("kitchen", password=STRONG), "kitchen")
    return satellite


@pytest.mark.parametrize(("row", "name"), rows("before handshake (cleartext)"))
async def test_before_the_handshake(row: Row, name: str, hive: MemoryHive) -> None:
    satellite = await silent(hive)
    sent = row["sent"]
    binary = isinstance(sent, str) and sent.startswith("hex:")
    hive.hub.receive(satellite.peer, body_of(sent) if binary else body_of(sent).decode())
    await hive.settle()
    assert len(satellite.frames) == 2, "something was answered"
    assert (closed(satellite) if satellite.closed else SILENCE) == vectors.expected(FILE, name)


# --- inside the session -------------------------------------------------------------------------------------


def plaintexts(row: Row) -> list[bytes]:
    """What a row puts into the session, marker first."""
    sent, case = row["sent"], row["case"]
    if isinstance(sent, list):
        return [bytes((marker,)) + body_of(body) for body, marker in sent]
    marker = MARKERS.get(case, 1 if case.startswith("BINARY") else 0)
    return [bytes((marker,)) + body_of(sent)]


def frames(row: Row, satellite: MemorySatellite) -> list[bytes | str]:
    if row["case"] == "text frame":
        return [row["sent"]]
    if row["case"] == "tampered":
        return [body_of(row["sent"])]
    sending = satellite.link._session._transport.sending  # type: ignore[union-attr]
    return [sending.encrypt(plaintext) for plaintext in plaintexts(row)]


def reply(message: HiveMessage) -> dict[str, Any]:
    """What the row notes of a message from the hub."""
    noted: dict[str, Any] = {"marker": 0, "msg_type": HiveMessageType(message.msg_type).value}
    if message.msg_type == HiveMessageType.RENDEZVOUS:
        return {**noted, "reason": message.body["reason"]}
    if message.msg_type == HiveMessageType.QUERY:
        return {**noted, "inner_type": message.payload.msg_type}
    bus = message.payload
    return {**noted, "inner_type": bus.msg_type, "code": bus.data["code"], "denied_type": bus.data["denied_type"]}


def without_rights(row: Row) -> dict[str, bool]:
    return {"can_escalate": False, "can_propagate": False} if "without permission" in row["case"] else {}


@pytest.mark.parametrize(("row", "name"), rows("session"))
async def test_in_the_session(row: Row, name: str, hive: MemoryHive) -> None:
    allowed = ["speak", "recognizer_loop:utterance"]
    client = hive.add_client("kitchen", password=STRONG, allowed_types=allowed, **without_rights(row))
    satellite = await hive.join("kitchen", client=client)
    for frame in frames(row, satellite):
        hive.hub.receive(satellite.peer, frame)
    await hive.settle()
    outcome = closed(satellite) if satellite.closed else [reply(message) for message in satellite.messages] or SILENCE
    assert outcome == vectors.expected(FILE, name)


# --- the handshake ------------------------------------------------------------------------------------------

Scene = Callable[[MemoryHive], Awaitable[MemorySatellite]]


async def met(hive: MemoryHive) -> tuple[Client, MemorySatellite]:
    """A client that has been here before, and its satellite, which knows the hub."""
    row = hive.add_client("kitchen", password=STRONG)
    satellite = await hive.join("kitchen", client=row)
    assert satellite.link.is_open
    satellite.leave()
    satellite.pinned_key = satellite.events[1].remote_key  # type: ignore[union-attr]
    fresh = hive.db.by_id(row.client_id)
    assert fresh is not None
    return fresh, satellite


async def another_static_key(hive: MemoryHive) -> MemorySatellite:
    row, _ = await met(hive)
    return await hive.join("kitchen", client=row)


async def xx_wrong_password(hive: MemoryHive) -> MemorySatellite:
    return await hive.join("kitchen", password="another")


async def kk_wrong_password(hive: MemoryHive) -> MemorySatellite:
    row, satellite = await met(hive)
    satellite._password = "another"
    await hive.connect(satellite, row, "kitchen")
    return satellite


async def kk_wrong_static(hive: MemoryHive) -> MemorySatellite:
    row, satellite = await met(hive)
    satellite.static_key = generate_static_key()
    await hive.connect(satellite, row, "kitchen")
    return satellite


async def changed_hello(hive: MemoryHive) -> MemorySatellite:
    class Deceived(MemorySatellite):
        def take(self, frames: list[bytes | str]) -> None:
            super().take([f.replace("memory hub", "another hub") if isinstance(f, str) else f for f in frames])

    satellite = Deceived(hive, STRONG)
    await hive.connect(satellite, hive.add_client("kitchen", password=STRONG), "kitchen")
    return satellite


async def bogus_third(hive: MemoryHive) -> MemorySatellite:
    class Bogus(MemorySatellite):
        def take(self, frames: list[bytes | str]) -> None:
            if self.link.pattern:
                bogus = {"msg_type": "shake", "payload": {"noise": {"msg": "00" * 64}}}
                hive.hub.receive(self.peer, json.dumps(bogus))
            else:
                super().take(frames)

    satellite = Bogus(hive, STRONG)
    await hive.connect(satellite, hive.add_client("kitchen", password=STRONG), "kitchen")
    return satellite


async def unknown_encoding(hive: MemoryHive) -> MemorySatellite:
    class Modern(MemorySatellite):
        def take(self, frames: list[bytes | str]) -> None:
            if not self.events and not self.link.pattern:
                terms = ClientTerms(self.static_key, {}, encodings=("BOGUS",))
                self.link = Link.client(terms, hive.clock())
            super().take(frames)

    satellite = Modern(hive, STRONG)
    await hive.connect(satellite, hive.add_client("kitchen", password=STRONG), "kitchen")
    return satellite


SCENES: dict[str, Scene] = {
    "XXpsk2 with a static key other than the pinned one": another_static_key,
    "XXpsk2 wrong password": xx_wrong_password,
    "XXpsk2 bogus message 3": bogus_third,
    "KKpsk0 wrong password": kk_wrong_password,
    "KKpsk0 wrong client static": kk_wrong_static,
    "prologue mismatch": changed_hello,
    "unknown encoding name in the message-1 payload": unknown_encoding,
}


@pytest.mark.parametrize(("row", "name"), rows("noise"))
async def test_handshake(row: Row, name: str, hive: MemoryHive) -> None:
    satellite = await SCENES[row["case"]](hive)
    await hive.settle()
    if satellite.closed:
        outcome = closed(satellite)
    elif satellite.refused:
        assert satellite.refused.code == "wrong_password"
        outcome = ["answers message 2; the client's AEAD check fails on message 2"]
    else:
        assert satellite.link.is_open
        outcome = SILENCE
    assert outcome == vectors.expected(FILE, name)
