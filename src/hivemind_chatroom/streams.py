"""Open event streams (server-sent events), each with a bounded queue that never holds anybody up."""

from __future__ import annotations

import json
from queue import Empty, SimpleQueue
from typing import Any

from .messages import ChatMessage

MOST_WAITING = 512
"""Events that wait for one browser; beyond that its stream ends, and it asks for what it missed."""

MOST_AT_ONCE = 16 * 1024
"""Bytes after which no further event is sent along with those that waited before it."""

MOST_NAMED = 100
"""People of a room who are listed."""

BEAT = b": beat\n\n"


def event(name: str, data: Any, number: int | None = None) -> bytes:
    """Return an event as it is sent."""
    about = f"id: {number}\n" if number is not None else ""
    return f"{about}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


class Stream:
    """What one browser is yet to be told."""

    def __init__(self, browser: str, user_id: str, username: str, room: str) -> None:
        self.browser = browser
        self.user_id = user_id
        self.username = username
        self.room = room
        self.is_over = False
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()

    def put(self, told: bytes) -> None:
        """Let it be sent; never waits."""
        if self.is_over:
            return
        if self._waiting.qsize() >= MOST_WAITING:
            self.end()
        else:
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
                told += one
                if len(told) >= MOST_AT_ONCE:
                    return told
                one = self._waiting.get_nowait()
        except Empty:
            return told
        if told:
            self._waiting.put(None)
        return told or None


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
        told = event("message", message.as_dict(), message.seq)
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
