"""text_encodings: the seven encodings, strict both ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import vectors
from hivemind_bus_client.exceptions import DecodingError, InvalidEncoding, Z85DecodeError
from hivemind_bus_client.text_encodings import SupportedEncodings, get_decoder, get_encoder, norm_encoding

ENCODINGS = list(SupportedEncodings)
FUZZ = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", vectors.cases("encodings"))
def test_the_vector_both_ways(name: str, encoding: SupportedEncodings) -> None:
    case = vectors.cases("encodings")[name]
    data, text = bytes.fromhex(case["bytes_hex"]), case["encoded"][encoding.value]
    assert get_encoder(encoding)(data).decode("ascii") == text
    assert get_decoder(encoding)(text) == data
    assert get_decoder(encoding)(text.encode()) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.binary(max_size=600))
@FUZZ
def test_round_trip(encoding: SupportedEncodings, data: bytes) -> None:
    assert get_decoder(encoding)(get_encoder(encoding)(data)) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_long_texts_round_trip(encoding: SupportedEncodings) -> None:
    for length in (4093, 4094, 4095, 4096):
        data = bytes(range(256)) * 16
        assert get_decoder(encoding)(get_encoder(encoding)(data[:length])) == data[:length]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.text(max_size=40) | st.text("0123456789abcdefABCDEF+/-_= \x00\x01\x03", max_size=40))
@FUZZ
def test_any_text_is_decoded_or_refused(encoding: SupportedEncodings, text: str) -> None:
    try:
        get_decoder(encoding)(text)
    except DecodingError:
        return


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("stranger", ["\x80", "é", "\n\0", '"\\', "'"])
def test_a_character_of_no_alphabet_is_refused(encoding: SupportedEncodings, stranger: str) -> None:
    with pytest.raises(DecodingError):
        get_decoder(encoding)(get_encoder(encoding)(b"12345678").decode() + stranger)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("JSON-HEX", "0"), ("JSON-HEX", "0g"), ("JSON-HEX", "00 00"), ("JSON-HEX", "é0"),
        ("JSON-B32", "AA"), ("JSON-B32", "aa======"), ("JSON-B32", "A1======"),
        ("JSON-B64", "A"), ("JSON-B64", "AA"), ("JSON-B64", "A-__"), ("JSON-B64", "AA==\n"), ("JSON-B64", "A A="),
        ("JSON-URLSAFE-B64", "A+//"), ("JSON-URLSAFE-B64", "AA"), ("JSON-URLSAFE-B64", "é"),
        ("JSON-B91", "A A"), ("JSON-B91", "-"), ("JSON-B91", "\\"), ("JSON-B91", "'"), ("JSON-B91", "é"),
    ],
)  # fmt: skip
def test_bad_text_is_refused(encoding: str, text: str) -> None:
    with pytest.raises(DecodingError):
        get_decoder(encoding)(text)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("JSON-Z85B", "0"), ("JSON-Z85B", "000000"), ("JSON-Z85B", "~0000"), ("JSON-Z85B", "#####"),
        ("JSON-Z85B", "##"), ("JSON-Z85B", "é0"),
        ("JSON-Z85P", ""), ("JSON-Z85P", "\x04"), ("JSON-Z85P", "\x0100"), ("JSON-Z85P", "\x00#####"),
        ("JSON-Z85P", "\x03"), ("JSON-Z85P", "\x0300001"), ("JSON-Z85P", "0"), ("JSON-Z85P", "\x00 0000"),
    ],
)  # fmt: skip
def test_bad_base_85_is_refused_by_its_own_name(encoding: str, text: str) -> None:
    with pytest.raises(Z85DecodeError):
        get_decoder(encoding)(text)


def test_white_space_in_z85b_is_ignored() -> None:
    text = get_encoder("JSON-Z85B")(b"hello hive").decode()
    assert get_decoder("JSON-Z85B")(f" {text[:3]}\n{text[3:]}\t") == b"hello hive"


def test_encoders_take_text_as_utf8() -> None:
    assert get_encoder("JSON-HEX")("é") == b"c3a9"


def test_names_of_encodings() -> None:
    assert norm_encoding("JSON-B64") is norm_encoding(SupportedEncodings.JSON_B64)
    assert [encoding.value for encoding in ENCODINGS][:3] == ["JSON-B91", "JSON-Z85B", "JSON-Z85P"]
    unknown: tuple[Any, ...] = ("json-b64", "B64", "", None, 1)
    for name in unknown:
        for function in (norm_encoding, get_encoder, get_decoder):
            with pytest.raises(InvalidEncoding):
                function(name)
