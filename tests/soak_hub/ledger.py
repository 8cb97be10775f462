"""Accounts for every message of a hive of one hub: answered, reported, excused by name, or lost. Pure.

Times are Unix seconds, satellites are numbers. An utterance is accounted for by its answer, which its sender gets; what
is told to all by each who was there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

from soak.ledger import UTTERANCE, Sent, Stay

SETTLED_S = 2.0
"""Who came so shortly before may not have been there yet."""
LEFT_S = 5.0
"""Who left so shortly after may have left before."""
AWAY_S = 40.0
"""A hub gives up a bus that stands still after so long at most; what it had taken by then is gone."""
PAUSED_S = 8.0
"""So long after this process itself stood still, a connection may have ended by that."""


class HubLedger:
    """What was sent and what came; `failures` is what must be empty."""

    def __init__(self) -> None:
        self.sent: dict[int, Sent] = {}
        self.stays: dict[int, list[Stay]] = {}
        self.failures: list[str] = []
        self.bus_losses: list[float] = []
        """When the hub lost its assistant's bus."""
        self.pauses: list[float] = []
        """When this process stood still: it, too, is on a machine that is shared."""
        self._latest: dict[tuple[int, str], int] = {}

    # what happens; called by soak.satellites

    def up(self, satellite: int, hub: int, now: float) -> None:
        """A satellite was admitted."""
        self.stays.setdefault(satellite, []).append(Stay(hub, now))

    def down(self, satellite: int, now: float) -> None:
        """Its connection ended."""
        self.stays[satellite][-1].down = now

    def note(self, sent: Sent) -> None:
        """A message is about to be sent."""
        self.sent[sent.number] = sent
        if sent.sender is not None:
            self._latest[sent.sender, sent.kind] = sent.number

    def came(self, number: int, receiver: int, now: float) -> None:
        """A message, or the answer to it, came to a satellite."""
        sent = self.sent.get(number)
        if sent is None:
            self.failures.append(f"{number} came to {receiver} and was never sent")
        elif receiver in sent.got:
            self.failures.append(f"{sent.kind} {number} came to {receiver} twice")
        elif (receiver == sent.sender) != (sent.kind == UTTERANCE):
            self.failures.append(f"{sent.kind} {number} of {sent.sender} came to {receiver}, which it is not for")
        else:
            sent.got[receiver] = now

    def denied(self, satellite: int, kind: str) -> None:
        """A satellite was told that its message does not arrive; it has one of a kind under way."""
        number = self._latest.get((satellite, kind))
        if number is not None:
            self.sent[number].reported = True

    def is_free(self, satellite: int, kind: str, now: float) -> bool:
        """Tell whether a satellite may send one more of a kind: the last one is settled, or nobody waits for it."""
        last = self.sent.get(self._latest.get((satellite, kind), 0))
        return last is None or bool(last.reported or last.got) or now - last.at > AWAY_S

    # the account

    def account(self) -> tuple[Counter[tuple[str, str]], list[str]]:
        """Return how many (kind, fate) there were, one for each receiver that a message has; and what is lost."""
        found = [(sent, to, self._fate(sent, to)) for sent in self.sent.values() for to in self._receivers(sent)]
        lost = [f"{sent.kind} {sent.number} of {sent.sender} to {to}" for sent, to, fate in found if fate == "LOST"]
        return Counter((sent.kind, fate) for sent, _, fate in found), lost

    def _receivers(self, sent: Sent) -> Iterator[int]:
        if sent.kind == UTTERANCE:
            assert sent.sender is not None
            yield sent.sender
            return
        for satellite in self.stays:
            if satellite in sent.got or (satellite != sent.sender and self._stay(satellite, sent.at)):
                yield satellite

    def _stay(self, satellite: int, at: float) -> Stay | None:
        stays = self.stays.get(satellite, [])
        index = bisect_right(stays, at, key=lambda stay: stay.up) - 1
        return stays[index] if index >= 0 and stays[index].down > at else None

    def _fate(self, sent: Sent, receiver: int) -> str:
        if receiver in sent.got:
            return "delivered"
        if sent.reported:
            return "reported"
        if any(sent.at <= lost <= sent.at + AWAY_S for lost in self.bus_losses) and sent.kind == UTTERANCE:
            return "bus lost"
        stay = self._stay(receiver, sent.at)
        if stay is None or stay.up > sent.at - SETTLED_S:
            return "receiver just came"
        if stay.down < sent.at + (AWAY_S if sent.kind == UTTERANCE else LEFT_S):
            return "receiver left"
        return "LOST"

    def harm(self, ended_on_purpose: float) -> list[str]:
        """Return which connections of satellites ended that had no reason to, until a time."""
        return [
            f"satellite {satellite} lost its connection at {stay.down % 10_000:.1f}"
            for satellite, stays in self.stays.items()
            for stay in stays
            if stay.down < ended_on_purpose and not any(0 <= stay.down - at <= PAUSED_S for at in self.pauses)
        ]
