"""The hub above: it is reached, and logged in at, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.live_hub import LiveHub
from helpers.processes import free_port
from helpers.strangers import LOCAL, echoes, stranger
from hivemind_bus_client import noise
from hivemind_bus_client.doctor.findings import Finding
from hivemind_bus_client.identity import NodeIdentity, read_or_create_noise_key
from hivemind_core.config import load_config
from hivemind_core.doctor.above import look
from hivemind_core.doctor.case import HubCase
from hivemind_core.hub_identity import identity_path

KEY, PASSWORD = "key-of-the-lower-hub", "4f6c2a90d1e84b7730aa55cc19f0be21"
OTHER = "0b9d4417c6a2f58e3317d0c4b8a6e295"


@pytest.fixture
def identity() -> NodeIdentity:
    """That of this hub."""
    identity_path().parent.mkdir(parents=True)
    found = NodeIdentity(identity_file=identity_path())
    found.public_key = "-----BEGIN PUBLIC KEY-----\nof this hub\n-----END PUBLIC KEY-----"
    found.save()
    read_or_create_noise_key(found.noise_key)
    return found


@pytest.fixture
def untouched(identity: NodeIdentity) -> Iterator[None]:
    """Whatever is done with the identity is not to change it."""
    before = kept()
    yield
    assert kept() == before


def kept() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in identity_path().parent.iterdir()}


def above(port: int, **more: Any) -> list[Finding]:
    block = {"enabled": True, "host": LOCAL, "port": port, "key": KEY, "password": PASSWORD, **more}
    told = list(look(HubCase(config=load_config(overrides={"upstream": block}))))
    assert not [secret for secret in (KEY, PASSWORD, OTHER) if secret in str(told)]
    assert all(bool(each.cure) == (each.verdict != "ok") for each in told), told
    return told


async def last_of(port: int, **more: Any) -> Finding:
    return (await asyncio.to_thread(above, port, **more))[-1]


def test_without_settings_nothing_is_said() -> None:
    assert [*look(HubCase()), *look(HubCase(config=load_config()))] == []


def test_one_that_is_away_or_no_hub() -> None:
    assert [each.verdict for each in above(free_port())] == ["FAIL"]
    with stranger(echoes) as port:
        assert [each.verdict for each in above(port)] == ["ok", "FAIL"]


@pytest.mark.usefixtures("untouched")
async def test_what_is_missing(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "above") as live:
        told = await asyncio.to_thread(above, live.port, key="")
    assert told[0].reason == "`upstream.key` has no value."
    assert not [each for each in told if "let" in each.reason]


async def test_a_hub_that_has_no_identity_yet_gets_none(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "above") as live:
        told = await last_of(live.port)
    assert (told.verdict, "not tried to log in" in told.reason) == ("warn", True)
    assert not identity_path().exists()


@pytest.mark.usefixtures("untouched")
async def test_it_is_logged_in_and_nothing_is_kept_here(tmp_path: Path) -> None:
    """Nor does the hub above learn of a public key, by which it would send here what is meant for the hub that runs."""
    async with LiveHub(tmp_path / "above") as live:
        live.add(KEY, PASSWORD)
        told = await asyncio.to_thread(above, live.port)
        assert live.stored()[0].metadata.keys() & {"noise_pubkey", "intercom_pubkey"} == {"noise_pubkey"}
    assert {each.verdict for each in told} == {"ok"}
    assert told[-1].reason == "The hub above lets this hub in (protocol v3)."


async def test_the_key_that_is_pinned_for_it(tmp_path: Path, identity: NodeIdentity) -> None:
    async with LiveHub(tmp_path / "above") as live:
        live.add(KEY, PASSWORD)
        identity.pin_noise_key(f"{LOCAL}:{live.port}", noise.public_key(live.identity.noise_key).hex())
        assert "pinned for it" in (await last_of(live.port)).reason
        identity.pin_noise_key(f"{LOCAL}:{live.port}", "ab" * 32)
        told = await last_of(live.port)
    assert (told.verdict, told.code) == ("FAIL", "key_mismatch")
    assert "pinned_noise_keys" in told.cure
    assert str(identity_path()) in told.cure


@pytest.mark.parametrize(
    ("columns", "settings", "code", "cure"),
    [
        ({}, {"key": "a-key-that-nobody-has"}, "invalid_key", "`upstream.key`"),
        ({}, {"password": OTHER}, "wrong_password", "`upstream.password`"),
        ({"metadata": {"noise_pubkey": "ab" * 32}}, {}, "client_key_mismatch", "reset-noise-pin"),
    ],
)
@pytest.mark.usefixtures("untouched")
async def test_why_it_is_not_let_in(tmp_path: Path, columns: Any, settings: Any, code: str, cure: str) -> None:
    async with LiveHub(tmp_path / "above") as live:
        live.add(KEY, PASSWORD, **columns)
        told = await last_of(live.port, **settings)
    assert (told.verdict, told.code) == ("FAIL", code)
    assert told.reason.startswith("The hub above does not let this hub in: ")
    assert cure in told.cure


@pytest.mark.usefixtures("untouched")
async def test_a_hub_above_that_is_this_hub_itself(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "hub") as live:
        live.add(KEY, PASSWORD)
        block = {"enabled": True, "host": LOCAL, "port": live.port, "key": KEY, "password": PASSWORD}
        own = {"hivemind-websocket-plugin": {"host": LOCAL, "port": live.port}}
        config = load_config(overrides={"upstream": block, "network_protocol": own})
        told = await asyncio.to_thread(lambda: list(look(HubCase(config=config))))
        assert (told[-1].verdict, "this hub itself" in told[-1].reason) == ("FAIL", True)
        assert "noise_pubkey" not in live.stored()[0].metadata
