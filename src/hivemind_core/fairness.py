"""How much one peer may take, so that none takes from the others. Time is an argument (seconds)."""

from __future__ import annotations

WINDOW_S = 1.0
SHARE_S = 0.25
"""Seconds of the loop that one client may use within a window; then it is not read until that is its share."""
LONGEST_PAUSE_S = 10.0
LONG_S = 0.002
"""A frame that took longer is followed by everybody else's turn."""
FRAMES_PER_TURN = 32


class LoopShare:
    """What reading one client costs the loop, by all its connections; before its session, what reading one does."""

    __slots__ = ("_frames", "_since", "_spent", "_until")

    def __init__(self) -> None:
        self._since = 0.0
        self._spent = 0.0
        self._until = 0.0
        """Until then what was spent is more than its share."""
        self._frames = 0

    def pause_after(self, began: float, ended: float) -> float | None:
        """Count a frame; return how long not to read: None to go on at once, 0 to let the others have their turn."""
        took = ended - began
        if began - self._since >= WINDOW_S and began >= self._until:
            self._since, self._spent = began, 0.0
        self._spent += took
        self._frames += 1
        if self._spent >= SHARE_S:
            self._until = min(ended + LONGEST_PAUSE_S, self._since + self._spent * WINDOW_S / SHARE_S)
            return max(0.0, self._until - ended)
        if took >= LONG_S or self._frames % FRAMES_PER_TURN == 0:
            return 0.0
        return None


class Ration:
    """Lets `burst` through at once and `per_second` in the long run."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, per_second: float, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take one; False when there is none left."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
