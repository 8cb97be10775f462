"""Open event streams (server-sent events), each with a bounded queue that never holds anybody up."""

from __future__ import annotations

import json
from queue import Empty, SimpleQueue
from typing import Any

from .messages import ChatMessage

MOST_WAITING = 512
"""Events that wait for one browser; beyond that its stream ends, and it asks for what it missed."""

MOST_WAITING_BYTES = 2 * 1024 * 1024
"""The same, for what was told live."""

MOST_AT_ONCE = 16 * 1024
"""Bytes after which no further event is sent along with those that waited before it."""

MOST_NAMED = 100
"""People of a room who are listed."""

BEAT = b": beat\n\n"


def event(name: str, data: Any, number: int | None = None) -> bytes:
    """Return an event as it is sent."""
    about = f"id: {number}\n" if number is not None else ""
    return f"{about}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


def message_event(message: ChatMessage) -> bytes:
    """Return the event of a line, new or changed."""
    return event("message", message.as_dict(), message.seq)


class Stream:
    """What one browser is yet to be told."""

    def __init__(self, browser: str, user_id: str, username: str, room: str) -> None:
        self.browser = browser
        self.user_id = user_id
        self.username = username
        self.room = room
        self.is_over = False
        self._waiting: SimpleQueue[bytes | ChatMessage | None] = SimpleQueue()
        self._put = 0
        self._taken = 0
        """Bytes; each is written by one thread only."""

    def put(self, told: bytes | ChatMessage) -> None:
        """Let it be sent; never waits. A line becomes an event when it is sent: of many streams that catch up with the
        same lines none keeps them twice, nor takes the time of those who wait for the lock.
        """
        if self.is_over:
            return
        if self._waiting.qsize() >= MOST_WAITING or self._put - self._taken > MOST_WAITING_BYTES:
            self.end()
            return
        if isinstance(told, bytes):
            self._put += len(told)
        self._waiting.put(told)

    def end(self, last: bytes | None = None) -> None:
        """No more of it, but for one last word; does nothing the second time."""
        if self.is_over:
            return
        self.is_over = True
        if last is not None:
            self._waiting.put(last)
        self._waiting.put(None)

    def next(self, timeout_s: float) -> bytes | None:
        """Return what is next, with what waits behind it; nothing when nothing comes in time, None at the end."""
        told = b""
        try:
            one = self._waiting.get(timeout=timeout_s)
            while one is not None:
                told += self._take(one)
                if len(told) >= MOST_AT_ONCE:
                    return told
                one = self._waiting.get_nowait()
        except Empty:
            return told
        if told:
            self._waiting.put(None)
        return told or None

    def _take(self, one: bytes | ChatMessage) -> bytes:
        if isinstance(one, ChatMessage):
            return message_event(one)
        self._taken += len(one)
        return one


class Audience:
    """All open streams."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._streams: dict[Stream, str] = {}

    def has_place_for(self, address: str) -> bool:
        """Tell whether an address may open one more."""
        of_address = sum(1 for each in self._streams.values() if each == address)
        return len(self._streams) < self._most and of_address < self._most_each

    def add(self, stream: Stream, address: str) -> None:
        """Take a stream in."""
        self._streams[stream] = address

    def remove(self, stream: Stream) -> None:
        """Let a stream go."""
        self._streams.pop(stream, None)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def rooms(self) -> set[str]:
        """Rooms that somebody looks at."""
        return {stream.room for stream in self._streams}

    @property
    def present(self) -> set[str]:
        """Public ids of those who look on."""
        return {stream.user_id for stream in self._streams}

    def people(self, room: str) -> list[dict[str, str]]:
        """Return who looks at a room, by name."""
        found = {s.user_id: s.username for s in self._streams if s.room == room}
        named = sorted(found.items(), key=lambda pair: pair[1])[:MOST_NAMED]
        return [{"user_id": key, "username": name} for key, name in named]

    def changed(self, message: ChatMessage) -> None:
        """Tell all who may see it of a line, new or changed."""
        told = message_event(message)
        for stream in self._streams:
            if stream.room == message.room and message.visible_to(stream.browser):
                stream.put(told)

    def tell(self, told: bytes, room: str | None = None, browser: str | None = None) -> None:
        """Tell everybody, or one room, or one browser."""
        for stream in self._streams:
            if room in (None, stream.room) and browser in (None, stream.browser):
                stream.put(told)

    def end(self, last: bytes) -> None:
        """Let all streams end."""
        for stream in self._streams:
            stream.end(last)
