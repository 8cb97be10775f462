"""Roles: what a new client is granted in one word."""

from __future__ import annotations

UTTERANCES = ("recognizer_loop:utterance", "ovos.utterance.handle")
PLAYBACK = (
    "recognizer_loop:audio_output_start",
    "recognizer_loop:audio_output_end",
    "ovos.audio.output.started",
    "ovos.audio.output.ended",
)
"""A skill that waits until its words are spoken waits for these."""

ROLES: dict[str, tuple[str, ...]] = {"chat": UTTERANCES + PLAYBACK, "none": ()}
"""Role -> the bus message types it may send."""

DEFAULT_ROLE = "chat"
