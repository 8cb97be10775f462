"""Satellites that speak protocols below v3, at a hub in memory: who is let in how, and what may never happen."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from helpers import vectors
from hivemind_bus_client import legacy_crypto
from hivemind_bus_client.legacy_crypto import password_envelope
from hivemind_bus_client.link import Opened
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType
from hivemind_bus_client.noise import generate_static_key
from hivemind_core import greeting
from hivemind_core.clients import Client
from hivemind_core.config import Config
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.testing import MemoryHive

RSA_KEYS = vectors.load("rsa_handshake")
CRYPTO_KEY = "0123456789abcdef"
SECRET = "walnut lantern orbit cipher"


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch):
    monkeypatch.setattr(legacy_crypto, "PBKDF2_ROUNDS", 10)


def hive(floor=2, **changes):
    config = Config(
        Path("server.json"), min_protocol_version=floor, **{"runtime_password_strength_check": False, **changes}
    )
    # RSA envelopes are signed with the key that HELLO announces.
    identity = HubIdentity(RSA_KEYS["server_public_pem"], generate_static_key(), rsa_key=RSA_KEYS["server_private_pem"])
    return MemoryHive(config, identity=identity)


def speaking(version, **means):
    """What lets a satellite speak up to a version."""
    return {"min_version": 0, "max_version": version, **means}


async def older_satellite(running, kind, name="old"):
    """A satellite that can speak one older protocol only, at a row that can be used with it."""
    if kind == "password":
        row = running.add_client(name, password=SECRET)
        return row, await running.join(name, client=row, older=speaking(2, password=SECRET))
    if kind == "rsa":
        row = running.add_client(name, password=None)
        return row, await running.join(name, client=row, older=speaking(1, rsa_key=RSA_KEYS["client_private_pem"]))
    row = running.add_client(name, password=None, metadata={"crypto_key": CRYPTO_KEY})
    return row, await running.join(name, client=row, older=speaking(0, crypto_key=CRYPTO_KEY))


FLOORS = {"password": 2, "rsa": 1, "preshared": 0}


@pytest.mark.parametrize("kind", FLOORS)
async def test_an_older_satellite_talks_with_the_assistant(kind):
    async with hive(FLOORS[kind]) as running:
        running.agent.respond = lambda message: message.reply("speak", {"utterance": "hello"})
        row, satellite = await older_satellite(running, kind)
        (opened,) = [event for event in satellite.events if isinstance(event, Opened)]
        assert opened.pattern == kind
        satellite.say("hi")
        await running.settle()
        assert satellite.heard == ["hello"]
        assert running.agent.received[-1].context["peer"] == satellite.peer_id
        stored = running.db.by_id(row.client_id).metadata
        assert not {"noise_pubkey", "noise_psk"} & stored.keys()


@pytest.mark.parametrize("kind", FLOORS)
async def test_binary_data_of_an_older_satellite_is_answered(kind):
    async with hive(FLOORS[kind]) as running:
        _, satellite = await older_satellite(running, kind)
        satellite.send(HiveMessage(HiveMessageType.BINARY, b"\0\1", bin_type=HiveMindBinaryPayloadType.RAW_AUDIO))
        await running.settle()
        assert [denial["code"] for denial in satellite.denials] == ["no_binary_handler"]


@pytest.mark.parametrize(
    ("kind", "floor", "code"),
    [("password", 3, "protocol_too_old"), ("rsa", 2, "no_password"), ("preshared", 2, "no_password")],
)
async def test_below_the_floor(kind, floor, code):
    async with hive(floor) as running:
        row = running.add_client("old", password=SECRET if kind == "password" else None)
        visitor = await knock(running, row)
        if kind == "password":
            satellite = await running.join("old", client=row, older=speaking(2, password=SECRET))
            assert satellite.refused.code == code
            assert visitor.max_frame_bytes == greeting.MAX_FRAME_BYTES
        else:
            assert visitor.code == code


async def knock(running, row):
    """What the hub says to a connection with the access key of a row."""
    token = base64.b64encode(f"ua:{row.api_key}".encode()).decode()
    return await running.hub.identify(token, "192.0.2.1")


async def test_a_row_that_has_met_v3_is_v3_only():
    async with hive(0) as running:
        row = running.add_client("kitchen", password=SECRET)
        await running.join("kitchen", client=row)
        row = running.db.by_id(row.client_id)
        assert "noise_pubkey" in row.metadata
        older = await running.join("kitchen", client=row, older=speaking(2, password=SECRET))
        assert older.refused.code == "protocol_too_old"
        assert (await knock(running, row)).max_frame_bytes == greeting.MAX_FRAME_BYTES


async def test_a_pinned_row_that_lost_its_password_lets_nobody_in():
    async with hive(0) as running:
        row = running.add_client(
            "kitchen", password=None, metadata={"noise_pubkey": "11" * 32, "crypto_key": CRYPTO_KEY}
        )
        assert (await knock(running, row)).code == "no_password"


async def test_a_device_that_pins_the_row_ends_older_connections_of_it():
    async with hive(2) as running:
        row, older = await older_satellite(running, "password")
        await running.join("new", client=row)
        await running.hub.refresh()
        await running.settle()
        running.hub._apply_row(row.client_id)
        assert older.closed is not None
        assert older.closed[0] == 1008


async def test_a_wrong_password_is_told_as_one():
    async with hive(2) as running:
        row = running.add_client("old", password=SECRET)
        satellite = await running.join("old", client=row, older=speaking(2, password="another one"))
        assert satellite.closed == (1008, "password handshake verification failed")


async def test_a_weak_password_is_refused_below_v3_too_and_judged_once(monkeypatch):
    from hivemind_core import keys

    judged, real = [], keys.is_strong

    def judge(password, bits):
        judged.append(password)
        return real(password, bits)

    monkeypatch.setattr(keys, "is_strong", judge)
    async with hive(2, runtime_password_strength_check=True) as running:
        weak = running.add_client("weak", password="password")
        refused = await running.join("weak", client=weak, older=speaking(2, password="password"))
        assert refused.closed[0] == 1008
        assert "guessable" in refused.closed[1]
        strong = running.add_client("strong", password=SECRET)
        for _ in range(3):
            satellite = await running.join("strong", client=strong, older=speaking(2, password=SECRET))
            assert satellite.closed is None
        assert judged == ["password", SECRET]


async def test_an_access_key_alone_registers_nobody():
    """What a hub tells nobody who has not shown the key: no peer on the bus, no message (docs/protocol.md 8.1)."""
    async with hive(2) as running:
        row = running.add_client("old", password=SECRET)
        satellite = await running.join("old", client=row, older=speaking(2, password=SECRET, handshake_timeout_s=1.0))
        running.hub.closed(satellite.peer)
        connected = len(running.agent.received)
        satellite.hold = True
        await running.connect(satellite, row, "old")
        envelope = {
            "envelope": password_envelope(SECRET, b"12345678"),
            "encodings": ["JSON-HEX"],
            "ciphers": ["AES-GCM"],
        }
        running.hub.receive(satellite.peer, HiveMessage(HiveMessageType.HANDSHAKE, envelope).serialize())
        await running.settle()
        assert not satellite.peer.registered
        assert len(running.agent.received) == connected
        running.clock.advance(31)
        running.hub.tick()
        assert satellite.closed in [(1013, f"handshake timed out, try again in {seconds} s") for seconds in range(3, 9)]


@pytest.mark.parametrize(
    ("client", "floor", "pinned", "offered"),
    [
        (Client(1, "k", password="p"), 3, None, None),
        (Client(1, "k", password="p"), 2, None, (2, True, False)),
        (Client(1, "k", password="p"), 0, None, (0, True, False)),
        (Client(1, "k", password="p"), 0, b"pin", None),
        (Client(1, "k"), 2, None, None),
        (Client(1, "k"), 1, None, (1, False, False)),
        (Client(1, "k", metadata={"crypto_key": CRYPTO_KEY}), 1, None, (1, False, False)),
        (Client(1, "k", metadata={"crypto_key": CRYPTO_KEY}), 0, None, (0, False, True)),
        (Client(1, "k", metadata={"crypto_key": "short"}), 0, None, (0, False, False)),
        (Client(1, "k", password="p", metadata={"crypto_key": CRYPTO_KEY}), 0, None, (0, True, True)),
    ],
)
def test_what_is_offered_to_whom(client, floor, pinned, offered):
    older = greeting.older_versions(client, floor, pinned)
    assert (None if older is None else (older.floor, older.password, older.crypto_key)) == offered
    assert greeting.can_join(client, floor, pinned) is (bool(client.password) or offered is not None)
