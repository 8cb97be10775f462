"""Which callback takes which kind of binary data, and with what of its metadata (docs/protocol.md 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hivemind_bus_client.message import HiveMindBinaryPayloadType as Kind

MAX_SAMPLE_RATE, MAX_SAMPLE_WIDTH = 768_000, 4
MAX_TEXT = 4096
"""Characters of a text in the metadata."""
MAX_NAME_BYTES = 255
"""Bytes of a file's name, as file systems have it."""


class Field(NamedTuple):
    """One key of the metadata, as the callback gets it."""

    name: str
    read: Callable[[Any], Any]
    """Returns the value to hand on, None for an absent one too; raises ValueError with what is wrong."""


class Callback(NamedTuple):
    """A method of a handler; it is called with the bytes, the fields in this order, and the client last."""

    method: str
    fields: tuple[Field, ...]


def _whole(default: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise ValueError(f"is not a whole number from 1 to {most}")
        return value

    return read


def _text(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_TEXT):
        raise ValueError(f"is not a text of at most {MAX_TEXT} characters")
    return value or None


def base_name(value: Any) -> str:
    """Return the last part of a path, of either kind of system. Raises ValueError where none can name a file."""
    name = value.replace("\\", "/").rpartition("/")[2].strip() if isinstance(value, str) else ""
    if name in ("", ".", "..") or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError("does not name a file")
    return name


def _name_if_any(value: Any) -> str | None:
    return None if value is None else base_name(value)


_RATE = Field("sample_rate", _whole(16000, MAX_SAMPLE_RATE))
_WIDTH = Field("sample_width", _whole(2, MAX_SAMPLE_WIDTH))
_LANG = Field("lang", _text)

CALLBACKS: dict[int, Callback] = {
    Kind.RAW_AUDIO: Callback("handle_microphone_input", (_RATE, _WIDTH)),
    Kind.NUMPY_IMAGE: Callback("handle_numpy_image", (Field("camera_id", _text),)),
    Kind.FILE: Callback("handle_receive_file", (Field("file_name", base_name),)),
    Kind.STT_AUDIO_TRANSCRIBE: Callback("handle_stt_transcribe_request", (_RATE, _WIDTH, _LANG)),
    Kind.STT_AUDIO_HANDLE: Callback("handle_stt_handle_request", (_RATE, _WIDTH, _LANG)),
    Kind.TTS_AUDIO: Callback(
        "handle_receive_tts", (Field("utterance", _text), _LANG, Field("file_name", _name_if_any))
    ),
}
"""Kind -> callback. For any other kind there is none."""


def arguments(callback: Callback, metadata: Mapping[str, Any], lang: str) -> list[Any]:
    """Return what the callback is called with between the bytes and the client.

    `lang` stands in where the metadata names no language. Raises ValueError with what is wrong in the metadata.
    """
    found: list[Any] = []
    for field in callback.fields:
        try:
            value = field.read(metadata.get(field.name))
        except ValueError as error:
            raise ValueError(f"{field.name} {error}") from None
        found.append(lang if field is _LANG and value is None else value)
    return found
