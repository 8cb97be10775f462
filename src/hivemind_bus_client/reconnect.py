"""When to try again, and with what, after a connection has ended (docs/protocol.md 7.8, 7.9, 17.4)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .refusals import POLICY_VIOLATION, REFUSALS, TRY_AGAIN_LATER, Refusal, from_close
from .return_hints import wait_in

MAX_SILENT_ENDS = 3
"""Connections that a hub never met before may close without a word until that is taken for a refusal."""
NO_STATUS = 1005
"""RFC 6455 7.4.1: a close without a code; over HTTP a session that is gone without a reason."""
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_S = 5.0
"""A connection that stood for less is no success: a hub may admit everybody and end it at once, again and again."""

_KK, _XX, _PRE_SHARED = "KKpsk0", "XXpsk2", "preshared"
_ALWAYS_FINAL = "client_key_mismatch"
_KEY_FAILURES = frozenset({"wrong_password", "handshake_failed"})


def read_close(code: int, reason: str, pattern: str, opened: bool, admitted: bool) -> Refusal | None:
    """Return the refusal that a hub's close frame means at this point of a connection.

    The released hub says ``invalid message`` also where it refuses the key of another device: our HELLO, which
    follows message 3 of XXpsk2 at once, then finds no session (docs/protocol.md 17.1). Over HTTP it says nothing.
    """
    refusal = from_close(code, reason)
    dropped = refusal is None or refusal.code == "invalid_frame"
    if dropped and opened and not admitted and pattern == _PRE_SHARED:
        return REFUSALS["handshake_failed"]  # hubs drop who seals with another key (docs/protocol.md 8.4)
    unproven = opened and not admitted and pattern == _XX
    if unproven and (code == NO_STATUS if refusal is None else refusal.code == "invalid_frame"):
        return REFUSALS[_ALWAYS_FINAL]
    return refusal


@dataclass(frozen=True)
class Ended:
    """How one connection ended."""

    admitted: bool = False
    """The hub had accepted this satellite."""
    opened: bool = False
    """The handshake had been completed."""
    pattern: str = ""
    """The Noise pattern that was tried; empty if it never came to that."""
    close_code: int = 0
    """The code in the hub's close frame; 0 without one."""
    refusal: Refusal | None = None
    """The row of the table of refusals that says why; None for an ordinary loss."""
    detail: str = ""
    """What the hub or the operating system said, verbatim."""
    key_was_kept: bool = False
    """The pre-shared key was not derived afresh from the password."""
    stood_s: float = 0.0
    """For how many seconds this satellite was admitted."""

    @property
    def permanent(self) -> bool:
        """Nothing changes by trying again in the same way.

        A hub refuses another device's key after the handshake; behind a proxy that answers pings itself that
        comes when we believe to be admitted.
        """
        if self.refusal is None or not self.refusal.permanent:
            return False
        return not self.admitted or self.refusal.code == _ALWAYS_FINAL

    @property
    def stay_away_s(self) -> float:
        """For how long the hub wants not to be tried again; 0 where it said nothing of it."""
        passes = self.refusal is not None and self.refusal.close_code == TRY_AGAIN_LATER
        return wait_in(self.detail) if passes else 0.0

    @property
    def key_suspect(self) -> bool:
        """The handshake failed in a way that a wrong pre-shared key explains."""
        failed = self.refusal is not None and self.refusal.code in _KEY_FAILURES
        return bool(self.pattern) and not self.opened and (failed or self.close_code == POLICY_VIOLATION)

    @property
    def kk_refused(self) -> bool:
        """The hub ended an attempt that relied on its having our key pinned."""
        return self.pattern == _KK and not self.opened and self.close_code in (POLICY_VIOLATION, NO_STATUS)


def _unit() -> float:
    return random.uniform(0.5, 1.5)


@dataclass
class Backoff:
    """0.5 s, doubling to 30 s, each wait times a random 0.5 to 1.5."""

    jitter: Callable[[], float] = _unit
    _delay_s: float = field(default=FIRST_DELAY_S, init=False)

    def next(self) -> float:
        """Return how many seconds to wait now; the following wait is twice as long."""
        delay_s = self._delay_s * self.jitter()
        self._delay_s = min(LONGEST_DELAY_S, self._delay_s * 2)
        return delay_s

    def reset(self) -> None:
        """Begin again at 0.5 s."""
        self._delay_s = FIRST_DELAY_S


@dataclass
class Persistence:
    """Decides after each connection; what the next one may rely on is in the two public flags."""

    backoff: Backoff = field(default_factory=Backoff)
    allow_kk: bool = True
    """The next attempt may use KKpsk0. False after a hub refused one, until it admits us again."""
    use_kept_key: bool = True
    """The next attempt may use a pre-shared key from the cache."""
    _met: bool = field(default=False, init=False)
    _silent_ends: int = field(default=0, init=False)

    def admitted(self) -> None:
        """Note that the hub has accepted this satellite: everything may be relied on again."""
        self.allow_kk = self.use_kept_key = self._met = True

    def after(self, ended: Ended) -> float | None:
        """Return how many seconds to wait before the next attempt, or None to give up for good."""
        if ended.stood_s >= STEADY_S:
            self.backoff.reset()
        if ended.kk_refused and self.allow_kk:
            self.allow_kk = self.use_kept_key = False
            return 0.0
        if ended.permanent and self._may_fit_yet(ended):
            self.use_kept_key = False
            return 0.0
        if ended.permanent or self._is_silently_refused(ended):
            return None
        return ended.stay_away_s + self.backoff.next()

    def _is_silently_refused(self, ended: Ended) -> bool:
        """Tell whether a hub that refuses without a reason has done so often enough (docs/protocol.md 17.3)."""
        silent = ended.refusal is not None and ended.refusal.code == "no_greeting"
        self._silent_ends = self._silent_ends + 1 if silent else 0
        return self._silent_ends >= MAX_SILENT_ENDS and not self._met

    def _may_fit_yet(self, ended: Ended) -> bool:
        """Tell whether the password may be right all the same: one more attempt is worth it.

        A kept key may be stale; and a hub that holds two passwords of ours for a while has to choose one for XXpsk2,
        and chooses the other one the next time (docs/protocol.md 7.5).
        """
        may_be_the_other = ended.pattern == _XX and ended.refusal == REFUSALS["wrong_password"]
        return self.use_kept_key and ended.key_suspect and (ended.key_was_kept or may_be_the_other)
