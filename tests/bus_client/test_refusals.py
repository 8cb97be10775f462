"""The table of refusals: complete, readable, and the same read back from a close frame."""

from __future__ import annotations

import re

import pytest

from hivemind_bus_client.denials import cure, sentence, told
from hivemind_bus_client.exceptions import HiveMindConnectionError
from hivemind_bus_client.refusals import (
    DENIALS,
    MAX_REASON_BYTES,
    REFUSALS,
    HiveMindRefused,
    Refusal,
    from_close,
)

every_row = pytest.mark.parametrize("row", REFUSALS.values(), ids=REFUSALS)
every_denial = pytest.mark.parametrize("row", DENIALS.values(), ids=DENIALS)


@every_row
def test_a_row_says_what_happened_and_what_to_do(row):
    assert row.sentence.endswith(".")
    assert row.cure.endswith(".")
    assert str(row) == f"{row.sentence} {row.cure}"
    assert row.sentence[0].isupper()


@every_row
def test_a_row_fits_into_a_close_frame(row):
    assert len(row.wire_reason.encode()) <= MAX_REASON_BYTES
    assert 1000 <= row.close_code < 5000


@every_row
def test_only_what_is_permanent_stops_a_released_client(row):
    """A close 1008 before the session stops it for good (docs/protocol.md 17.4)."""
    if not row.permanent and row.code != "invalid_frame":  # which only comes inside a session
        assert row.close_code != 1008


@every_row
def test_commands_named_in_a_cure_exist(row):
    from hivemind_bus_client.scripts import hmclient_cmds
    from hivemind_core.scripts import hmcore_cmds

    groups = {"hivemind-client": hmclient_cmds, "hivemind-core": hmcore_cmds}
    for program, command in re.findall(r"`(hivemind-\w+) ([a-z-]+)", row.cure):
        assert command in groups[program].commands, f"{row.code} names {program} {command}"


@pytest.mark.parametrize(
    ("close_code", "reason", "code"),
    [
        (1008, "invalid authorization", "invalid_authorization"),
        (1008, "invalid api key", "invalid_key"),
        (1008, "this node requires protocol v3 (the Noise handshake)", "no_password"),
        (1008, "this node requires the v3 Noise handshake", "protocol_too_old"),
        (1008, "pattern/suite not offered: KKpsk0/x", "not_offered"),
        (1008, "malformed Noise envelope", "malformed_handshake"),
        (1008, "handshake failure: ", "handshake_failed"),
        (1008, "client Noise static key contradicts the pinned key", "client_key_mismatch"),
        (1008, "invalid message", "invalid_frame"),
        (1008, "the password of this access key is too guessable", "weak_password"),
        (1011, "client database unavailable", "database_unavailable"),
        (1011, "internal error handling QUERY", "internal_error"),
        (1013, "busy, try again later", "busy"),
        (1013, "handshake timed out", "handshake_timeout"),
        (1013, "slow reader", "slow_reader"),
        (1013, "too many messages, try again in 7 s", "too_many_messages"),
        (1013, "too many requests at once", "too_many_requests"),
        (1013, "too many connections, try again later", "too_many_connections"),
        (1013, "too many failed attempts, try again later", "too_many_failures"),
        (4003, "BROADCAST is not allowed for this client", "not_permitted"),
        (1001, "the hub is shutting down", "shutting_down"),
        (1008, "", "handshake_failed"),
        (1008, "something else", "handshake_failed"),
    ],
)
def test_read_back_from_a_close_frame(close_code, reason, code):
    assert from_close(close_code, reason).code == code


@pytest.mark.parametrize("close_code", [1000, 1005, 1006, 1009, 3000])
def test_an_ordinary_end_is_no_refusal(close_code):
    assert from_close(close_code, "invalid api key") is None


@every_row
def test_what_our_hub_writes_is_understood(row):
    if (
        row.close_code not in (1008, 1011, 1013) or row.code == "unencrypted_frame"
    ):  # whose reason is that of invalid_frame
        return
    assert from_close(row.close_code, row.wire_reason).permanent is row.permanent


def test_the_exception_names_cause_and_cure():
    error = HiveMindRefused(REFUSALS["invalid_key"])
    assert isinstance(error, (HiveMindConnectionError, ConnectionRefusedError))
    assert error.code == "invalid_key"
    assert error.reason == "invalid api key"
    assert error.refusal.sentence in str(error)
    assert error.refusal.cure in str(error)
    assert HiveMindRefused(error.refusal, "other words").reason == "other words"


@every_denial
def test_a_denial_says_what_happened_and_what_to_do(row):
    said = told(row.code, "some.type", client=7)
    assert said == f"{sentence(row.code, 'some.type')} {cure(row.code, 'some.type', 7)}"
    assert sentence(row.code, "some.type").endswith(".")
    assert cure(row.code, "some.type", 7).endswith(".")
    assert "{" not in said
    assert (row.close_code, row.permanent) == (0, False)


def test_no_code_stands_for_two_things():
    assert not REFUSALS.keys() & DENIALS.keys()


def test_a_row_without_a_cure():
    assert str(Refusal("x", "It failed.", "")) == "It failed."
