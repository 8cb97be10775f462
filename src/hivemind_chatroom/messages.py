"""A line of the conversation, as the rooms keep it and as the page and scripts read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from .settings import BOT


class Role(str, Enum):
    """Who speaks."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class Kind(str, Enum):
    """What it is."""

    TEXT = "text"
    MEDIA = "media"
    ANNOUNCEMENT = "announcement"
    """The assistant says it unasked."""
    NOTICE = "notice"
    """The chatroom says something about itself."""


class State(str, Enum):
    """What became of a person's message; NONE for all others."""

    NONE = ""
    SENDING = "sending"
    SENT = "sent"
    ANSWERED = "answered"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True)
class Media:
    """Something to play or look at."""

    title: str = ""
    artist: str = ""
    uri: str = ""
    image: str = ""

    @property
    def characters(self) -> int:
        """How long it is, all in all."""
        return len(self.title) + len(self.artist) + len(self.uri) + len(self.image)

    def __str__(self) -> str:
        named = " - ".join(part for part in (self.artist, self.title) if part)
        return "\n".join(part for part in (named, self.uri) if part)


@dataclass(frozen=True)
class Draft:
    """A line that has no number yet."""

    room: str
    role: Role
    text: str
    time: float
    """Unix time, seconds."""
    kind: Kind = Kind.TEXT
    username: str = BOT
    user_id: str = ""
    """Public; the same for all that one person says under one name. Empty for the assistant."""
    lang: str = ""
    state: State = State.NONE
    note: str = ""
    """What the state means, and what to do about it."""
    reply_to: int | None = None
    """The number of the question it answers."""
    to: str = ""
    """The name of who asked."""
    private: bool = False
    owner: str = ""
    """The browser that may see it if it is private; never shown."""
    media: Media | None = None


@dataclass(frozen=True)
class ChatMessage(Draft):
    """A line of a room."""

    id: int = 0
    """Its number: larger than that of any earlier line or change."""
    seq: int = 0
    """The number of its last change, its making included."""

    @property
    def characters(self) -> int:
        """How long it is, all in all."""
        return len(self.text) + len(self.note) + (self.media.characters if self.media is not None else 0)

    @property
    def message(self) -> str:
        """The text as the released chatroom words it."""
        return f"@{self.to} - {self.text}" if self.to and self.role is Role.ASSISTANT else self.text

    def visible_to(self, browser: str) -> bool:
        """Tell whether a browser may see it."""
        return not self.private or (bool(browser) and self.owner == browser)

    def as_dict(self) -> dict[str, Any]:
        """Return what others may see of it, ready for JSON."""
        shown = self.stored()
        del shown["owner"]
        return {**shown, "incoming": self.role is not Role.USER, "message": self.message}

    def stored(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        found = {name: getattr(self, name) for name in _NAMES}  # `asdict` copies, which takes ten times as long
        found = {name: value.value if isinstance(value, Enum) else value for name, value in found.items()}
        return {**found, "media": None if self.media is None else asdict(self.media)}


_NAMES = tuple(field.name for field in fields(ChatMessage))


def restored(stored: Mapping[str, Any]) -> ChatMessage:
    """Return the line that `stored` wrote. Raises KeyError, TypeError, ValueError for something else."""
    known = {key: value for key, value in stored.items() if key in _NAMES}
    media = known.get("media")
    changes = {
        "role": Role(known["role"]),
        "kind": Kind(known["kind"]),
        "state": State(known["state"]),
        "media": Media(**media) if media else None,
    }
    return ChatMessage(**{**known, **changes})
