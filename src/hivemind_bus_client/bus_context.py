"""What a satellite writes into a bus message's context before sending it, and undoes in one it has received
(docs/protocol.md 3.1, 3.3). The messages given are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .message import Message

HIVEMIND = "HiveMind"
VERIFIED_SOURCE_KEY = "hivemind_verified_source_peer"

STATE_KEYS = ("active_handlers", "converse_handlers", "response_mode", "intent_context")
"""Session state that the hub hands out and expects back: OVOS keeps that of no session but its own device's."""
OTHERS_KEPT = 256
"""Sessions besides the own one whose state is kept, the latest."""


@dataclass(frozen=True)
class Speaker:
    """Who this satellite says it is."""

    useragent: str
    session_id: str
    site_id: str


def session_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the session in a context, empty if there is none. Raises ValueError if it is no
    object.
    """
    session = context.get("session")
    if session is None:
        return {}
    if not isinstance(session, dict):
        raise ValueError(f"context['session'] must be an object, not {type(session).__name__}")
    return dict(session)


def stamp(message: Message, speaker: Speaker, state: Mapping[str, Any], now: float) -> Message:
    """Return a copy of a message about to be sent, with the keys filled in that it lacks.

    ``state`` is what `session_state` kept of the hub's last message for the speaker's session, and goes into no
    other; ``now`` is Unix time.
    """
    session = session_of(message.context)
    if session.get("session_id") in (None, "", speaker.session_id):
        session = {**_live(state, now), **session}
    session["session_id"] = session.get("session_id") or speaker.session_id
    session["site_id"] = session.get("site_id") or speaker.site_id
    defaults = {"source": speaker.useragent, "platform": speaker.useragent, "destination": HIVEMIND}
    return Message(message.msg_type, message.data, {**defaults, **message.context, "session": session})


def _live(state: Mapping[str, Any], now: float) -> dict[str, Any]:
    kept = dict(state)
    mode = kept.get("response_mode")
    expires_at = mode.get("expires_at") if isinstance(mode, dict) else None
    if isinstance(expires_at, (int, float)) and expires_at <= now:
        del kept["response_mode"]
    return kept


def session_state(context: Mapping[str, Any], session_id: str) -> dict[str, Any] | None:
    """Return what to send back of the session in a received message, or None if that is not the own session."""
    session = context.get("session")
    if not isinstance(session, dict) or session.get("session_id") != session_id:
        return None
    state = {key: session[key] for key in STATE_KEYS if session.get(key) is not None}
    intents = session.get("context")  # what older OVOS calls `intent_context`
    if isinstance(intents, dict) and intents.get("frame_stack"):
        state["context"] = intents
    return state


class OtherSessions:
    """The state of sessions that others have over this connection: the users of a chat room, or of a bridge."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}

    def note(self, context: Mapping[str, Any]) -> None:
        """Keep what a received message says of its session; the oldest ones go where there are too many."""
        session = context.get("session")
        session_id = session.get("session_id") if isinstance(session, dict) else None
        if not isinstance(session_id, str):
            return
        self._states.pop(session_id, None)
        self._states[session_id] = session_state(context, session_id) or {}
        while len(self._states) > OTHERS_KEPT:
            del self._states[next(iter(self._states))]

    def state(self, session_id: str) -> dict[str, Any]:
        """Return what to send back in a session."""
        return self._states.get(session_id, {})


def localise(message: Message, speaker: Speaker) -> Message:
    """Return a copy of a received message as it goes onto the local bus."""
    context = {key: value for key, value in message.context.items() if key != VERIFIED_SOURCE_KEY}
    session = context.get("session")
    if isinstance(session, dict) and session.get("session_id") == speaker.session_id:
        context["session"] = {**session, "site_id": speaker.site_id}
    if "destination" in context:
        context["source"] = context.pop("destination")
    return Message(message.msg_type, message.data, context)
