"""Admission under pressure: who failed often waits, a burst of refusals is told once. Time is an argument (seconds).

Three things are counted, and each protects somebody else than the others:

* Unknown access keys and unreadable tokens count against the *address*. While an address waits, its next unknown key is
  refused before anything is looked up. A key that the hub knows passes all the same: behind one address there may be a
  house full of satellites, and one device with an old key must not lock them out.
* Failed handshakes count against the *pair* of access key and address. An access key is a name that anybody may learn,
  so whoever fails with it on purpose must slow down only himself, not the device it belongs to.
* All failures with one *access key* together draw on a wide ration. Where it is used up, addresses from which the key
  never worked wait a second; the address where it worked last is let through.

On one address a stranger and the device compete; the device's waits stay short there once it has proven itself, and a
connection that stands is never touched. A refusal for having to wait is transient (1013): 1008 would stop released
clients for good. Everything is bounded; what is forgotten for want of room is let through.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Generic, NamedTuple, TypeVar

from .fairness import Ration

FREE_FAILURES = 10
"""So many in a row cost nothing; from then on each doubles the wait."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
LONGEST_WAIT_AT_HOME_S = 2.0
"""Where the same access key worked last."""
FORGIVEN_AFTER_S = 600.0
"""Without a further failure."""
KEY_FAILURES_PER_S, KEY_FAILURES_AT_ONCE = 20.0, 200
KEY_WAIT_S = 1.0
REMEMBERED = 4096
"""Addresses, pairs and keys that failed; the oldest is forgotten for a new one."""
REMEMBERED_HOMES = 65_536
BURST_S = 60.0
"""What is refused again within this time is only counted, and told once at its end."""
MAX_BURSTS = 256
IPV6_NETWORK_BITS = 64

K = TypeVar("K")
V = TypeVar("V")


def neighbourhood(address: str) -> str:
    """Return what limits go by: an IPv4 address itself, of an IPv6 address the /64 that one household has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed.is_loopback:
        return address
    network = int(parsed) >> (128 - IPV6_NETWORK_BITS) << (128 - IPV6_NETWORK_BITS)
    return f"{IPv6Address(network)}/{IPV6_NETWORK_BITS}"


class Remembered(Generic[K, V]):
    """A map of fixed size; what was not written for longest is forgotten for something new."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> V | None:
        """Return what is remembered of a key."""
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember, in place of the oldest where there is no room."""
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._size:
            self._items.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Forget a key; return what was remembered of it."""
        return self._items.pop(key, None)

    def drop(self, wanted: Callable[[K], bool]) -> None:
        """Forget the keys that a test picks."""
        for key in [key for key in self._items if wanted(key)]:
            del self._items[key]


class Rations(Generic[K]):
    """A ration for each; one that is forgotten for want of room is whole again."""

    def __init__(self, per_second: float, burst: int, remembered: int = REMEMBERED) -> None:
        self._per_second = per_second
        self._burst = burst
        self._known: Remembered[K, Ration] = Remembered(remembered)

    def take(self, whose: K, now: float) -> bool:
        """Take one of somebody's; False when there is none left."""
        ration = self._known.get(whose) or Ration(self._per_second, self._burst, now)
        self._known.put(whose, ration)
        return ration.take(now)


class Failures(NamedTuple):
    """What is known of one that failed."""

    number: int
    at: float
    """When it failed last."""

    def and_one(self, now: float) -> Failures:
        """Return what is known after a further failure."""
        return Failures(1 if now - self.at >= FORGIVEN_AFTER_S else self.number + 1, now)

    def waits(self, now: float, longest_s: float) -> float:
        """Return how many seconds are left of the wait since the last failure; 0 where it is over."""
        if self.number < FREE_FAILURES:
            return 0.0
        doublings = min(self.number - FREE_FAILURES, 10)
        return max(0.0, self.at + min(longest_s, FIRST_WAIT_S * 2.0**doublings) - now)


_NONE = Failures(0, float("-inf"))


class _KeyRation:
    """What all failures with one access key draw on."""

    __slots__ = ("_ration", "closed_until")

    def __init__(self, now: float) -> None:
        self._ration = Ration(KEY_FAILURES_PER_S, KEY_FAILURES_AT_ONCE, now)
        self.closed_until = now

    def failed(self, now: float) -> None:
        if not self._ration.take(now):
            self.closed_until = now + KEY_WAIT_S


class Limits:
    """See the module. Addresses are what `neighbourhood` makes of them; a client is named by its id."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._strangers: Remembered[str, Failures] = Remembered(remembered)
        self._pairs: Remembered[tuple[int, str], Failures] = Remembered(remembered)
        self._keys: Remembered[int, _KeyRation] = Remembered(remembered)
        self._homes: Remembered[int, str] = Remembered(REMEMBERED_HOMES)

    def stranger_waits(self, address: str, now: float) -> float:
        """Return for how many seconds more an unknown key from this address is refused unseen."""
        return (self._strangers.get(address) or _NONE).waits(now, LONGEST_WAIT_S)

    def stranger_failed(self, address: str, now: float) -> None:
        """Count an unknown key or an unreadable token."""
        self._strangers.put(address, (self._strangers.get(address) or _NONE).and_one(now))

    def waits(self, client_id: int, address: str, now: float) -> float:
        """Return for how many seconds more this access key is refused at this address without a handshake."""
        at_home = self.is_home(client_id, address)
        longest_s = LONGEST_WAIT_AT_HOME_S if at_home else LONGEST_WAIT_S
        wait_s = (self._pairs.get((client_id, address)) or _NONE).waits(now, longest_s)
        ration = None if at_home else self._keys.get(client_id)
        return wait_s if ration is None else max(wait_s, ration.closed_until - now)

    def is_home(self, client_id: int, address: str) -> bool:
        """Tell whether this access key worked last at this address."""
        return self._homes.get(client_id) == address

    def failed(self, client_id: int, address: str, now: float) -> None:
        """Count a handshake that led to nothing."""
        self._pairs.put((client_id, address), (self._pairs.get((client_id, address)) or _NONE).and_one(now))
        ration = self._keys.get(client_id) or _KeyRation(now)
        ration.failed(now)
        self._keys.put(client_id, ration)

    def succeeded(self, client_id: int, address: str) -> None:
        """Forgive everything to a device that proved itself, and remember where it was."""
        if self._homes.get(client_id) != address:
            self._homes.put(client_id, address)
        if self._pairs.get((client_id, address)) is not None:
            self._pairs.drop(lambda pair: pair == (client_id, address))

    def forgive(self, clients: set[int]) -> None:
        """Let these clients try at once: their rows changed, so what failed may work now."""
        if clients:
            self._pairs.drop(lambda pair: pair[0] in clients)
            self._keys.drop(lambda client_id: client_id in clients)


class Bursts:
    """Which refusals are told: the first of each kind, then how many more there were."""

    def __init__(self, size: int = MAX_BURSTS) -> None:
        self._size = size
        self._open: dict[str, tuple[float, int]] = {}
        self._rest_since = 0.0
        self._rest = 0

    def is_first(self, what: str, now: float) -> bool:
        """Count a refusal; True when it is the first of its kind for a while, and there is room to tell it."""
        begun = self._open.get(what)
        if begun is not None:
            self._open[what] = (begun[0], begun[1] + 1)
            return False
        if len(self._open) < self._size:
            self._open[what] = (now, 0)
            return True
        self._rest_since = self._rest_since if self._rest else now
        self._rest += 1
        return False

    def ended(self, now: float) -> list[tuple[str, int]]:
        """Return what was refused again since it was told, and how often; a burst that goes on is counted anew."""
        over = [(what, more) for what, (since, more) in self._open.items() if now - since >= BURST_S]
        for what, more in over:
            if more:
                self._open[what] = (now, 0)
            else:
                del self._open[what]
        told = [(what, more) for what, more in over if more]
        if self._rest and now - self._rest_since >= BURST_S:
            told.append(("others", self._rest))
            self._rest = 0
        return told
