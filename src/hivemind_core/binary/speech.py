"""Gives satellites a voice: they send a text and get it back as speech (docs/binary.md).

``speak:synth`` is answered with BINARY of the kind TTS_AUDIO, ``speak:b64_audio`` with a message that has the same
WAV in base64. What cannot be said is answered, too: with a denial that says why.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hivemind_bus_client.message import HiveMindBinaryPayloadType, Message

from ..config_values import Values, is_whole
from . import BinaryHandler, Declined, Limits
from .espeak import LANG, Engine, Espeak, SpeechFailed, Unspeakable

if TYPE_CHECKING:
    from .sender import Sender

log = logging.getLogger(__name__)

MOST_CHARACTERS, MOST_SECONDS, MOST_AT_ONCE, MOST_WAITING = 20_000, 600, 64, 1000
MAX_AUDIO_S = 120.0
"""Whoever reads too slowly for so much is disconnected (see `transports.outbox`)."""


@dataclass(frozen=True)
class SpeechSettings:
    """How speech is made, and how much of it."""

    engine: Engine = field(default_factory=Engine)
    lang: str = "en-US"
    """What is spoken where neither the message nor the session of its satellite names a language."""
    max_text: int = 1000
    """Characters of one text."""
    at_once: int = 2
    """Texts made into speech at a time."""
    waiting_each: int = 16
    """Texts that may wait for one satellite."""

    @classmethod
    def read(cls, values: Values, block: tuple[str, ...]) -> SpeechSettings:
        """Read them from server.json. Raises ConfigError."""

        def whole(key: str, least: int, most: int, default: int) -> int:
            def fits(value: Any) -> bool:
                return is_whole(value, most) and value >= least

            return int(values.get((*block, key), f"a whole number from {least} to {most}", fits, default))

        def is_lang(value: Any) -> bool:
            return isinstance(value, str) and LANG.fullmatch(value) is not None

        engine = Engine(
            values.get((*block, "program"), "the name of a program", _is_text, Engine.program),
            whole("words_per_minute", 80, 450, Engine.words_per_minute),
            whole("timeout", 1, MOST_SECONDS, int(Engine.timeout_s)),
            MAX_AUDIO_S,
        )
        return cls(
            engine,
            values.get((*block, "lang"), "a language like en-US", is_lang, cls.lang),
            whole("max_text", 1, MOST_CHARACTERS, cls.max_text),
            whole("at_once", 1, MOST_AT_ONCE, cls.at_once),
            whole("waiting_each", 1, MOST_WAITING, cls.waiting_each),
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


class SpeechHandler(BinaryHandler):
    """See the module."""

    def __init__(self, settings: SpeechSettings | None = None) -> None:
        super().__init__()
        self._settings = settings or SpeechSettings()
        self._espeak = Espeak(self._settings.engine)
        self.limits = Limits(threads=self._settings.at_once, waiting=self._settings.waiting_each)
        self._answers: dict[str, Callable[[Message, str, str, bytes, Sender], None]] = {
            "speak:synth": _as_binary,
            "speak:b64_audio": _as_message,
            "ovos.utterance.speak.b64": _as_message,
        }
        self.message_types = frozenset(self._answers)
        if shutil.which(self._settings.engine.program) is None:
            program = self._settings.engine.program
            log.error("there is no %s on this machine, so satellites get no speech: apt install espeak-ng", program)

    def handle_message(self, message: Message, client: Sender) -> None:
        """Answer a text with speech."""
        text = message.data.get("utterance")
        if not isinstance(text, str) or not text.strip():
            raise Declined("malformed_payload", "utterance is not a text")
        if len(text) > self._settings.max_text:
            raise Declined("malformed_payload", f"utterance has more than {self._settings.max_text} characters")
        lang = _lang_of(message) or self._settings.lang
        try:
            speech = self._espeak.speech(text, lang)
        except Unspeakable as problem:
            raise Declined("speech_unavailable", str(problem)) from None
        except SpeechFailed as problem:
            log.warning("no speech for %s: %s", client.peer, problem)
            raise Declined("speech_unavailable", str(problem)) from None
        self._answers[message.msg_type](message, text, lang, speech, client)

    def stop(self) -> None:
        self._espeak.stop()


def _lang_of(message: Message) -> str:
    """Return the language that a message names: itself, by its context, or by its session."""
    session = message.context.get("session")
    for place in (message.data, message.context, session if isinstance(session, Mapping) else {}):
        lang = place.get("lang")
        if isinstance(lang, str) and lang:
            return lang
    return ""


def _as_binary(message: Message, text: str, lang: str, speech: bytes, client: Sender) -> None:
    name = hashlib.sha256(f"{lang}\0{text}".encode()).hexdigest()[:32]
    about = {"lang": lang, "file_name": f"{name}.wav", "utterance": text}
    client.send_binary(speech, HiveMindBinaryPayloadType.TTS_AUDIO, about)


def _as_message(message: Message, text: str, lang: str, speech: bytes, client: Sender) -> None:
    audio = base64.b64encode(speech).decode("ascii")
    client.send_bus(message.response({**message.data, "audio": audio}))


__all__ = ["SpeechHandler", "SpeechSettings"]
