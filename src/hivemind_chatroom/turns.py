"""Questions that were asked, and which answer belongs to which. Pure; used under the lock of `chat`."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .people import Person

BUSY_S = 10.0
"""After which an assistant that has said nothing is no longer taken to be busy with a question."""
REMEMBERED = 1000
"""Closed questions that a late answer still finds."""


@dataclass
class Turn:
    """One question."""

    id: int
    """The number of its message, which travels with it."""
    person: Person
    room: str
    lang: str
    text: str = field(repr=False)
    private: bool
    deadline: float
    """When it is over at the latest, in monotonic seconds."""
    is_sent: bool = False
    sent_at: float = 0.0
    """When, in monotonic seconds."""
    was_cut: bool = False
    """The link was lost since it was sent."""
    is_unmatched: bool = False
    """The assistant has said that it does not understand it."""
    replies: int = 0
    is_open: bool = True


class Turns:
    """Open questions, and the last closed ones. ``answer_s`` is how long an answer may take."""

    def __init__(self, answer_s: float) -> None:
        self._answer_s = answer_s
        self._turns: OrderedDict[int, Turn] = OrderedDict()

    def add(self, turn: Turn) -> None:
        """Note a question."""
        self._turns[turn.id] = turn
        closed = (number for number, each in self._turns.items() if not each.is_open)
        if len(self._turns) > REMEMBERED and (oldest := next(closed, None)) is not None:
            del self._turns[oldest]

    def get(self, number: int) -> Turn | None:
        """Return a question by its number."""
        return self._turns.get(number)

    def open_turns(self) -> Iterator[Turn]:
        """The questions that are open, oldest first."""
        return (turn for turn in self._turns.values() if turn.is_open)

    def sent(self, turn: Turn, now: float) -> None:
        """A question has gone out; it is due to be answered."""
        turn.is_sent, turn.sent_at = True, now
        turn.deadline = now + self._answer_s

    def heard(self, turn: Turn, now: float) -> None:
        """An answer, or a part of one, has come."""
        turn.replies += 1
        turn.deadline = now + self._answer_s

    def asking(self, now: float) -> Counter[str]:
        """Return how many questions of each address the assistant is probably busy with: sent a moment ago, and not
        answered.
        """
        return Counter(
            turn.person.address
            for turn in self.open_turns()
            if turn.is_sent and not turn.replies and now - turn.sent_at < BUSY_S
        )

    def answered_by(self, number: int | None, session_id: str) -> Turn | None:
        """Return the question that a message from the assistant belongs to.

        It is named in the message; else it is the oldest open one of the same conversation, else the last one there.
        """
        if number is not None:
            named = self._turns.get(number)
            return named if named is not None and named.is_sent else None
        same = [turn for turn in self._turns.values() if turn.is_sent and turn.person.session_id == session_id]
        return next((turn for turn in same if turn.is_open), same[-1] if same else None)

    def last_sent(self) -> Turn | None:
        """Return the open question sent last that has heard nothing: a hub that denies one need not name it."""
        silent = [turn for turn in self.open_turns() if turn.is_sent and not turn.replies]
        return silent[-1] if silent else None

    def due(self, now: float) -> list[Turn]:
        """Return the open questions whose time is over."""
        return [turn for turn in self.open_turns() if now >= turn.deadline]
