"""Acknowledging speech that is not played: when a satellite that plays no audio says that it has.

A skill that waits until its words are spoken waits for these two messages in the session it spoke in, 15 seconds long
where nobody sends them. Real players send the first when they begin and the second when they are done; one that shows
the words instead begins at once, and is done when its handlers have returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .denials import DENIED
from .topics import TWIN_OF

STARTED, ENDED = "recognizer_loop:audio_output_start", "recognizer_loop:audio_output_end"
"""What is sent. Newer OVOS takes these older names too, and a hub that allows one generation allows this one."""
ACKNOWLEDGEMENTS = frozenset({STARTED, ENDED, TWIN_OF[STARTED], TWIN_OF[ENDED]})
SPEECH = frozenset({"speak", TWIN_OF["speak"]})

SHORTEST_S = 0.15
"""Between the words and the end of their playback: a skill that hears of the end before it waits waits in vain."""
LONGEST_S = 10.0
"""Handlers that take longer than this are not waited for."""
MAX_SESSIONS = 1_000

NOT_OURS = "default"
"""The session of the device that the assistant runs on, which plays by itself."""


@dataclass
class _Playback:
    """What one session is told, from the first words until nothing is left to play."""

    session: Mapping[str, Any]
    told_at: float
    newest: int
    started_at: float | None = None
    shown: bool = False
    """The handlers of the newest words have returned."""

    def due_at(self) -> float:
        if self.started_at is None:
            return self.told_at
        return max(self.told_at, self.started_at) + (SHORTEST_S if self.shown else LONGEST_S)


class Acknowledgements:
    """Says what to send in each session, and when; times are monotonic seconds.

    Words that come while others are still played are played after them: one start, and one end after the last.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, _Playback] = {}
        self._told = 0

    def told(self, session: Mapping[str, Any], now: float) -> int:
        """Note words to speak in a session; return the number to call `shown` with."""
        self._told += 1
        session_id = str(session["session_id"])
        playing = self._sessions.get(session_id)
        if playing is not None:
            playing.told_at, playing.newest, playing.shown = now, self._told, False
        elif len(self._sessions) < MAX_SESSIONS:
            self._sessions[session_id] = _Playback(session, now, self._told)
        return self._told

    def shown(self, session_id: str, number: int) -> None:
        """Note that the handlers of these words, and so of all before them, have returned."""
        playing = self._sessions.get(session_id)
        if playing is not None and number >= playing.newest:
            playing.shown = True

    def due(self, now: float) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what to send now, each message's type with the session to send it in."""
        due = [(session_id, playing) for session_id, playing in self._sessions.items() if playing.due_at() <= now]
        found = [(STARTED if playing.started_at is None else ENDED, playing.session) for _, playing in due]
        for session_id, playing in due:
            if playing.started_at is None:
                playing.started_at = now
            else:
                del self._sessions[session_id]
        return found

    def deadline(self) -> float | None:
        """Return when something is due next; None if nothing will be."""
        return min((playing.due_at() for playing in self._sessions.values()), default=None)

    def forget(self) -> None:
        """Send nothing of what was to be sent."""
        self._sessions.clear()


def spoken_session(body: object, own_session_id: str) -> Mapping[str, Any] | None:
    """Return the session in which a bus message (its JSON form) has something spoken.

    None for any other message, and where that is not for a satellite to acknowledge.
    """
    topic = body.get("type") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(topic, str) or topic not in SPEECH:
        return None
    context = body.get("context")
    session = context.get("session") if isinstance(context, Mapping) else None
    session_id = session.get("session_id") if isinstance(session, Mapping) else None
    if not isinstance(session_id, str) or not session_id or session_id == NOT_OURS != own_session_id:
        return None
    return session


def denied_acknowledgement(body: object) -> bool:
    """Tell whether a bus message (its JSON form) is the hub's denial of an acknowledgement."""
    if not isinstance(body, Mapping) or body.get("type") != DENIED:
        return False
    data = body.get("data")
    denied = data.get("denied_type") if isinstance(data, Mapping) else None
    return isinstance(denied, str) and denied in ACKNOWLEDGEMENTS
