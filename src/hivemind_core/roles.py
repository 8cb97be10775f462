"""Roles: what a new client is granted in one word.

A satellite talks OVOS, whose messages were renamed: what has an old and a new name is granted under both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UTTERANCES = ("recognizer_loop:utterance", "ovos.utterance.handle")
"""What somebody said or typed."""
PLAYBACK = (
    "recognizer_loop:audio_output_start",
    "recognizer_loop:audio_output_end",
    "ovos.audio.output.started",
    "ovos.audio.output.ended",
)
"""A skill that waits until its words are spoken waits for these."""
RECORDING = (
    "recognizer_loop:record_begin",
    "recognizer_loop:record_end",
    "ovos.listener.record.started",
    "ovos.listener.record.ended",
)
"""The microphone is open, and closed again."""
LISTENING = (
    "recognizer_loop:wakeword",
    *RECORDING,
    "recognizer_loop:speech.recognition.unknown",
    "mycroft.awoken",
    "ovos.listener.awoken",
)
"""What a listener on the device reports; nothing that would start or stop a listener elsewhere."""
TRANSCRIPTION = ("recognizer_loop:b64_audio", "recognizer_loop:b64_transcribe")
"""Recorded speech for the hub to understand."""
SYNTHESIS = ("speak:synth", "speak:b64_audio", "ovos.utterance.speak.b64")
"""Text for the hub to turn into speech, which it sends back."""
STREAMS = ("ovos.common_play.SEI.get.response",)
"""Which kinds of streams the device can play."""


@dataclass(frozen=True)
class Role:
    """What a client of this kind gets."""

    meaning: str
    """One line for a person."""
    types: tuple[str, ...] = ()
    """Bus message types it may send."""
    columns: Mapping[str, bool] = field(default_factory=dict)
    """Flags of its row that differ from a client's defaults."""


ROLES: dict[str, Role] = {
    "chat": Role("text satellites: utterances, and acknowledging what was spoken", UTTERANCES + PLAYBACK),
    "voice": Role(
        "voice satellites: chat, what their listener reports, speech recognition and synthesis by the hub",
        UTTERANCES + PLAYBACK + LISTENING + TRANSCRIPTION + SYNTHESIS + STREAMS,
    ),
    "mic": Role(
        "streaming microphones: chat, microphone audio, synthesis by the hub",
        UTTERANCES + PLAYBACK + RECORDING + SYNTHESIS,
    ),
    "guest": Role(
        "visitors: utterances and nothing else; no ESCALATE, PROPAGATE or BROADCAST",
        UTTERANCES,
        {"can_escalate": False, "can_propagate": False, "can_broadcast": False},
    ),
    "bridge": Role(
        "chat rooms and bridges, many users behind one key: chat and voice messages; no PROPAGATE",
        UTTERANCES + PLAYBACK + TRANSCRIPTION + SYNTHESIS,
        {"can_propagate": False, "can_broadcast": False},
    ),
    "admin": Role(
        "administrators: chat, BROADCAST, the assistant's own sessions", UTTERANCES + PLAYBACK, {"is_admin": True}
    ),
    "none": Role("nothing; grant single types with --allow or allow-msg"),
}
"""Name -> what `add-client --role` grants."""

DEFAULT_ROLE = "chat"
