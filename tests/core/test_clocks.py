"""The wall clock that does not follow a jump at once."""

from __future__ import annotations

import pytest

from hivemind_core.clocks import BELIEVED_AFTER_S, JUMP_S, Clocks, SteadyWall

DAY_S = 86_400.0


class Hands:
    """Both clocks of a machine; `go` lets time pass, `jump` sets the one that people see."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000_000.0, 50.0
        self.steady = SteadyWall(lambda: self.wall, lambda: self.monotonic)

    def go(self, seconds: float, step: float = 5.0) -> float:
        """Look every few seconds, as a hub does; return what the clock says in the end."""
        end = self.monotonic + seconds
        while self.monotonic < end:
            self.wall, self.monotonic = self.wall + step, self.monotonic + step
            self.steady()
        return self.steady()


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_it_goes_as_the_clock_goes(hands: Hands) -> None:
    assert hands.go(3600) == hands.wall == 1_003_600.0


@pytest.mark.parametrize("jump", [DAY_S, -DAY_S, JUMP_S + 1])
def test_a_jump_that_is_taken_back_was_none(hands: Hands, jump: float) -> None:
    hands.wall += jump
    assert hands.steady() == hands.wall - jump
    assert hands.go(BELIEVED_AFTER_S - 10) == hands.wall - jump
    hands.wall -= jump
    assert hands.go(60) == hands.wall


@pytest.mark.parametrize("jump", [DAY_S, -DAY_S])
def test_a_jump_that_stands_is_believed_in_the_end(hands: Hands, jump: float) -> None:
    hands.wall += jump
    assert hands.go(BELIEVED_AFTER_S + 5) == hands.wall
    assert hands.go(60) == hands.wall


def test_one_jump_after_the_other_is_not_believed_sooner(hands: Hands) -> None:
    hands.wall += DAY_S
    hands.go(BELIEVED_AFTER_S - 10)
    hands.wall -= DAY_S
    hands.go(10)
    hands.wall += DAY_S
    assert hands.go(BELIEVED_AFTER_S - 10) == hands.wall - DAY_S


def test_what_is_small_is_followed_at_once(hands: Hands) -> None:
    for _ in range(10):
        hands.wall += JUMP_S - 1
        assert hands.steady() == hands.wall


def test_without_one_the_wall_clock_decides() -> None:
    assert Clocks(wall=lambda: 5.0).expiry() == 5.0
    assert Clocks(wall=lambda: 5.0, steady=lambda: 4.0).expiry() == 4.0
