"""Accounts for every message: delivered, reported as not delivered, excused by name, or lost. Pure.

Times are Unix seconds. Hubs and satellites are numbers. A message is carried by the hub at which it began: the one its
sender is connected to, or whose assistant says it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

UTTERANCE = "utterance"
TO_ALL = ("propagate", "broadcast", "cascade")
FRAMES = {**dict.fromkeys(TO_ALL, "mesh"), "answer": "back", "speak": "reply", "downstream": "direct"}
"""What hubs call that which brings a message to another hub."""
SETTLED_S = 2.0
"""A satellite is known to all hubs after so long, where nothing disturbs them."""
HANDED_S = 4.0
"""A message has arrived after so long, where nothing disturbs it; for this machine is slow and shared."""
RECOVERY_S = 8.0
"""So long after the end of a fault it may still be felt: connections are made anew, members missed and found."""
MISSED_S = 3.5
"""From so long on after it fell silent, a hub may be struck off by the others, which then know nothing of it."""
REPORTED_S = 50.0
"""So long after a message the report that it is not delivered may come."""

KILL, PAUSE, CUT, UNPLUG, REDIS = "kill", "pause", "cut", "unplug", "redis"


@dataclass(frozen=True)
class Fault:
    """Something that was done: to hubs, or to Redis (no hubs)."""

    kind: str
    hubs: frozenset[int]
    start: float
    end: float

    @property
    def felt_until(self) -> float:
        return self.end + RECOVERY_S


@dataclass(slots=True)
class Stay:
    """A connection of a satellite: from its admission to its end, as the satellite sees it."""

    hub: int
    up: float
    down: float = float("inf")


@dataclass(slots=True)
class Sent:
    """A message."""

    number: int
    kind: str
    at: float
    source: str
    hub: int
    receivers: tuple[int, ...]
    """Satellites; those of an utterance are none, its receiver is the assistant. To all: who is there, by the stays."""
    sender: int | None = None
    """The satellite that sent it, if one did."""
    way: float = 0.0
    """Since when its sender had the connection that it was sent on; order is kept on each."""
    question: int = 0
    """The message that it answers, if it is an answer of a satellite."""
    got: dict[int, float] = field(default_factory=dict)
    reported: bool = False


@dataclass(frozen=True)
class Report:
    """A line of a hub's log that says that something to another hub, or to all (None), was not delivered."""

    at: float
    hub: int
    to: int | None
    what: str


ASSISTANT = -1
"""The receiver of an utterance."""


class Ledger:
    """What was sent and what came; `failures` is what must be empty."""

    def __init__(self) -> None:
        self.sent: dict[int, Sent] = {}
        self.stays: dict[int, list[Stay]] = {}
        self.faults: list[Fault] = []
        self.reports: list[Report] = []
        self.failures: list[str] = []
        """Messages that came twice, to the wrong one or out of order."""
        self.reported_and_got = 0
        self.buses: dict[int, list[Stay]] = {}
        """The connections of hubs to their assistants' buses, as the assistants see them."""
        self._read: dict[tuple[int, float], float] = {}
        self._last: dict[tuple[str, int, float], int] = {}
        self._travelling: dict[tuple[int, str], int] = {}

    # what happens

    def up(self, satellite: int, hub: int, now: float) -> None:
        """A satellite was admitted."""
        self.stays.setdefault(satellite, []).append(Stay(hub, now))

    def down(self, satellite: int, now: float) -> None:
        """Its connection ended."""
        self.stays[satellite][-1].down = now

    def bus_up(self, hub: int, now: float) -> None:
        """A hub came onto its assistant's bus."""
        self.bus_down(hub, now)
        self.buses.setdefault(hub, []).append(Stay(hub, now))

    def bus_down(self, hub: int, now: float) -> None:
        """It is on it no more."""
        for stay in self.buses.get(hub, [])[-1:]:
            stay.down = min(stay.down, now)

    def note(self, sent: Sent) -> None:
        """A message is about to be sent."""
        self.sent[sent.number] = sent
        if sent.sender is not None:
            stay = self.stay(sent.sender, sent.at)
            sent.way = stay.up if stay is not None else 0.0
            self._travelling[sent.sender, sent.kind] = sent.number

    def came(self, number: int, receiver: int, now: float) -> None:
        """A message came to a satellite, or to the assistant."""
        sent = self.sent.get(number)
        if sent is None:
            self.failures.append(f"{number} came to {receiver} and was never sent")
            return
        if receiver in sent.got:
            self.failures.append(f"{_name(sent)} came to {receiver} twice, {now - sent.got[receiver]:.1f} s apart")
            return
        if not self._may_get(sent, receiver):
            self.failures.append(f"{_name(sent)} came to {receiver}, which it is not for")
        sent.got[receiver] = now
        way = (sent.source, receiver, sent.way)
        last = self._last.get(way, 0)
        if number < last and sent.kind != "answer":
            self.failures.append(f"{_name(sent)} came to {receiver} after {_name(self.sent[last])}")
        self._last[way] = max(number, last)

    @staticmethod
    def _may_get(sent: Sent, receiver: int) -> bool:
        if sent.kind in TO_ALL:
            return receiver != sent.sender and receiver != ASSISTANT
        return receiver == ASSISTANT if sent.kind == UTTERANCE else receiver in sent.receivers

    def told(self, number: int) -> None:
        """A hub said that a message does not arrive."""
        if number in self.sent:
            self.sent[number].reported = True

    def denied(self, satellite: int, kind: str) -> None:
        """A satellite was told that its message does not, or not everywhere, arrive; it sends few of each kind."""
        self.told(self._travelling.get((satellite, kind), 0))

    # the account

    def account(self) -> tuple[Counter[tuple[str, str]], list[str]]:
        """Return how many (kind, fate) there were, one for each receiver that a message has; and what is lost."""
        self._read.clear()
        reports = [_Line(report) for report in sorted(self.reports, key=lambda report: report.at)]
        found = [
            (sent, receiver, self._fate(sent, receiver))
            for sent in self.sent.values()
            for receiver in self._expected(sent)
        ]
        found = [(sent, to, self._logged(sent, to, reports) if fate == "LOST" else fate) for sent, to, fate in found]
        self.reported_and_got = sum(bool(sent.reported and sent.got) for sent in self.sent.values())
        lost = [f"{_name(sent)} to {to} at {self._where(to, sent.at)}" for sent, to, fate in found if fate == "LOST"]
        return Counter((sent.kind, fate) for sent, _, fate in found), lost

    def _logged(self, sent: Sent, receiver: int, reports: list[_Line]) -> str:
        """Return the fate of what has no excuse: its hub may have said so in its log."""
        to = self._where(receiver, sent.at)
        return "logged" if to not in (None, sent.hub) and _take_report(sent, to, reports) else "LOST"

    def _expected(self, sent: Sent) -> Iterator[int]:
        if sent.kind == UTTERANCE:
            yield ASSISTANT
        elif sent.kind not in TO_ALL:
            yield from sent.receivers
        else:
            for satellite in self.stays:
                if satellite in sent.got or (satellite != sent.sender and self.stay(satellite, sent.at)):
                    yield satellite

    def _where(self, receiver: int, at: float) -> int | None:
        stay = self.stay(receiver, at)
        return stay.hub if stay is not None else None

    def stay(self, satellite: int, at: float) -> Stay | None:
        """Return the connection that a satellite has at a time."""
        return _at(self.stays.get(satellite, []), at)

    def _fate(self, sent: Sent, receiver: int) -> str:
        if receiver in sent.got:
            return "delivered"
        if sent.reported:
            return "reported"
        stay = None if receiver == ASSISTANT else self.stay(receiver, sent.at)
        to = sent.hub if stay is None else stay.hub
        return self._excuse(sent, receiver, stay, to)

    def _excuse(self, sent: Sent, receiver: int, stay: Stay | None, to: int) -> str:
        end = self._window(sent.at, {sent.hub, to})
        if receiver != ASSISTANT and stay is None:
            return "receiver away"
        if stay is not None and stay.down < end:
            return "receiver left"
        if stay is not None and sent.question and self.sent[sent.question].way != stay.up:
            return "receiver left since it asked"
        if self._did(KILL, sent.hub, sent.at, end):
            return "its hub was killed"
        if sent.sender is not None and self._left(sent.sender, sent.at, end):
            return "sender left"
        if (sent.sender is None or stay is None) and self._bus_broke(sent.hub, sent.at, end):
            return "assistant's bus broke"
        if stay is None:
            return "LOST"
        if sent.kind not in TO_ALL and stay.up > sent.at - SETTLED_S:
            return "receiver just came"
        if self._is_news(stay, sent, to):
            return "receiver came in a fault"
        if to != sent.hub and self._is_new(sent.hub, to, sent.at):
            return "its hub had just started"
        if to != sent.hub and self._is_apart(to, sent.at):
            return "its hub was struck off"
        return "LOST"

    def _window(self, at: float, hubs: set[int]) -> float:
        """Return until when a message may be on its way: faults that touch these hubs, or Redis, hold it up."""
        end = at + HANDED_S
        touching = sorted(self._touching(hubs), key=lambda fault: fault.start)
        for fault in touching:
            if fault.start <= end and fault.felt_until >= at:
                end = max(end, fault.felt_until)
        return min(end, at + REPORTED_S)

    def _touching(self, hubs: set[int]) -> Iterable[Fault]:
        return (fault for fault in self.faults if not fault.hubs or fault.hubs & hubs)

    def _did(self, kind: str, hub: int, start: float, end: float) -> bool:
        return any(x.kind == kind and hub in x.hubs and x.start <= end and x.end >= start for x in self.faults)

    def _left(self, satellite: int, start: float, end: float) -> bool:
        stay = self.stay(satellite, start)
        return stay is None or stay.down < end

    def _bus_broke(self, hub: int, start: float, end: float) -> bool:
        """Tell whether a bus ended in time, or at any time if its hub had read nothing more from it by then."""
        stay = _at(self.buses.get(hub, []), start)
        return stay is None or stay.down < end or (stay.down < float("inf") and self._read_until(stay) < start)

    def _read_until(self, bus: Stay) -> float:
        """Return when the last message was said on a bus that its hub is known to have read."""
        known = self._read.get((bus.hub, bus.up))
        if known is None:
            said = (sent for sent in self.sent.values() if sent.hub == bus.hub and sent.sender is None)
            times = (sent.at for sent in said if bus.up <= sent.at < bus.down and (sent.got or sent.reported))
            known = self._read[bus.hub, bus.up] = max(times, default=bus.up)
        return known

    def _is_news(self, stay: Stay, sent: Sent, to: int) -> bool:
        """Tell whether the satellite came while hubs could not tell each other, and they still could not."""
        return any(
            fault.start - SETTLED_S <= stay.up and fault.start <= sent.at <= fault.felt_until
            for fault in self._touching({sent.hub, to})
        )

    def _is_new(self, hub: int, to: int, at: float) -> bool:
        """Tell whether a hub was started so late that it has not heard of another one yet."""
        starts = [fault.end for fault in self.faults if fault.kind == KILL and hub in fault.hubs and fault.end <= at]
        if not starts:
            return False
        started = max(starts)
        return at <= started + SETTLED_S or any(
            x.start <= started + SETTLED_S and started <= x.felt_until and at <= x.felt_until
            for x in self._touching({hub, to})
            if x.kind != KILL
        )

    def _is_apart(self, hub: int, at: float) -> bool:
        return any(
            hub in x.hubs and x.end - x.start >= MISSED_S and x.start + MISSED_S <= at <= x.felt_until
            for x in self.faults
        )


def _take_report(sent: Sent, to: int | None, reports: list[_Line]) -> bool:
    """Find a line of its hub's log that may be of this message; a line is of one message, for one hub or all."""
    fitting = (line for line in reports if line.number in (None, sent.number) and line.fits(sent, to))
    found = min(fitting, key=lambda line: (line.number is None, line.report.to is not None), default=None)
    if found is not None:
        found.number = sent.number
    return found is not None


@dataclass(slots=True)
class _Line:
    report: Report
    number: int | None = None
    """Of which message it was taken to be."""

    def fits(self, sent: Sent, to: int | None) -> bool:
        report, after_s = self.report, self.report.at - sent.at
        if report.hub != sent.hub or report.to not in (to, None):
            return False
        if report.to is None:  # said at once
            return report.what == sent.kind and -0.5 <= after_s <= HANDED_S
        return report.what == FRAMES[sent.kind] and -0.5 <= after_s <= REPORTED_S


def _at(stays: list[Stay], at: float) -> Stay | None:
    index = bisect_right(stays, at, key=lambda stay: stay.up) - 1
    return stays[index] if index >= 0 and stays[index].down > at else None


def _name(sent: Sent) -> str:
    return f"{sent.kind} {sent.number} of {sent.source} at hub {sent.hub} at {sent.at % 10_000:.2f}"
