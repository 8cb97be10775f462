"""Frames between one member and another, over a bus that may lose them, bring them again, or begin anew. Pure.

What is put at one end (`outgoing`) is handed over at the other (`incoming`) at most once and in order; or else its
sender learns that it is not delivered, which may befall what arrived (nobody could tell it) but never before.

That needs clocks. A batch is given up ``UNDELIVERED_S`` after it was put, or, where the receiver is declared gone,
``FENCE_S`` after it was taken out of Redis; the receiver hands over nothing that is older than ``EXPIRED_S``, and
nothing that it asked Redis for longer than ``FRESH_S`` ago. So clocks must run at the same rate, and two estimates of
Redis's clock differ by less than 5 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .frames import Head
from .incoming import Incoming
from .outgoing import UNDELIVERED_S, Batch, Outgoing

FENCE_S = 3.0
FRESH_S = 2.5
PROBE_S = 1.0
"""What is not acknowledged for so long is asked after with its oldest batch; then after twice the time, and so on."""
MAX_PROBE_S = 8.0
RETRY_S = 0.25
"""An inbox that is not there is tried again so soon: its owner may be about to make it anew."""
REPEAT_S = 0.3
"""What is asked for again within this time may be on its way."""


@dataclass(slots=True, eq=False)
class Fence:
    """What was on its way to a member that is gone."""

    batches: list[Batch]
    cleared_at: float | None = None
    """Since when it is no longer in Redis."""

    def passed(self, now: float) -> list[Batch]:
        """Return what cannot be handed over any more; the rest remains."""
        if self.cleared_at is not None and now - self.cleared_at >= FENCE_S:
            found, self.batches = self.batches, []
            return found
        found = [batch for batch in self.batches if now - batch.put_at >= UNDELIVERED_S]
        self.batches = self.batches[len(found) :]
        return found


@dataclass(slots=True, eq=False)
class Channel:
    """Both ways between this member and another."""

    stream: str
    """The other's inbox."""
    out: Outgoing
    touched: float
    """When something was last put or read."""
    incoming: Incoming = field(default_factory=Incoming)
    owes_ack: bool = False
    wants_missed: bool = False
    unacknowledged: int = 0
    """Bytes handed over since the last acknowledgement; a frame counts at least its share of `ACK_FRAMES`."""
    purges: bool = False
    """What is in the other's inbox from here must be taken out of it first."""
    fences: list[Fence] = field(default_factory=list)
    retry_at: float = float("-inf")
    probe_at: float = float("inf")
    probe_wait: float = PROBE_S
    is_probing: bool = False
    wanted_at: float = float("-inf")

    def head(self, at_ms: int) -> Head:
        """Return what to say beside frames; what is owed is thereby said."""
        heard = self.incoming
        wanted = heard.wanted if self.wants_missed else 0
        self.owes_ack = self.wants_missed = False
        self.unacknowledged = 0
        return Head(at_ms, self.out.base, heard.taken, heard.refused, wanted)

    def told(self, head: Head, now: float) -> list[Batch]:
        """Learn what the other end says of what was sent to it; return what came too late."""
        self.incoming.heard(head.base)
        progress = self.out.arrived(head.taken)
        refused = self.out.give_up(head.refused) if head.refused > head.taken else []
        if progress or refused:
            if self.is_probing:
                self.out.rewind()
            self.is_probing = False
            self.probe_wait = PROBE_S
            self.probe_at = now + PROBE_S if self.out.is_waiting else float("inf")
        if head.wanted and now - self.wanted_at >= REPEAT_S:
            self.wanted_at = now
            self.out.rewind(head.wanted)
        return refused

    def batches(self, now: float) -> list[Batch]:
        """Return what to write now."""
        if now < self.retry_at:
            return []
        found = self.out.due()
        if found and not self.is_probing:
            self.probe_at = now + self.probe_wait
        elif not found and now >= self.probe_at:
            oldest = self.out.oldest()
            self.is_probing = oldest is not None
            self.probe_wait = min(2 * self.probe_wait, MAX_PROBE_S)
            self.probe_at = now + self.probe_wait if oldest is not None else float("inf")
            found = [oldest] if oldest is not None else []
        return found

    def missing(self, number: int, now: float) -> None:
        """The inbox was not there for this entry."""
        self.out.rewind(number)
        self.retry_at = now + RETRY_S

    def gone(self) -> list[Batch]:
        """Give up all; return what was never written, for the rest has to be fenced off first."""
        batches = self.out.clear()
        in_flight = [batch for batch in batches if batch.is_sent]
        if in_flight:
            self.fences.append(Fence(in_flight))
            self.purges = True
        return batches[len(in_flight) :]

    def rejoined(self) -> None:
        """Write again all that is not acknowledged; nothing of it remains as it was written before."""
        self.purges = self.out.is_waiting or any(fence.cleared_at is None for fence in self.fences)
        self.out.rewind()
        self.retry_at = float("-inf")
        self.probe_at, self.probe_wait, self.is_probing = float("inf"), PROBE_S, False

    def lost(self, now: float) -> list[Batch]:
        """Return what is not delivered, or nobody can know."""
        found = self.out.overdue(now)
        for fence in self.fences:
            found += fence.passed(now)
        self.fences = [fence for fence in self.fences if fence.batches]
        return found
