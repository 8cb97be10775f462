from __future__ import annotations

from hivemind_core.fairness import FRAMES_PER_TURN, LoopShare, Ration


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


def test_a_ration_has_a_burst_and_a_rate() -> None:
    ration = Ration(2.0, 3, now=0.0)
    assert [ration.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert ration.take(0.5)
    assert not ration.take(0.6)
    assert [ration.take(100.0) for _ in range(4)] == [True, True, True, False]
