"""Metadata that fits a frame, whatever it was before."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType
from hivemind_bus_client.serialization import decode_frame, encode_frame
from hivemind_core.binary.fitting import CUT, fitted

CHANCE = Random(3)
NAME = "5d41402abc4b2a76b9719d911017c592.wav"


def sent(metadata: dict[str, Any], compressed: bool | None) -> dict[str, Any]:
    """The metadata after its way through a frame."""
    message = HiveMessage(
        HiveMessageType.BINARY, b"RIFF", metadata=metadata, bin_type=HiveMindBinaryPayloadType.TTS_AUDIO
    )
    return decode_frame(encode_frame(message, compressed)).metadata


def test_what_fits_stays_as_it_is() -> None:
    metadata = {"lang": "en-US", "file_name": NAME, "utterance": "hello world"}
    assert fitted(metadata) == metadata
    assert fitted({}) == {}


@pytest.mark.parametrize(
    "text",
    [
        " ".join(f"{n} bottles of {n * 7919 % 97} kinds," for n in range(100)),
        "".join(CHANCE.choices("съешьжеещёэтихмягкихфранцузскихбулок ", k=500)),
        "".join(CHANCE.choices("今何時ですか私は猫である名前はまだ無い", k=500)),
        "a" * 100_000,
        "".join(chr(0x1F300 + n % 700) for n in range(1000)),
        "".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz ", k=5000)),
    ],
)
@pytest.mark.parametrize("compressed", [True, None])
def test_a_long_utterance_is_cut_short_and_the_rest_stays(text: str, compressed: bool | None) -> None:
    metadata = {"lang": "en-US", "file_name": NAME, "utterance": text}
    found = sent(fitted(metadata), compressed)
    assert (found["lang"], found["file_name"]) == ("en-US", NAME)
    assert found["utterance"].endswith(CUT)
    kept = found["utterance"].removesuffix(CUT)
    assert len(kept) > 15
    assert text.startswith(kept)


def test_what_cannot_be_cut_is_left_out() -> None:
    metadata = {"lang": "en", "table": [n * 7919 for n in range(200)], "utterance": "hello " * 90}
    found = fitted(metadata)
    assert found["lang"] == "en"
    assert "table" not in found
    assert metadata["table"]


@given(st.dictionaries(st.text(max_size=80), st.text(max_size=400) | st.integers() | st.lists(st.text()), max_size=8))
def test_whatever_it_is_it_can_be_sent(metadata: dict[str, Any]) -> None:
    found = fitted(metadata)
    assert found.keys() <= metadata.keys()
    assert sent(found, True) == sent(found, None) == found
