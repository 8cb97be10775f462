"""When to come back: written into a reason, and read out of it."""

from __future__ import annotations

import pytest

from hivemind_bus_client.refusals import MAX_REASON_BYTES, REFUSALS
from hivemind_bus_client.return_hints import LONGEST_S, wait_in, with_hint


@pytest.mark.parametrize(("wait_s", "told"), [(0.001, 1), (1.0, 1), (5.1, 6), (90, 90)])
def test_what_is_written_is_read(wait_s: float, told: int) -> None:
    reason = with_hint("too many messages, try again later", wait_s)
    assert reason == f"too many messages, try again in {told} s"
    assert wait_in(reason) == told


def test_every_reason_has_room_for_it() -> None:
    for row in REFUSALS.values():
        assert len(with_hint(row.wire_reason, 999_999).encode()) <= MAX_REASON_BYTES


@pytest.mark.parametrize("reason", ["", "busy, try again later", "try again in a while", "try again in -5 s"])
def test_without_one_there_is_no_wait(reason: str) -> None:
    assert wait_in(reason) == 0


@pytest.mark.parametrize("said", ["999999999", "601"])
def test_no_hub_can_send_somebody_away_for_ever(said: str) -> None:
    assert wait_in(f"try again in {said} s") == LONGEST_S
    assert wait_in(f"try again in {said}0000000 s") == 0
