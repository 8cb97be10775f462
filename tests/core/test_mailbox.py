"""What a request to the mailbox asks for, who may leave how much, and the replies."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_core import mailbox
from hivemind_core.mailbox import (
    MAX_ACKNOWLEDGED,
    MAX_PAYLOAD_BYTES,
    MAX_TTL_S,
    Ack,
    Collect,
    Deposit,
    Kept,
    Limits,
    Refused,
    Released,
    Standing,
    parse,
    payload_problem,
    read_released,
    refusal,
)

SEALED = HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "x"}).serialize()
BOX = hashlib.sha256(b"bob").hexdigest()


def request(**fields: Any) -> dict[str, Any]:
    return {"cmd": "deposit", "target_key": "bob", "payload": SEALED, **fields}


def outcome(body: Any) -> str:
    """The reason of the error, or what the request is."""
    asked = parse(body)
    if isinstance(asked, Deposit):
        asked = payload_problem(asked.payload) or asked
    return asked.reason if isinstance(asked, Refused) else type(asked).__name__


def hive(kind: str, **payload: Any) -> str:
    return json.dumps({"msg_type": kind, "payload": payload})


# --- requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "unknown_command"),
        ([], "unknown_command"),
        (None, "unknown_command"),
        ({"cmd": 5}, "unknown_command"),
        ({"cmd": None}, "unknown_command"),
        ({"cmd": ["deposit"]}, "unknown_command"),
        ({"cmd": "Collect"}, "unknown_command"),
        ({"cmd": "deposit"}, "missing_fields"),
        (request(target_key=None), "missing_fields"),
        (request(target_key=""), "missing_fields"),
        (request(target_key=5), "missing_fields"),
        (request(payload=None), "missing_fields"),
        (request(payload=""), "missing_fields"),
        (request(payload=5), "invalid_payload"),
        (request(payload={"msg_type": "intercom", "payload": {}}), "invalid_payload"),
        (request(payload="x"), "invalid_payload"),
        (request(payload="[]"), "invalid_payload"),
        (request(payload="{}"), "invalid_payload"),
        (request(payload="[" * 100_000), "invalid_payload"),
        (request(payload='{"msg_type":"intercom"}'), "invalid_payload"),
        (request(payload='{"msg_type":"intercom","payload":[]}'), "invalid_payload"),
        (request(payload=hive("nope")), "invalid_payload"),
        (request(payload=hive("bus", type="x")), "payload_must_be_intercom"),
        (request(payload='{"type":"speak","data":{}}'), "payload_must_be_intercom"),
        (request(payload=hive("propagate", msg_type="intercom", payload={})), "payload_must_be_intercom"),
        (request(ttl=0), "invalid_ttl"),
        (request(ttl=-1), "invalid_ttl"),
        (request(ttl="x"), "invalid_ttl"),
        (request(ttl=""), "invalid_ttl"),
        (request(ttl="9" * 5000), "invalid_ttl"),
        (request(ttl=None), "invalid_ttl"),
        (request(ttl=[1]), "invalid_ttl"),
        (request(ttl=True), "invalid_ttl"),
        (request(ttl=float("nan")), "invalid_ttl"),
        (request(payload=hive("intercom", ciphertext="x" * MAX_PAYLOAD_BYTES)), "payload_too_large"),
        (request(payload=hive("intercom", ciphertext="x" * MAX_PAYLOAD_BYTES), ttl=0), "invalid_ttl"),
        (request(), "Deposit"),
        (request(payload=hive("intercom")), "Deposit"),
        (request(ttl=1), "Deposit"),
        (request(ttl=0.5), "Deposit"),
        (request(ttl="60"), "Deposit"),
        (request(ttl=10**400), "Deposit"),
        ({"cmd": "collect"}, "Collect"),
        ({"cmd": "collect", "x": 1}, "Collect"),
        ({"cmd": "ack"}, "missing_fields"),
        ({"cmd": "ack", "deposit_ids": None}, "missing_fields"),
        ({"cmd": "ack", "deposit_ids": "x"}, "missing_fields"),
        ({"cmd": "ack", "deposit_ids": {}}, "missing_fields"),
        ({"cmd": "ack", "deposit_ids": []}, "Ack"),
        ({"cmd": "ack", "deposit_ids": ["x", 1, None, [], {}]}, "Ack"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_requests_ask_for(body: Any, expected: str) -> None:
    """The released mailbox answers all of these in the same way, but for a `ttl` that is true, which it takes for 1."""
    assert outcome(body) == expected


@pytest.mark.parametrize(
    ("ttl", "kept_s"),
    [(60, 60.0), ("60", 60.0), (0.5, 0.5), (604_800, MAX_TTL_S), (604_801, MAX_TTL_S), (10**400, MAX_TTL_S)],
)
def test_a_message_is_kept_as_long_as_asked_but_never_for_more_than_a_week(ttl: Any, kept_s: float) -> None:
    assert parse(request(ttl=ttl)) == Deposit(BOX, SEALED, kept_s)
    assert parse(request()) == Deposit(BOX, SEALED, MAX_TTL_S)


def test_the_size_is_counted_in_bytes() -> None:
    fits = hive("intercom", c="")
    room = MAX_PAYLOAD_BYTES - len(fits)
    assert outcome(request(payload=fits.replace('""', f'"{"x" * room}"'))) == "Deposit"
    assert outcome(request(payload=fits.replace('""', f'"{"x" * (room + 1)}"'))) == "payload_too_large"
    assert outcome(request(payload=fits.replace('""', f'"{"ü" * (room // 2 + 1)}"'))) == "payload_too_large"


def test_an_acknowledgement_holds_what_can_be_an_id_and_not_without_end() -> None:
    assert parse({"cmd": "ack", "deposit_ids": ["a", "a", "b", 1, "", "x" * 65]}) == Ack(frozenset("ab"))
    many = parse({"cmd": "ack", "deposit_ids": [str(n) for n in range(MAX_ACKNOWLEDGED + 1)]})
    assert isinstance(many, Ack)
    assert len(many.deposit_ids) == MAX_ACKNOWLEDGED


def test_a_key_is_never_kept() -> None:
    assert mailbox.name_of("bob") == BOX
    assert mailbox.name_of("\ud800")  # a lone surrogate is a key like any other


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "cmd": st.sampled_from(["deposit", "collect", "ack"]) | JSON,
        "target_key": st.text() | JSON,
        "payload": st.sampled_from([SEALED, "{}"]) | JSON,
        "ttl": JSON,
        "deposit_ids": JSON,
    },
)


@given(FIELDS | JSON)
def test_whatever_a_peer_sends_is_a_request_or_refused(body: Any) -> None:
    asked = parse(body)
    assert isinstance(asked, (Deposit, Collect, Ack, Refused))
    if isinstance(asked, Deposit):
        assert 0 < asked.ttl_s <= MAX_TTL_S
        assert payload_problem(asked.payload) in (None, ("invalid_payload",), ("payload_must_be_intercom",))


# --- quotas -----------------------------------------------------------------------------------------------------

LIMITS = Limits(per_box=3, per_sender=2, total_bytes=16 * MAX_PAYLOAD_BYTES, boxes=5)


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Standing(), None),
        (Standing(in_box=2, from_sender=1, boxes=5, total_bytes=100), None),
        (Standing(in_box=3), "mailbox_full"),
        (Standing(from_sender=2), "too_many_deposits"),
        (Standing(in_box=3, from_sender=2), "too_many_deposits"),
        (Standing(sender_bytes=MAX_PAYLOAD_BYTES - 1), "too_many_deposits"),
        (Standing(boxes=5), "too_many_mailboxes"),
        (Standing(in_box=1, boxes=5), None),
        (Standing(total_bytes=LIMITS.total_bytes - len(SEALED)), None),
        (Standing(total_bytes=LIMITS.total_bytes - len(SEALED) + 1), "mailbox_full"),
    ],
)
def test_what_waits_already_decides(standing: Standing, reason: str | None) -> None:
    over = refusal(Deposit(BOX, SEALED), standing, LIMITS)
    assert (over.reason if over else None) == reason


def test_nobody_fills_a_box_or_the_hub_alone() -> None:
    limits = Limits()
    assert (limits.per_box, limits.boxes) == (256, 4096)
    assert limits.per_sender < limits.per_box
    assert limits.sender_bytes * 16 == limits.total_bytes
    assert Limits(total_bytes=MAX_PAYLOAD_BYTES).sender_bytes == MAX_PAYLOAD_BYTES


# --- replies ----------------------------------------------------------------------------------------------------


def test_replies() -> None:
    assert mailbox.deposited("id") == {"status": "ok", "deposit_id": "id"}
    assert mailbox.removed(2) == {"status": "ok", "removed": 2}
    assert mailbox.failed("why") == {"status": "error", "reason": "why"}
    assert mailbox.collected([Kept("id", SEALED)]) == {
        "status": "ok",
        "messages": [{"deposit_id": "id", "payload": SEALED}],
    }


# --- what a released hub kept -----------------------------------------------------------------------------------

ENTRY = {"deposit_id": "id", "payload": SEALED, "expires_at": 1000.5}


def test_what_a_released_hub_kept_is_read() -> None:
    assert read_released({BOX: [ENTRY, {**ENTRY, "deposit_id": "other", "expires_at": 7}]}) == (
        [Released(BOX, "id", SEALED, 1000.5), Released(BOX, "other", SEALED, 7.0)],
        0,
    )
    assert read_released({}) == ([], 0)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"bob": [ENTRY]},
        {BOX.upper(): [ENTRY]},
        {BOX: ENTRY},
        {BOX: [[]]},
        {BOX: [{**ENTRY, "deposit_id": ""}]},
        {BOX: [{**ENTRY, "deposit_id": 5}]},
        {BOX: [{**ENTRY, "payload": None}]},
        {BOX: [{**ENTRY, "payload": hive("bus")}]},
        {BOX: [{**ENTRY, "payload": hive("intercom", c="x" * MAX_PAYLOAD_BYTES)}]},
        {BOX: [{**ENTRY, "expires_at": None}]},
        {BOX: [{**ENTRY, "expires_at": float("inf")}]},
        {BOX: [{**ENTRY, "expires_at": 10**400}]},
    ],
    ids=lambda value: str(value)[-60:],
)
def test_what_is_no_message_is_counted(document: Any) -> None:
    assert read_released(document) == ([], 1)
