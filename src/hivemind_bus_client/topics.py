"""OVOS messages that have two names: newer OVOS renamed them and puts both on its bus, older knows only the
first.

A satellite's handlers are told under both names, and once, whatever the hub forwards: only the old name, only
the new one, or both with the second marked as the twin of the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

TWIN_MARK = "_namespace_compat_twin"
"""Context key of the copy under the other name."""

REMEMBERED = 16

RENAMED = {
    "recognizer_loop:utterance": "ovos.utterance.handle",
    "recognizer_loop:audio_output_start": "ovos.audio.output.started",
    "recognizer_loop:audio_output_end": "ovos.audio.output.ended",
    "recognizer_loop:record_begin": "ovos.listener.record.started",
    "recognizer_loop:record_end": "ovos.listener.record.ended",
    "recognizer_loop:sleep": "ovos.listener.sleep",
    "speak": "ovos.utterance.speak",
    "speak:b64_audio": "ovos.utterance.speak.b64",
    "speak:b64_audio.response": "ovos.audio.speech",
    "mycroft.mic.listen": "ovos.mic.listen",
    "mycroft.audio.queue": "ovos.audio.queue",
    "mycroft.audio.play_sound": "ovos.audio.play_sound",
    "mycroft.audio.speak.status": "ovos.audio.is_speaking",
    "mycroft.audio.speech.stop": "ovos.audio.stop",
    "mycroft.awoken": "ovos.listener.awoken",
    "mycroft.stop": "ovos.stop",
    "mycroft.skill.enable_intent": "ovos.intent.enable",
    "mycroft.skill.disable_intent": "ovos.intent.disable",
    "skill.stop.pong": "ovos.stop.pong",
    "ovos.skills.fallback.register": "ovos.fallback.register",
    "ovos.skills.fallback.deregister": "ovos.fallback.deregister",
    "ovos.skills.fallback.ping": "ovos.fallback.ping",
    "ovos.skills.fallback.pong": "ovos.fallback.pong",
    "complete_intent_failure": "ovos.intent.unmatched",
    "detach_intent": "ovos.intent.deregister",
    "detach_skill": "ovos.skill.deregister",
}
"""Old name -> new name."""

TWIN_OF = RENAMED | {new: old for old, new in RENAMED.items()}
"""Each name -> its other name."""


def same_topic(one: str, other: str) -> bool:
    """Tell whether both names mean the same message."""
    return one == other or TWIN_OF.get(one) == other


class TwinFilter:
    """Remembers what was just delivered under both names, so that a twin which follows is not delivered
    again.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=REMEMBERED)

    def is_repeat(self, topic: str, data: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
        """Note a message that has come in; True if it is the marked twin of one that came before it."""
        twin = TWIN_OF.get(topic)
        if twin is None:
            return False
        if context.get(TWIN_MARK) and (twin, data) in self._recent:
            self._recent.remove((twin, data))
            return True
        self._recent.append((topic, data))
        return False
