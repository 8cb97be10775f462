"""The seven text encodings of encrypted text frames (docs/protocol.md 9.4).

Base 16, 32 and 64 are the standard library's. The two base-85 forms are its base 85 in another alphabet; base 91 is
ours. Decoding is strict: a text that no encoder writes is refused, with `Z85DecodeError` or `DecodingError`.
"""

from __future__ import annotations

import base64
import binascii
from array import array
from collections.abc import Callable
from enum import Enum
from functools import cache
from struct import unpack

from .exceptions import DecodingError, InvalidEncoding, Z85DecodeError


class SupportedEncodings(str, Enum):
    """The encodings, in the order they are offered upstream."""

    JSON_B91 = "JSON-B91"
    JSON_Z85B = "JSON-Z85B"
    JSON_Z85P = "JSON-Z85P"
    JSON_B64 = "JSON-B64"
    JSON_URLSAFE_B64 = "JSON-URLSAFE-B64"
    JSON_B32 = "JSON-B32"
    JSON_HEX = "JSON-HEX"


_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_B85_TO_Z85 = bytes.maketrans(_B85, _Z85)
_Z85_TO_B85 = bytes.maketrans(_Z85, _B85)
_B91 = b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,./:;<=>?@[]^_`{|}~"'
_B91_BLOCK_BITS = 512


# --- base 85 ------------------------------------------------------------------------------------------------


def _to_z85(data: bytes) -> bytes:
    """Write whole groups of four bytes, big-endian, most significant digit first."""
    return base64.b85encode(data).translate(_B85_TO_Z85)


def _from_z85(text: bytes) -> bytes:
    """Read whole groups of five digits."""
    if text.translate(None, _Z85):
        raise Z85DecodeError("a character is not in the alphabet")
    try:
        return base64.b85decode(text.translate(_Z85_TO_B85))
    except ValueError:
        raise Z85DecodeError("a group of digits exceeds 32 bits") from None


def _without_padding(data: bytes, padding: int) -> bytes:
    end = len(data) - padding
    if end < 0 or any(data[end:]):
        raise Z85DecodeError("the padding is not zero")
    return data[:end]


def encode_z85b(data: bytes) -> bytes:
    """Little-endian groups, least significant digit first, the digits of the padding dropped."""
    padding = -len(data) % 4
    # Reversed as a whole, these are big-endian groups with the most significant digit first.
    text = _to_z85((data + bytes(padding))[::-1])[::-1]
    return text[: len(text) - padding]


def decode_z85b(text: bytes) -> bytes:
    """Inverse of `encode_z85b`; white space is ignored. Raises Z85DecodeError."""
    text = b"".join(text.split())
    missing = -len(text) % 5
    if missing == 4:
        raise Z85DecodeError("one digit is no byte")
    return _without_padding(_from_z85((text + b"0" * missing)[::-1])[::-1], missing)


def encode_z85p(data: bytes) -> bytes:
    """Big-endian groups behind a byte that counts the padding."""
    padding = -len(data) % 4
    return bytes((padding,)) + _to_z85(data + bytes(padding))


def decode_z85p(text: bytes) -> bytes:
    """Inverse of `encode_z85p`. Raises Z85DecodeError."""
    if not text or text[0] > 3 or len(text) % 5 != 1:
        raise Z85DecodeError("not a padding count and groups of five digits")
    return _without_padding(_from_z85(text[1:]), text[0])


# --- base 91 ------------------------------------------------------------------------------------------------


@cache
def _b91_pairs() -> array[int]:
    """The two digits of every value, as they lie in memory; 16 kB, made when first used."""
    pairs = array("H")
    pairs.frombytes(b"".join(bytes((_B91[value % 91], _B91[value // 91])) for value in range(91 * 91)))
    return pairs


@cache
def _b91_values() -> bytes:
    """The value of every character; 255 where it has none."""
    return bytes(_B91.index(code) if code in _B91 else 255 for code in range(256))


def encode_b91(data: bytes) -> bytes:
    """Return basE91: groups of 13 bits, or 14 where the 13 are at most 88, as two digits."""
    pairs, text = _b91_pairs(), array("H")
    odd = len(data) & 1
    held, bits = (data[0], 8) if odd else (0, 0)
    for word in unpack(f"<{len(data) // 2}H", data[odd:]):
        held |= word << bits
        bits += 16
        while bits > 13:
            value = held & 8191
            if value > 88:
                held, bits = held >> 13, bits - 13
            else:
                value = held & 16383
                held, bits = held >> 14, bits - 14
            text.append(pairs[value])
    if not bits:
        return text.tobytes()
    last = bytes((_B91[held % 91], _B91[held // 91]))
    return text.tobytes() + (last if bits > 7 or held > 90 else last[:1])


def decode_b91(text: bytes) -> bytes:
    """Inverse of `encode_b91`. Raises DecodingError."""
    values = text.translate(_b91_values())
    if 255 in values:
        raise DecodingError("a character is not in the base-91 alphabet")
    data = bytearray()
    held = bits = 0
    for low, high in zip(values[::2], values[1::2], strict=False):
        value = low + 91 * high
        held |= value << bits
        bits += 13 if value & 8191 > 88 else 14
        if bits >= _B91_BLOCK_BITS:
            data += (held & (1 << _B91_BLOCK_BITS) - 1).to_bytes(_B91_BLOCK_BITS // 8, "little")
            held >>= _B91_BLOCK_BITS
            bits -= _B91_BLOCK_BITS
    if len(values) & 1:
        held |= values[-1] << bits
        bits += 8
    whole = bits // 8
    data += (held & (1 << 8 * whole) - 1).to_bytes(whole, "little")
    return bytes(data)


# --- base 64 ------------------------------------------------------------------------------------------------


def _decode_b64(text: bytes) -> bytes:
    return base64.b64decode(text, validate=True)


def _decode_urlsafe_b64(text: bytes) -> bytes:
    if b"+" in text or b"/" in text:
        raise ValueError("'+' and '/' are not in the URL-safe alphabet")
    return base64.b64decode(text, altchars=b"-_", validate=True)


_Codec = Callable[[bytes], bytes]
_CODECS: dict[SupportedEncodings, tuple[_Codec, _Codec]] = {
    SupportedEncodings.JSON_B91: (encode_b91, decode_b91),
    SupportedEncodings.JSON_Z85B: (encode_z85b, decode_z85b),
    SupportedEncodings.JSON_Z85P: (encode_z85p, decode_z85p),
    SupportedEncodings.JSON_B64: (base64.b64encode, _decode_b64),
    SupportedEncodings.JSON_URLSAFE_B64: (base64.urlsafe_b64encode, _decode_urlsafe_b64),
    SupportedEncodings.JSON_B32: (base64.b32encode, base64.b32decode),
    SupportedEncodings.JSON_HEX: (binascii.hexlify, binascii.unhexlify),
}


def norm_encoding(encoding: SupportedEncodings | str) -> SupportedEncodings:
    """Return the encoding of a name. Raises InvalidEncoding."""
    try:
        return SupportedEncodings(encoding)
    except ValueError:
        raise InvalidEncoding(f"Invalid JSON encoding: {encoding}") from None


def _as_bytes(value: bytes | str) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else bytes(value)


def get_encoder(encoding: SupportedEncodings | str) -> Callable[[bytes | str], bytes]:
    """Return the function that encodes. Raises InvalidEncoding."""
    encode = _CODECS[norm_encoding(encoding)][0]
    return lambda data: encode(_as_bytes(data))


def get_decoder(encoding: SupportedEncodings | str) -> Callable[[bytes | str], bytes]:
    """Return the function that decodes; it raises DecodingError for a bad text. Raises InvalidEncoding."""
    name = norm_encoding(encoding)
    decode = _CODECS[name][1]

    def strict(text: bytes | str) -> bytes:
        try:
            return decode(_as_bytes(text))
        except DecodingError:
            raise
        except ValueError as error:
            raise DecodingError(f"not {name.value[5:]}: {error}") from None

    return strict
