"""The seven text encodings."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import vectors
from hivemind_bus_client.exceptions import DecodingError, InvalidEncoding, Z85DecodeError
from hivemind_bus_client.text_encodings import SupportedEncodings, get_decoder, get_encoder, norm_encoding

ENCODINGS = list(SupportedEncodings)
every_encoding = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.value)
CASES = vectors.load("encodings.json")["cases"]
ALPHABETS = {
    SupportedEncodings.JSON_HEX: string.digits + "abcdef",
    SupportedEncodings.JSON_B32: string.ascii_uppercase + "234567=",
    SupportedEncodings.JSON_B64: string.ascii_letters + string.digits + "+/=",
    SupportedEncodings.JSON_URLSAFE_B64: string.ascii_letters + string.digits + "-_=",
}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
@every_encoding
def test_recorded(case, encoding):
    data, text = bytes.fromhex(case["bytes_hex"]), case["encoded"][encoding.value]
    assert get_encoder(encoding)(data).decode("ascii") == text
    assert get_decoder(encoding)(text) == data


@every_encoding
@given(data=st.binary(max_size=200))
def test_round_trip(encoding, data):
    assert get_decoder(encoding)(get_encoder(encoding)(data)) == data


@every_encoding
@pytest.mark.parametrize("size", [63, 64, 65, 511, 4096, 70_001])
def test_round_trip_of_larger_data(encoding, size):
    data = bytes(i * 31 % 256 for i in range(size))
    assert get_decoder(encoding)(get_encoder(encoding)(data)) == data


@every_encoding
@given(text=st.text(max_size=40))
def test_any_text_is_decoded_or_refused_with_one_exception(encoding, text):
    try:
        get_decoder(encoding)(text)
    except DecodingError:
        pass


@every_encoding
@pytest.mark.parametrize("stranger", ["\x80", "é", "\n\0", '"\\', "'"])
def test_a_character_of_no_alphabet_is_refused(encoding, stranger):
    text = get_encoder(encoding)(b"12345678").decode()
    with pytest.raises(DecodingError):
        get_decoder(encoding)(text + stranger)


@pytest.mark.parametrize("encoding", ALPHABETS, ids=lambda e: e.value)
@given(data=st.binary(max_size=64))
def test_alphabet(encoding, data):
    assert set(get_encoder(encoding)(data).decode()) <= set(ALPHABETS[encoding])


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        (SupportedEncodings.JSON_HEX, "abc"),
        (SupportedEncodings.JSON_B32, "ME"),
        (SupportedEncodings.JSON_B64, "QQ"),
        (SupportedEncodings.JSON_B64, "-_8="),
        (SupportedEncodings.JSON_URLSAFE_B64, "+/8="),
    ],
)
def test_a_text_no_encoder_writes_is_refused(encoding, text):
    with pytest.raises(DecodingError):
        get_decoder(encoding)(text)


class TestZ85B:
    """Little-endian groups whose last digits are dropped (docs/protocol.md 9.4)."""

    decode = staticmethod(get_decoder(SupportedEncodings.JSON_Z85B))

    def test_white_space_is_ignored(self):
        assert self.decode(" 6Ge\n%0\t") == bytes(range(4))

    @pytest.mark.parametrize("text", ["0", "000000", "#####", "~0000", "99"])
    def test_refused(self, text):
        with pytest.raises(Z85DecodeError):
            self.decode(text)


class TestZ85P:
    """Big-endian groups behind a byte that counts the padding (docs/protocol.md 9.4)."""

    decode = staticmethod(get_decoder(SupportedEncodings.JSON_Z85P))

    @pytest.mark.parametrize("text", ["", "\x0400000", "\x000000", "\x03", "\x00#####", "\x03@@r31", "000000"])
    def test_refused(self, text):
        with pytest.raises(Z85DecodeError):
            self.decode(text)


def test_base_91_refuses_what_is_not_in_its_alphabet():
    with pytest.raises(DecodingError):
        get_decoder("JSON-B91")("AA-")


def test_text_is_encoded_as_utf_8():
    assert get_encoder("JSON-HEX")("é") == b"c3a9"


@pytest.mark.parametrize("name", ["B64", "json-b64", "", None])
def test_unknown_encoding(name):
    for function in (norm_encoding, get_encoder, get_decoder):
        with pytest.raises(InvalidEncoding):
            function(name)


def test_names():
    assert norm_encoding("JSON-B91") is SupportedEncodings.JSON_B91
    assert [e.value for e in ENCODINGS] == [
        "JSON-B91",
        "JSON-Z85B",
        "JSON-Z85P",
        "JSON-B64",
        "JSON-URLSAFE-B64",
        "JSON-B32",
        "JSON-HEX",
    ]
