"""What comes from the hub, read into values: any shape of message gives one of them, none raises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import unquote

from hivemind_bus_client.denials import DENIED, read_denial
from hivemind_bus_client.topics import TWIN_OF

from .messages import Media
from .names import Unfit, clean_line, clean_text, language_tag

TURN = "chatroom_turn"
"""Context key: the number of the question that a message belongs to."""
MAX_TEXT = 20_000
"""Characters of what the assistant says."""
MAX_MEDIA = 20
MAX_LINE = 200
"""Characters of a title or a name."""
MAX_URI = 2_000
MAX_SESSION_BYTES = 32_768
MAX_SESSION_PARTS = 4_096
MAX_SESSION_DEPTH = 16
_MAX_NUMBER = 2**53
"""From here on JavaScript mixes numbers up."""


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """Whom a message is for."""

    turn: int | None = None
    """The question it belongs to, as its context says."""
    user: str = ""
    """The name in its context."""
    session_id: str = ""
    session: dict[str, Any] | None = field(default=None, repr=False)
    """The OVOS session as the assistant left it, a copy; None if it is missing, no JSON, or too large to keep."""
    site_id: str = ""


@dataclass(frozen=True)
class Spoken(Incoming):
    """The assistant says something."""

    text: str
    lang: str
    """Language tag; empty if none is given."""


@dataclass(frozen=True)
class Played(Incoming):
    """The assistant plays something."""

    media: tuple[Media, ...]


@dataclass(frozen=True)
class Denied(Incoming):
    """The hub denied a message."""

    denied_type: str
    code: str
    reason: str
    """What the hub said, without a final dot."""
    cure: str


@dataclass(frozen=True)
class Handled(Incoming):
    """The assistant has dealt with a question; more may still come."""


@dataclass(frozen=True)
class Unmatched(Incoming):
    """The assistant did not understand a question."""


@dataclass(frozen=True)
class Cancelled(Incoming):
    """The assistant dropped a question."""


@dataclass(frozen=True)
class Ignored(Incoming):
    """Nothing to show."""


def _string(value: Any) -> str:
    """A string, or a number as one; empty for everything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # thousands of digits
            return ""
    return ""


def _line(value: Any, limit: int = MAX_LINE) -> str:
    return clean_line(_string(value), limit)


def _object(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _entries(value: Any) -> list[Any]:
    """A list as it is, anything else as its only entry."""
    if isinstance(value, (list, tuple)):
        return list(value[:MAX_MEDIA])
    return [] if value is None else [value]


def _is_small(value: Any) -> bool:
    """Tell whether a value may be written as JSON: not too deep, not too many parts, even if it contains itself."""
    level, parts = [value], 0
    for _ in range(MAX_SESSION_DEPTH):
        parts += len(level)
        if not level or parts > MAX_SESSION_PARTS:
            break
        level = list(islice(_below(level), MAX_SESSION_PARTS + 1))
    return not level and parts <= MAX_SESSION_PARTS


def _below(level: Iterable[Any]) -> Iterator[Any]:
    for value in level:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, (list, tuple)):
            yield from value


def _session(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not _is_small(value):
        return None
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return None
    if len(written) > MAX_SESSION_BYTES:
        return None
    read: dict[str, Any] = json.loads(written)
    return read


def _turn(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_NUMBER else None


def _addressee(context: dict[Any, Any]) -> dict[str, Any]:
    """The fields that every value has."""
    session = _object(context.get("session"))
    return {
        "turn": _turn(context.get(TURN)),
        "user": _line(context["user"]) if isinstance(context.get("user"), str) else "",
        "session_id": _line(session.get("session_id")),
        "session": _session(context.get("session")),
        "site_id": _line(session.get("site_id")),
    }


def _language(*candidates: Any) -> str:
    """The first that is a language tag."""
    for candidate in candidates:
        try:
            return language_tag(_string(candidate))
        except Unfit:
            continue
    return ""


def _spoken(data: dict[Any, Any], context: dict[Any, Any]) -> Incoming:
    text = clean_text(_string(data.get("utterance"))[: 2 * MAX_TEXT])[:MAX_TEXT]
    if not text:
        return Ignored(**_addressee(context))
    lang = _language(data.get("lang"), _object(context.get("session")).get("lang"))
    return Spoken(text, lang, **_addressee(context))


def _uri(value: Any) -> str:
    text = _string(value)
    return clean_line(text, MAX_URI) if len(text) <= MAX_URI else ""


def _last_part(uri: str) -> str:
    path = uri.partition("?")[0].partition("#")[0].rstrip("/")
    return clean_line(unquote(path.rpartition("/")[2]), MAX_LINE) or clean_line(uri, MAX_LINE)


def _media(entry: Any) -> Media | None:
    if isinstance(entry, (list, tuple)):  # [uri, MIME type]
        entry = entry[0] if entry else None
    found = entry if isinstance(entry, dict) else {"uri": entry}
    uri = _uri(found.get("uri")) or _uri(found.get("url"))
    title = _line(found.get("title")) or _last_part(uri)
    artist = _line(found.get("artist"))
    if not (title or artist):
        return None
    return Media(title, artist, uri, _uri(found.get("image")))


def _played(entries: Iterable[Any], context: dict[Any, Any]) -> Incoming:
    found: dict[str, Media] = {}
    for media in map(_media, entries):
        if media is not None:
            found.setdefault(media.uri or str(media), media)  # a playlist repeats what is played first
    if not found:
        return Ignored(**_addressee(context))
    return Played(tuple(found.values())[:MAX_MEDIA], **_addressee(context))


def _common_play(data: dict[Any, Any], context: dict[Any, Any]) -> Incoming:
    media = _entries(data.get("media"))
    within = [entry for found in media for entry in _entries(_object(found).get("playlist"))]
    return _played([*media, *within, *_entries(data.get("playlist"))], context)


def _audio_service(data: dict[Any, Any], context: dict[Any, Any]) -> Incoming:
    return _played(_entries(data.get("tracks")), context)


def _denied(data: dict[Any, Any], context: dict[Any, Any]) -> Incoming:
    denial = read_denial(
        {name: _line(data.get(name), MAX_URI) for name in ("code", "denied_type", "reason")},
        {name: _line(context.get(name)) for name in ("destination", "source")},
    )
    denied_type = denial.denied_type[:MAX_LINE]
    return Denied(denied_type, denial.code[:MAX_LINE], denial.reason, denial.cure, **_addressee(context))


def _end(kind: type[Incoming]) -> Callable[[dict[Any, Any], dict[Any, Any]], Incoming]:
    return lambda data, context: kind(**_addressee(context))


_READERS: dict[str, Callable[[dict[Any, Any], dict[Any, Any]], Incoming]] = {
    "speak": _spoken,
    "ovos.common_play.play": _common_play,
    "mycroft.audio.service.play": _audio_service,
    "ovos.audio.service.play": _audio_service,
    DENIED: _denied,
    "ovos.utterance.handled": _end(Handled),
    "complete_intent_failure": _end(Unmatched),
    "ovos.utterance.cancelled": _end(Cancelled),
}

TOPICS: tuple[str, ...] = tuple(_READERS)
"""What to subscribe to: the older names, the client hears the newer ones (`hivemind_bus_client.topics`) besides."""


def read(msg_type: Any, data: Any, context: Any) -> Incoming:
    """Return what a message of the bus means here, whatever its parts are."""
    topic = msg_type if isinstance(msg_type, str) else ""
    reader = _READERS.get(topic) or _READERS.get(TWIN_OF.get(topic, "")) or _end(Ignored)
    return reader(_object(data), _object(context))
