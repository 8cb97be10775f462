"""What skills of older OVOS have asked in a session and not yet been answered.

Older OVOS keeps no session but its own device's: a satellite that does not say with its answer what was asked is not
understood. It is told only what the question needs, and not which other skills were active: OVOS would ask them all
first, half a second long, and let none go. Newer OVOS has `response_mode` for this (`bus_context`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .topics import TWIN_OF

ASKED = "response"
"""Written beside a skill in the session's ``utterance_states`` while it waits."""
ASKING = frozenset({"speak", TWIN_OF["speak"], "skill.converse.get_response.enable"})
"""Messages by which a skill asks; others carry what it has asked along."""
ANSWERABLE_S = 30.0
"""A skill waits 20 seconds. One that was lost with its answer must not get all that is said from then on."""
MAX_OPEN = 256

_KEYS = ("active_skills", "utterance_states")


class OpenQuestions:
    """The open question of each session, the latest sessions; times are monotonic seconds."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[dict[str, Any], float]] = {}

    def note(self, topic: object, context: Mapping[str, Any], now: float) -> None:
        """Take note of a bus message from the hub: its type and context."""
        session = context.get("session")
        session_id = session.get("session_id") if isinstance(session, dict) else None
        if not isinstance(session, dict) or not isinstance(session_id, str):
            return
        states = session.get("utterance_states")
        if not isinstance(states, dict) or ASKED not in states.values():
            self._open.pop(session_id, None)
        elif isinstance(topic, str) and topic in ASKING:
            self._open.pop(session_id, None)
            self._open[session_id] = ({key: session[key] for key in _KEYS if key in session}, now + ANSWERABLE_S)
            if len(self._open) > MAX_OPEN:
                del self._open[next(iter(self._open))]

    def state(self, session_id: str, now: float) -> dict[str, Any]:
        """Return what to send along with an answer in this session; empty if nothing is asked."""
        state, until = self._open.get(session_id, ({}, now))
        return state if now < until else {}
