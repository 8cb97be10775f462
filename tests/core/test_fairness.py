from __future__ import annotations

from hivemind_core.fairness import FRAMES_PER_TURN, LoopShare, Ration


def test_cheap_frames_go_on_until_it_is_the_others_turn() -> None:
    share = LoopShare()
    pauses = [share.pause_after(10.0, 10.0001) for _ in range(FRAMES_PER_TURN)]
    assert pauses == [None] * (FRAMES_PER_TURN - 1) + [0.0]


def test_a_long_frame_is_followed_by_the_others_turn() -> None:
    assert LoopShare().pause_after(10.0, 10.01) == 0.0


def test_who_used_its_share_waits_for_the_next_window() -> None:
    share = LoopShare()
    assert share.pause_after(10.0, 10.2) == 0.0
    pause = share.pause_after(10.3, 10.4)
    assert pause is not None
    assert abs(pause - 0.6) < 1e-9
    assert share.pause_after(11.0, 11.0001) is None


def test_a_ration_has_a_burst_and_a_rate() -> None:
    ration = Ration(2.0, 3, now=0.0)
    assert [ration.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert ration.take(0.5)
    assert not ration.take(0.6)
    assert [ration.take(100.0) for _ in range(4)] == [True, True, True, False]
