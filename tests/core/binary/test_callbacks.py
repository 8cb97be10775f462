"""The table of callbacks, and what they are called with."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from hivemind_bus_client.message import HiveMindBinaryPayloadType as Kind
from hivemind_core.binary import BinaryHandler
from hivemind_core.binary.callbacks import CALLBACKS, MAX_NAME_BYTES, MAX_TEXT, arguments, base_name


def called_with(kind: Kind, **metadata: Any) -> list[Any]:
    return arguments(CALLBACKS[kind], metadata, "pt-PT")


def test_every_kind_but_undefined_has_a_callback() -> None:
    assert CALLBACKS.keys() == set(Kind) - {Kind.UNDEFINED}


@pytest.mark.parametrize("kind", CALLBACKS)
def test_the_callback_is_a_method_with_the_bytes_first_and_the_client_last(kind: int) -> None:
    callback = CALLBACKS[kind]
    parameters = list(inspect.signature(getattr(BinaryHandler, callback.method)).parameters)
    assert parameters == ["self", "bin_data", *(field.name for field in callback.fields), "client"]


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        (Kind.RAW_AUDIO, [16000, 2]),
        (Kind.NUMPY_IMAGE, [None]),
        (Kind.STT_AUDIO_TRANSCRIBE, [16000, 2, "pt-PT"]),
        (Kind.STT_AUDIO_HANDLE, [16000, 2, "pt-PT"]),
        (Kind.TTS_AUDIO, [None, "pt-PT", None]),
    ],
)
def test_absent_metadata_has_defaults(kind: Kind, defaults: list[Any]) -> None:
    assert called_with(kind) == defaults


def test_metadata_is_handed_on() -> None:
    sound = {"sample_rate": 44100, "sample_width": 4, "lang": "de-DE", "more": 1}
    assert called_with(Kind.RAW_AUDIO, **sound) == [44100, 4]
    assert called_with(Kind.STT_AUDIO_HANDLE, **sound) == [44100, 4, "de-DE"]
    assert called_with(Kind.NUMPY_IMAGE, camera_id="door") == ["door"]
    assert called_with(Kind.FILE, file_name="a.txt") == ["a.txt"]
    assert called_with(Kind.TTS_AUDIO, utterance="hi", lang="en", file_name="/x/hi.wav") == ["hi", "en", "hi.wav"]


@pytest.mark.parametrize(
    ("kind", "metadata", "problem"),
    [
        (Kind.RAW_AUDIO, {"sample_rate": "16000"}, "sample_rate is not a whole number from 1 to 768000"),
        (Kind.RAW_AUDIO, {"sample_rate": 0}, "sample_rate"),
        (Kind.RAW_AUDIO, {"sample_rate": True}, "sample_rate"),
        (Kind.RAW_AUDIO, {"sample_rate": 1.5}, "sample_rate"),
        (Kind.STT_AUDIO_HANDLE, {"sample_width": 5}, "sample_width is not a whole number from 1 to 4"),
        (Kind.STT_AUDIO_HANDLE, {"lang": 3}, "lang is not a text"),
        (Kind.NUMPY_IMAGE, {"camera_id": "x" * (MAX_TEXT + 1)}, "camera_id is not a text"),
        (Kind.FILE, {}, "file_name does not name a file"),
        (Kind.TTS_AUDIO, {"file_name": ".."}, "file_name does not name a file"),
    ],
)
def test_what_is_wrong_in_the_metadata_is_named(kind: Kind, metadata: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        called_with(kind, **metadata)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.txt", "a.txt"),
        ("/etc/passwd", "passwd"),
        ("../../x", "x"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("mixed/of\\both", "both"),
        ("fünf Äpfel.jpg", "fünf Äpfel.jpg"),
        ("x" * MAX_NAME_BYTES, "x" * MAX_NAME_BYTES),
    ],
)
def test_a_name_loses_its_folders(path: str, name: str) -> None:
    assert base_name(path) == name


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "a/..", "a/", "\\", " ", "a\0b", "a\nb", "x" * (MAX_NAME_BYTES + 1), "ü" * 128, None, 3, ["a"]],
)
def test_what_names_no_file_is_refused(path: Any) -> None:
    with pytest.raises(ValueError, match="does not name a file"):
        base_name(path)
