"""What may travel on an OVOS message bus.

Every client of a bus rebuilds every frame, and a released one drops off the bus for seconds when that
fails, so one malformed frame takes the whole assistant off the air. `problem_with` judges what the hub is
about to emit for a satellite, `harm_in` what a local service sends; the session rules are those that released
clients were seen to need.

Newer OVOS services send a renamed message twice: under its new name and, marked in its context, under its
old one. `Twins` tells such a repetition from a message that only inherited the mark from one it answers.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from hivemind_bus_client import codec
from hivemind_bus_client.message import Message
from hivemind_bus_client.topics import TWIN_OF

MAX_FRAME_BYTES = 25 * 1024 * 1024
"""Largest frame an OVOS bus takes."""

TWIN_MARKS = ("_namespace_compat_twin", "_intent_compat_twin")

_TYPE = re.compile(r"[A-Za-z0-9.:_-]+")
_REMEMBERED = 16


def encode(message: Message) -> bytes:
    """The frame that carries a message on a bus. Raises TypeError when it holds what JSON cannot."""
    return codec.dumps_bytes({"type": message.msg_type, "data": message.data, "context": message.context})


def decode(frame: str | bytes) -> Any:
    """The JSON value of a frame. Raises InvalidJson."""
    return codec.loads(frame)


def message_of(value: Any) -> Message | None:
    """The message in a decoded frame; None when it is not one."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    data, context = value.get("data") or {}, value.get("context") or {}
    if not isinstance(data, dict) or not isinstance(context, dict):
        return None
    return Message(value["type"], data, context)


def problem_with(message: Message) -> str | None:
    """Why a message must not reach the bus, as a short sentence; None when it may."""
    if not isinstance(message.msg_type, str) or not _TYPE.fullmatch(message.msg_type):
        return "the type may hold only letters, digits and . : _ -"
    if not isinstance(message.data, dict):
        return "data is not an object"
    if not isinstance(message.context, dict):
        return "context is not an object"
    return _context_problem(message.context)


def harm_in(value: Any) -> str | None:
    """Why a decoded frame would knock other clients off the bus, in a short sentence; None: it would not."""
    if not isinstance(value, dict):
        return "the frame is not an object"
    if isinstance(value.get("type"), (dict, list)):
        return "the type is not a string"
    context = value.get("context") or {}
    if not isinstance(value.get("data") or {}, dict):
        return "data is not an object"
    return _context_problem(context) if isinstance(context, dict) else "context is not an object"


def _context_problem(context: dict[str, Any]) -> str | None:
    if "session" not in context:
        return None
    session = context["session"]
    return _session_problem(session) if isinstance(session, dict) else "context.session is not an object"


_SESSION_FIELDS: tuple[tuple[str, type, str], ...] = (
    ("session_id", str, "a string"),
    ("lang", str, "a string"),
    ("active_skills", list, "a list"),
    ("utterance_states", dict, "an object"),
)


def _session_problem(session: dict[str, Any]) -> str | None:
    for name, kind, wording in _SESSION_FIELDS:
        if session.get(name) is not None and not isinstance(session[name], kind):
            return f"session.{name} is not {wording}"
    intents = session.get("context", {})
    if not isinstance(intents, dict):
        return "session.context is not an object"
    frames = intents.get("frame_stack", [])
    if not isinstance(frames, list) or not all(map(_is_intent_frame, frames)):
        return "session.context.frame_stack is not a list of [frame, time] pairs"
    return None


def _is_intent_frame(entry: Any) -> bool:
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], dict):
        return False
    return entry[0].keys() <= {"entities", "metadata"}


def is_twin(message: Message) -> bool:
    """The context carries the mark of a repetition. Answers inherit it: ask `Twins` before dropping one."""
    context = message.context
    return bool(context.get(TWIN_MARKS[0]) or context.get(TWIN_MARKS[1]))


class Twins:
    """Remembers the latest messages that may be repeated under another name."""

    def __init__(self) -> None:
        self._expected: deque[tuple[str, Any, dict[str, Any]]] = deque(maxlen=_REMEMBERED)

    def repeats(self, message: Message) -> bool:
        """Whether a message repeats an earlier one under its other name. Call it once for each message."""
        if not is_twin(message):
            self._expect_twin_of(message)
            return False
        seen = (message.msg_type, message.context.get("destination"), message.data)
        try:
            self._expected.remove(seen)
        except ValueError:
            return False
        return True

    def _expect_twin_of(self, message: Message) -> None:
        name = TWIN_OF.get(message.msg_type) or _intent_partner(message.msg_type)
        if name:
            self._expected.append((name, message.context.get("destination"), message.data))


def _intent_partner(msg_type: str) -> str | None:
    return f"{msg_type}.intent" if ":" in msg_type and not msg_type.endswith(".intent") else None
