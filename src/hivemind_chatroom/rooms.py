"""The rooms: their lines, in one numbering, bounded. Pure; used under the lock of `chat`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

from .messages import ChatMessage, Draft

IDLE_S = 600.0
"""After which a room that nobody looks at makes room for another."""


MOST_CHARACTERS = 500_000
"""Of all lines of a room together; the newest is kept whatever it has."""
MOST_LISTED_CHARACTERS = 1_000_000
"""Of all lines that are returned at a time."""
SHARE = 4
"""One address may open this part of all rooms; once there are no more, who has more than that makes room."""


class TooManyRooms(Exception):
    """Every room there may be is in use."""


class Room:
    """One room: its newest lines, by number."""

    def __init__(self, name: str, most: int, opener: str = "") -> None:
        self.name = name
        self.opener = opener
        """The address from which somebody was the first here."""
        self.used = 0.0
        """When somebody was last here, in monotonic seconds."""
        self.newest = 0
        """Number of the last change."""
        self._most = most
        self._lines: dict[int, ChatMessage] = {}
        self._characters = 0

    def put(self, message: ChatMessage) -> None:
        """Add a line, or put a changed one in its place."""
        before = self._lines.get(message.id)
        self._lines[message.id] = message
        self._characters += message.characters - (before.characters if before is not None else 0)
        self.newest = max(self.newest, message.seq)
        while len(self._lines) > self._most or (self._characters > MOST_CHARACTERS and len(self._lines) > 1):
            self._characters -= self._lines.pop(next(iter(self._lines))).characters

    def get(self, number: int) -> ChatMessage | None:
        """Return a line, if it is still kept."""
        return self._lines.get(number)

    def since(self, number: int) -> list[ChatMessage]:
        """Return what is new or changed after a number, oldest first."""
        if number >= self.newest:
            return []
        return [message for message in self._lines.values() if message.seq > number]

    def __iter__(self) -> Iterator[ChatMessage]:
        return iter(self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)


class Rooms:
    """All rooms. ``first`` is the first number given; numbers only grow."""

    def __init__(self, most: int, history: int, first: int) -> None:
        self._most = most
        self._history = history
        self._number = first
        self._rooms: dict[str, Room] = {}
        self._where: dict[int, Room] = {}

    @property
    def newest(self) -> int:
        """The last number given."""
        return self._number

    def restore(self, lines: Iterable[ChatMessage]) -> None:
        """Take in lines of an earlier run, oldest first; as many rooms as there may be."""
        for message in lines:
            self._number = max(self._number, message.seq)
            if message.room not in self._rooms and len(self._rooms) >= self._most:
                continue
            self._put(self._rooms.setdefault(message.room, Room(message.room, self._history)), message)

    def enter(self, name: str, now: float, in_use: Collection[str] = (), opener: str = "") -> Room:
        """Return the room of a name, making it for the address ``opener``. Raises TooManyRooms when all others are
        ``in_use`` or fresh.
        """
        room = self._rooms.get(name)
        if room is None:
            if len(self._rooms) >= self._most:
                self._make_way(now, in_use, opener)
            room = self._rooms[name] = Room(name, self._history, opener)
        room.used = now
        return room

    def _make_way(self, now: float, in_use: Collection[str], opener: str) -> None:
        leaving = min(self._dispensable(now, in_use, opener), key=lambda room: room.used, default=None)
        if leaving is None:
            raise TooManyRooms
        del self._rooms[leaving.name]
        for message in leaving:
            self._where.pop(message.id, None)

    def _dispensable(self, now: float, in_use: Collection[str], opener: str) -> list[Room]:
        """Rooms of which one may go: idle ones, else empty ones. An address that has opened more than its share has to
        choose among its own, and gives way to others even with a fresh one.
        """
        free = [room for room in self._rooms.values() if room.name not in in_use]
        opened = Counter(room.opener for room in self._rooms.values() if room.opener)
        share = max(1, self._most // SHARE)
        ours = [room for room in free if opened[opener] <= share or room.opener == opener]
        idle = [room for room in ours if now - room.used > IDLE_S] or [room for room in ours if not len(room)]
        if idle or not opened:
            return idle
        [(greedy, number)] = opened.most_common(1)
        return [room for room in free if room.opener == greedy] if number > max(share, opened[opener] + 1) else []

    def names(self) -> list[str]:
        """Return the names of the rooms there are."""
        return list(self._rooms)

    def all(self) -> Iterator[ChatMessage]:
        """Every line that is kept."""
        return (message for room in self._rooms.values() for message in room)

    def post(self, draft: Draft, now: float, in_use: Collection[str] = (), opener: str = "") -> ChatMessage:
        """Add a line to its room; see `enter`. Raises TooManyRooms."""
        room = self.enter(draft.room, now, in_use, opener)
        number = self._next()
        values = asdict(draft)
        values["media"] = draft.media
        return self._put(room, ChatMessage(**values, id=number, seq=number))

    def change(self, number: int, **changes: Any) -> ChatMessage | None:
        """Change a line and return it; None if it is no longer kept."""
        room = self._where.get(number)
        found = room.get(number) if room is not None else None
        if room is None or found is None:
            return None
        return self._put(room, replace(found, **changes, seq=self._next()))

    def get(self, number: int) -> ChatMessage | None:
        """Return a line, if it is still kept."""
        room = self._where.get(number)
        return room.get(number) if room is not None else None

    def since(self, name: str | None, number: int, browser: str, limit: int) -> list[ChatMessage]:
        """Return at most ``limit`` of what a browser may see, new or changed after a number, in one room or all: the
        newest, oldest first.
        """
        rooms = list(self._rooms.values()) if name is None else [r for r in (self._rooms.get(name),) if r is not None]
        found = [message for room in rooms for message in room.since(number) if message.visible_to(browser)]
        if len(rooms) > 1:
            found.sort(key=lambda message: message.id)
        return _newest(found[max(0, len(found) - limit) :])

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _put(self, room: Room, message: ChatMessage) -> ChatMessage:
        room.put(message)
        self._where[message.id] = room
        if len(self._where) > 2 * self._history * max(1, len(self._rooms)):
            self._where = {line.id: each for each in self._rooms.values() for line in each}
        return message


def _newest(lines: list[ChatMessage]) -> list[ChatMessage]:
    """Leave out the oldest of more than may be returned at a time."""
    characters = 0
    for at in range(len(lines) - 1, -1, -1):
        characters += lines[at].characters
        if characters > MOST_LISTED_CHARACTERS:
            return lines[at + 1 :]
    return lines
