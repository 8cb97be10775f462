"""A real connection and a real turn, at a small hub that can be told how to behave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import LinkHub, Peer
from hivemind_bus_client.address import Address
from hivemind_bus_client.denials import told
from hivemind_bus_client.doctor.findings import Finding
from hivemind_bus_client.doctor.session import session
from hivemind_bus_client.doctor.visit import Visit
from hivemind_bus_client.identity import NodeIdentity, read_or_create_noise_key
from hivemind_bus_client.message import Message
from hivemind_bus_client.options import Target
from hivemind_bus_client.refusals import REFUSALS

KEY, PASSWORD, HOST = "an-access-key", "correct horse battery staple 42", "127.0.0.1"
ASKED = "what time is it"
WHOLE_S = 4.0
"""Where all of it is waited: enough for a slow machine to get so far."""


@pytest.fixture
async def hub() -> AsyncIterator[LinkHub]:
    async with LinkHub({KEY: PASSWORD}) as running:
        yield running


@pytest.fixture
def identity(tmp_path: Path) -> NodeIdentity:
    made = NodeIdentity(tmp_path / "identity" / "_identity.json")
    made.access_key, made.password = KEY, PASSWORD
    made.save()
    read_or_create_noise_key(made.noise_key)
    return made


def snapshot(identity: NodeIdentity) -> dict[Path, tuple[bytes, int]]:
    folder = Path(identity.IDENTITY_FILE.path).parent
    return {path: (path.read_bytes(), path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


async def found(hub: LinkHub, identity: NodeIdentity, *, probe: str = "", **target: Any) -> list[Finding]:
    """Examine; nothing on the disk may be another afterwards."""
    given = {"key": "", "password": "", "host": HOST, "port": hub.port, "siteid": "", "timeout": 30.0, **target}
    visit = Visit(Target(**given), Path(identity.IDENTITY_FILE.path), lambda: identity, probe)
    visit.identity, visit.address = identity, Address(HOST, hub.port)
    visit.key, visit.password = visit.target.key or KEY, visit.target.password or PASSWORD
    before = snapshot(identity)
    told = await asyncio.to_thread(lambda: list(session(visit)))
    assert snapshot(identity) == before
    assert PASSWORD not in str(told)
    return told


def as_refused(code: str) -> list[Finding]:
    row = REFUSALS[code]
    return [Finding("FAIL", "session", row.sentence, row.cure, code)]


async def test_the_hub_accepts_the_device_and_is_not_pinned(hub: LinkHub, identity: NodeIdentity) -> None:
    accepted, pin = await found(hub, identity)
    assert (accepted.verdict, pin.verdict) == ("ok", "ok")
    assert accepted.reason == "The hub accepts this device (protocol v3, XXpsk2)."
    assert "No key is pinned" in pin.reason
    assert identity.pinned_noise_keys == {}


async def test_the_key_that_is_pinned_is_the_hubs(hub: LinkHub, identity: NodeIdentity) -> None:
    from hivemind_bus_client.noise import public_key

    identity.pin_noise_key(f"{HOST}:{hub.port}", public_key(hub.static_key).hex())
    _, pin = await found(hub, identity)
    assert "has the key that was pinned" in pin.reason


async def test_another_key_is_pinned(hub: LinkHub, identity: NodeIdentity) -> None:
    identity.pin_noise_key(f"{HOST}:{hub.port}", "ab" * 32)
    assert await found(hub, identity) == as_refused("key_mismatch")


async def test_a_wrong_access_key(hub: LinkHub, identity: NodeIdentity) -> None:
    assert await found(hub, identity, key="nobody") == as_refused("invalid_key")


async def test_a_wrong_password(hub: LinkHub, identity: NodeIdentity) -> None:
    (told,) = await found(hub, identity, password="another horse another battery")
    assert (told.verdict, told.code in ("wrong_password", "handshake_failed")) == ("FAIL", True)
    assert told.cure == REFUSALS[told.code].cure


@pytest.mark.parametrize("code", ["weak_password", "client_key_mismatch", "busy"])
async def test_whatever_a_hub_refuses_with(hub: LinkHub, identity: NodeIdentity, code: str) -> None:
    row = REFUSALS[code]
    hub.refuse_with = (row.close_code, row.wire_reason)
    assert await found(hub, identity, timeout=WHOLE_S) == as_refused(code)


async def test_a_turn_is_answered(hub: LinkHub, identity: NodeIdentity) -> None:
    *_, turn = await found(hub, identity, probe=ASKED)
    assert (turn.verdict, turn.what) == ("ok", "probe")
    assert ASKED in turn.reason
    assert len(hub.utterances) == 1


async def test_nothing_is_said_unless_it_is_to_be(hub: LinkHub, identity: NodeIdentity) -> None:
    await found(hub, identity)
    assert hub.utterances == []


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("acl_disallowed_type", "hivemind-core allow-msg recognizer_loop:utterance ID"),
        ("backend_unavailable", "start the assistant"),
    ],
)
async def test_a_turn_is_denied(hub: LinkHub, identity: NodeIdentity, code: str, cure: str) -> None:
    async def deny(peer: Peer, message: Message) -> None:
        denial = {"code": code, "denied_type": message.msg_type, "reason": "because"}
        await peer.tell("hive.policy.denied", denial, session=message.context.get("session"))

    hub.answer = deny
    *_, turn = await found(hub, identity, probe=ASKED)
    assert (turn.verdict, turn.code) == ("FAIL", code)
    assert "because" in turn.reason
    assert cure in turn.cure


async def test_a_turn_that_nobody_understands(hub: LinkHub, identity: NodeIdentity) -> None:
    async def miss(peer: Peer, message: Message) -> None:
        for topic in ("complete_intent_failure", "ovos.utterance.handled"):
            await peer.tell(topic, session=message.context.get("session"))

    hub.answer = miss
    *_, turn = await found(hub, identity, probe=ASKED)
    assert (turn.verdict, "has no skill for it" in turn.reason) == ("warn", True)


async def test_a_turn_without_an_answer(hub: LinkHub, identity: NodeIdentity) -> None:
    async def keep_silent(peer: Peer, message: Message) -> None:
        """Nothing comes."""

    hub.answer = keep_silent
    *_, turn = await found(hub, identity, probe=ASKED, timeout=WHOLE_S)
    assert (turn.verdict, turn.reason) == ("FAIL", f'Nothing came back for "{ASKED}" within {WHOLE_S:g} s.')
    assert "hivemind-core doctor" in turn.cure


async def test_the_connection_ends_before_an_answer(hub: LinkHub, identity: NodeIdentity) -> None:
    async def leave(peer: Peer, message: Message) -> None:
        hub.refuse_with = (1001, "the hub is shutting down")
        await peer.close(1001, "the hub is shutting down")

    hub.answer = leave
    *_, turn = await found(hub, identity, probe=ASKED, timeout=WHOLE_S)
    assert (turn.verdict, "The connection ended" in turn.reason) == ("FAIL", True)


async def test_a_new_device_gets_its_key_as_on_any_first_connection(hub: LinkHub, tmp_path: Path) -> None:
    """The hub remembers the key it met first, so it must be the one that the device keeps."""
    fresh = NodeIdentity(tmp_path / "fresh" / "_identity.json")
    target = Target(KEY, PASSWORD, HOST, hub.port, "", 30.0)
    visit = Visit(target, tmp_path, lambda: fresh, identity=fresh, address=Address(HOST, hub.port))
    visit.key, visit.password = KEY, PASSWORD
    for _ in range(2):
        told = await asyncio.to_thread(lambda: list(session(visit)))
        assert [finding.verdict for finding in told] == ["ok", "ok"]
    made = {path.name for path in (tmp_path / "fresh").iterdir()}
    assert made == {Path(fresh.noise_key).name}


async def test_what_a_hub_says_to_do_is_told_apart(hub: LinkHub, identity: NodeIdentity) -> None:
    async def deny(peer: Peer, message: Message) -> None:
        code = "acl_disallowed_type"
        denial = {"code": code, "denied_type": message.msg_type, "reason": told(code, message.msg_type)}
        await peer.tell("hive.policy.denied", denial, session=message.context.get("session"))

    hub.answer = deny
    *_, turn = await found(hub, identity, probe=ASKED)
    assert "On the hub" not in turn.reason
    assert turn.cure.startswith("On the hub run `hivemind-core allow-msg ")
