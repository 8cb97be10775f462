from __future__ import annotations

import pytest

from hivemind_core.cluster.frames import Head
from hivemind_core.cluster.incoming import EXPIRED_S, FUTURE_S, Incoming, Verdict, is_fresh


@pytest.fixture
def incoming() -> Incoming:
    heard = Incoming()
    for number in (5, 6):
        assert heard.judge(number, 5, is_fresh=True) is Verdict.HAND_OVER
    return heard


def test_each_number_is_handed_over_once(incoming: Incoming) -> None:
    assert [incoming.judge(number, 5, is_fresh=True) for number in (5, 6, 1)] == [Verdict.REPEATED] * 3
    assert (incoming.taken, incoming.refused, incoming.wanted) == (6, 0, 7)


def test_what_comes_before_others_is_missed_and_comes_again(incoming: Incoming) -> None:
    assert incoming.judge(8, 5, is_fresh=True) is Verdict.MISSED
    assert (incoming.taken, incoming.wanted) == (6, 7)
    assert [incoming.judge(number, 5, is_fresh=True) for number in (7, 8)] == [Verdict.HAND_OVER] * 2


def test_what_the_sender_has_given_up_is_not_waited_for(incoming: Incoming) -> None:
    assert incoming.judge(9, 9, is_fresh=True) is Verdict.HAND_OVER
    assert incoming.judge(8, 7, is_fresh=True) is Verdict.REPEATED
    assert incoming.taken == 9


def test_what_comes_too_late_is_not_acknowledged_but_refused_until_the_sender_knows(incoming: Incoming) -> None:
    assert [incoming.judge(number, 5, is_fresh=False) for number in (7, 8)] == [Verdict.EXPIRED] * 2
    assert incoming.judge(9, 5, is_fresh=True) is Verdict.HAND_OVER
    assert incoming.judge(10, 5, is_fresh=False) is Verdict.EXPIRED
    assert (incoming.taken, incoming.refused) == (6, 8)
    incoming.heard(8)
    assert (incoming.taken, incoming.refused) == (7, 8)
    incoming.heard(9)
    assert (incoming.taken, incoming.refused) == (9, 10)
    incoming.heard(11)
    assert (incoming.taken, incoming.refused) == (10, 0)


def test_an_entry_is_fresh_for_a_while_by_redis_clock() -> None:
    head = Head(at_ms=100_000)
    expired, future = int(EXPIRED_S * 1000), int(FUTURE_S * 1000)
    assert is_fresh(head, 100_000 + expired)
    assert not is_fresh(head, 100_001 + expired)
    assert is_fresh(head, 100_000 - future)
    assert not is_fresh(head, 99_999 - future)
