"""What somebody does to the hub who knows an access key, or an older password."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from helpers import vectors
from helpers.live_hub import LiveHub, closed
from hivemind_bus_client import legacy_crypto
from hivemind_bus_client.legacy_crypto import or_nothing, seal_secret
from hivemind_core.config import Config
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.testing import MemoryHive

SECRET = "walnut lantern orbit cipher"
RSA_KEYS = vectors.load("rsa_handshake")
UNKNOWN_KIND = "-----BEGIN PUBLIC KEY-----\nMA0wBQYDKgMEAwQAYWJj\n-----END PUBLIC KEY-----\n"
"""The algorithm is 1.2.3.4."""


def private_pem() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy_crypto, "PBKDF2_ROUNDS", 10)


def hive(floor: int = 2) -> MemoryHive:
    return MemoryHive(Config(Path("server.json"), min_protocol_version=floor, runtime_password_strength_check=False))


def older() -> dict[str, Any]:
    return {"min_version": 0, "max_version": 2, "password": SECRET}


@pytest.mark.parametrize("pem", [UNKNOWN_KIND, private_pem(), "", "-----BEGIN PUBLIC KEY-----\n" * 100])
async def test_a_key_that_is_none_is_refused_at_once(tmp_path: Path, pem: str) -> None:
    """A private key, too: checking a large one would hold up the loop for a second, for anybody with an access key."""
    hub = LiveHub(tmp_path, min_protocol_version=1)
    hub.identity = HubIdentity(
        RSA_KEYS["server_public_pem"], hub.identity.noise_key, rsa_key=RSA_KEYS["server_private_pem"]
    )
    async with hub:
        hub.add("old", None)
        socket = await hub.raw("old")
        await socket.send(json.dumps({"msg_type": "shake", "payload": {"pubkey": pem}}))
        assert await closed(socket) == (1008, "invalid or unrecognized handshake")


def test_a_key_of_an_unknown_kind_is_an_ordinary_failure() -> None:
    assert or_nothing(seal_secret, b"s" * 32, UNKNOWN_KIND, RSA_KEYS["server_private_pem"]) == b""


async def test_a_key_that_cannot_be_made_ends_the_connection() -> None:
    """It would wait for ever otherwise, and take one of the few places."""
    async with hive() as running:

        async def broken(*_: object) -> bytes:
            raise RuntimeError("no key")

        running.hub.workers.derive = broken  # type: ignore[method-assign, assignment]
        row = running.add_client("old", password=SECRET)
        satellite = await running.join("old", client=row, older=older())
        assert satellite.closed == (1011, "internal error")


async def test_what_comes_with_a_session_that_is_refused_is_not_handled() -> None:
    """Another device was first while this one shook hands below v3: its HELLO must not register it."""
    async with hive() as running:
        row = running.add_client("old", password=SECRET)
        opened = running.hub._opened

        def pinned_meanwhile(peer: Any, event: Any) -> None:
            running.hub.keys.pin(row, b"another device's key".ljust(32))
            opened(peer, event)

        running.hub._on_event = {
            kind: pinned_meanwhile if does == opened else does for kind, does in running.hub._on_event.items()
        }
        satellite = await running.join("old", client=row, older=older())
        assert satellite.closed is not None
        assert satellite.closed[0] == 1008
        assert not satellite.peer.registered
        assert (len(running.hub.peers), running.agent.received) == (0, [])


@pytest.mark.parametrize(("speaks", "ended"), [(older(), 1008), ({}, None)])
async def test_a_changed_password_ends_what_only_the_password_let_in(speaks: dict[str, Any], ended: int | None) -> None:
    """Below v3 nothing else tells who it is; at v3 the device's own key does."""
    async with hive() as running:
        row = running.add_client("old", password=SECRET)
        satellite = await running.join("old", client=row, older=speaks)
        running.db.update(row.client_id, {"password": "another one altogether"})
        running.hub._apply_row(row.client_id)
        await asyncio.sleep(0)
        assert (satellite.closed[0] if satellite.closed else None) == ended
