"""How much one client, and one address, may send. Time is an argument (seconds).

Each has a bucket of messages and of bytes that fills at its rate and holds a burst. What a connection sends is counted
at the connection, and taken from its buckets once it is worth the trouble; so a message costs two additions. Whoever
overdraws a bucket is told when half of it will be back, and is not let in before. Only sessions count: what anybody
sends who merely knows an access key is never held against the device that it belongs to.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import TypeVar

from hivemind_bus_client.link import Event, Refused
from hivemind_bus_client.refusals import REFUSALS
from hivemind_bus_client.return_hints import with_hint

from .limits import Remembered
from .limits_config import LimitsConfig, Rate

CODE = "too_many_messages"
TAKEN_MESSAGES, TAKEN_BYTES = 64, 256 * 1024
"""What a connection sends before it is taken from its buckets; less where a bucket is small."""
SMALLEST_PARTS = 16
"""So many times at least a bucket is drawn from until it is empty."""
REMEMBERED = 65_536

K = TypeVar("K", bound=Hashable)
_FINE: list[Event] = []


def refused(wait_s: float) -> Refused:
    """Return the refusal of who sent too much, with the seconds to stay away."""
    return Refused(CODE, with_hint(REFUSALS[CODE].wire_reason, wait_s))


class _Measure:
    """One quantity of a bucket."""

    __slots__ = ("_most", "_per_s", "left")

    def __init__(self, per_s: float, burst_s: float) -> None:
        self._per_s = per_s
        self._most = self.left = per_s * burst_s if per_s > 0 else math.inf

    def fill(self, seconds: float) -> None:
        self.left = min(self._most, self.left + seconds * self._per_s)

    def back_in(self) -> float:
        """Return in how many seconds half of it is back; 0 where it is not overdrawn."""
        return (self._most / 2 - self.left) / self._per_s if self.left < 0 else 0.0


class Bucket:
    """What one client or address may send."""

    __slots__ = ("_at", "_bytes", "_messages", "burst_s", "closed_until", "rate")

    def __init__(self, rate: Rate, burst_s: float, now: float) -> None:
        self.rate = rate
        self.burst_s = burst_s
        self.closed_until = now
        """Until then nobody who overdrew it is let in."""
        self._messages = _Measure(rate.messages_per_s, burst_s)
        self._bytes = _Measure(rate.bytes_per_s, burst_s)
        self._at = now

    def take(self, messages: int, size: int, now: float) -> float:
        """Take what was sent; return in how many seconds to come back where that is too much, else 0."""
        for measure, taken in ((self._messages, messages), (self._bytes, size)):
            measure.fill(now - self._at)
            measure.left -= taken
        self._at = now
        wait_s = max(self._messages.back_in(), self._bytes.back_in())
        if wait_s:
            self.closed_until = now + wait_s
        return wait_s


class Usage:
    """What one connection sends."""

    __slots__ = ("_buckets", "_bytes", "_messages", "_most_bytes", "_most_messages")

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self._buckets = tuple(buckets)
        self._messages = self._bytes = 0
        self._most_messages = self._most_bytes = math.inf
        for bucket in self._buckets:
            rate, parts_s = bucket.rate, bucket.burst_s / SMALLEST_PARTS
            if rate.messages_per_s > 0:
                self._most_messages = min(self._most_messages, TAKEN_MESSAGES, rate.messages_per_s * parts_s)
            if rate.bytes_per_s > 0:
                self._most_bytes = min(self._most_bytes, TAKEN_BYTES, rate.bytes_per_s * parts_s)

    def count(self, size: int, now: float) -> list[Event]:
        """Count a frame of so many bytes; return the refusal of the connection where it is one too many."""
        self._messages += 1
        self._bytes += size
        if self._messages < self._most_messages and self._bytes < self._most_bytes:
            return _FINE
        wait_s = self.settle(now)
        return [refused(wait_s)] if wait_s else _FINE

    def settle(self, now: float) -> float:
        """Take what was counted from the buckets; return the seconds to stay away where they are overdrawn, else 0."""
        messages, size, self._messages, self._bytes = self._messages, self._bytes, 0, 0
        return max((bucket.take(messages, size, now) for bucket in self._buckets), default=0.0)


UNCOUNTED = Usage(())
"""Of connections that nothing is limited for."""


class Rates:
    """The buckets. Addresses are what `limits.neighbourhood` makes of them; a client is named by its id."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._clients: Remembered[int, Bucket] = Remembered(remembered)
        self._addresses: Remembered[str, Bucket] = Remembered(remembered)

    def usage(self, client_id: int, address: str, limits: LimitsConfig, now: float) -> Usage:
        """Return what counts for a session that begins; an empty address is not limited."""
        found = [_bucket(self._clients, client_id, limits.client, limits.burst_s, now)]
        if address:
            found.append(_bucket(self._addresses, address, limits.address, limits.burst_s, now))
        buckets = [bucket for bucket in found if bucket.rate.is_limit]
        return Usage(buckets) if buckets else UNCOUNTED

    def address_waits(self, address: str, now: float) -> float:
        """Return for how many seconds more nobody is let in from an address."""
        return _waits(self._addresses, address, now)

    def client_waits(self, client_id: int, now: float) -> float:
        """Return for how many seconds more a client is not let in."""
        return _waits(self._clients, client_id, now)


def _bucket(known: Remembered[K, Bucket], whose: K, rate: Rate, burst_s: float, now: float) -> Bucket:
    bucket = known.get(whose)
    if bucket is None or (bucket.rate, bucket.burst_s) != (rate, burst_s):
        bucket = Bucket(rate, burst_s, now)
    known.put(whose, bucket)
    return bucket


def _waits(known: Remembered[K, Bucket], whose: K, now: float) -> float:
    bucket = known.get(whose)
    return max(0.0, bucket.closed_until - now) if bucket is not None else 0.0
