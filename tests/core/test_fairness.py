from __future__ import annotations

import pytest

from hivemind_core.fairness import FRAMES_PER_TURN, LONGEST_PAUSE_S, SHARE_S, WINDOW_S, LoopShare, Ration


def test_cheap_frames_go_on_until_it_is_the_others_turn() -> None:
    share = LoopShare()
    pauses = [share.pause_after(10.0, 10.0001) for _ in range(FRAMES_PER_TURN)]
    assert pauses == [None] * (FRAMES_PER_TURN - 1) + [0.0]


def test_a_long_frame_is_followed_by_the_others_turn() -> None:
    assert LoopShare().pause_after(10.0, 10.01) == 0.0


def test_who_used_more_than_its_share_waits_until_it_is_its_share() -> None:
    share = LoopShare()
    assert share.pause_after(10.0, 10.2) == 0.0
    pause = share.pause_after(10.3, 10.36)
    assert pause is not None
    assert abs(pause - 0.68) < 1e-9
    assert share.pause_after(11.1, 11.1001) is None
    long = share.pause_after(13.0, 15.0)
    assert long is not None
    assert abs(long - 6.0) < 1e-9


def test_several_connections_have_no_more_of_the_loop_than_one() -> None:
    """Each reads on when its own pause is over, whatever the others have used meanwhile."""
    share, now, used, next_at = LoopShare(), 0.0, 0.0, [0.0] * 16
    while now < 600:
        connection = min(range(16), key=lambda number: next_at[number])
        began = now = max(now, next_at[connection])
        now += 0.02
        used += 0.02
        next_at[connection] = now + (share.pause_after(began, now) or 0.0)
    assert used / now <= SHARE_S / WINDOW_S + 0.01


def test_what_was_used_too_much_is_not_forgotten_before_it_is_over() -> None:
    share = LoopShare()
    assert share.pause_after(10.0, 10.5) == 1.5
    assert share.pause_after(11.5, 11.6) == pytest.approx(0.8)
    assert share.pause_after(12.4, 12.45) == 0.0
    assert share.pause_after(20.0, 26.0) == LONGEST_PAUSE_S, "whatever is owed"
    assert share.pause_after(36.0, 36.0001) is None


def test_a_ration_has_a_burst_and_a_rate() -> None:
    ration = Ration(2.0, 3, now=0.0)
    assert [ration.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert ration.take(0.5)
    assert not ration.take(0.6)
    assert [ration.take(100.0) for _ in range(4)] == [True, True, True, False]
