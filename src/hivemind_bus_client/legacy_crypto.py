"""What protocol versions 0 to 2 are made of: envelopes, keys and the session (docs/protocol.md 8, 9).

Nothing here is protected against replay; a password handshake lets an eavesdropper test guesses offline, which is why
weak passwords are refused and v3 is preferred. Deleted, with legacy.py, the day the last of them goes.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import codec
from .encryption import Aead, SupportedCiphers, get_decoder, get_encoder
from .encryption import _encoded_fields as encoded_fields
from .exceptions import DecodingError, HiveMindException
from .exchange import ClearFrame
from .rsa_keys import load_announced, load_private, oaep, pss, verifies

OFFERED_ENCODINGS = tuple(f"JSON-{name}" for name in ("B64", "URLSAFE-B64", "HEX", "B32", "B91", "Z85B", "Z85P"))
"""All of them, the fast ones first: a hub takes the first of our list that it allows."""
OFFERED_CIPHERS = tuple(cipher.value for cipher in SupportedCiphers)
FAST_ENCODINGS = frozenset(OFFERED_ENCODINGS[:3])
MAX_SLOW_TEXT = 1024 * 1024
"""Characters of a text frame in one of the encodings that cost a loop's time to read."""

IV_BYTES = 8
ENVELOPE_CHARS = 48
MAX_ENVELOPE_CHARS = 80
SECRET_BYTES = 32
SIGNATURE_BYTES = 256
MAX_RSA_ENVELOPE_CHARS = 4096
MAX_PEM_CHARS = 4096
PBKDF2_ROUNDS = 100_000
_HEX = re.compile(r"[0-9a-f]*")


# --- password (docs/protocol.md 8.2) ------------------------------------------------------------------------


def password_envelope(password: str, iv: bytes, length: int = ENVELOPE_CHARS) -> str:
    """Return what one side shows to prove that it knows the password, without saying it."""
    return (iv + hashlib.sha256(iv + password.encode()).digest()).hex()[:length]


def envelope_iv(envelope: object, password: str, own_iv: bytes = b"") -> bytes | None:
    """Return the random part of the other side's envelope; None where it does not fit the password.

    An envelope that brings back our own random part is a reflection and does not fit either.
    """
    if not isinstance(envelope, str) or not ENVELOPE_CHARS <= len(envelope) <= MAX_ENVELOPE_CHARS:
        return None
    if not _HEX.fullmatch(envelope):
        return None
    iv = bytes.fromhex(envelope[: 2 * IV_BYTES])
    fits = secrets.compare_digest(password_envelope(password, iv, len(envelope)), envelope)
    return iv if fits and iv != own_iv else None


def xor(one: bytes, other: bytes) -> bytes:
    """Return the bytes of two equally long texts, combined."""
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def session_key(password: str, salt: bytes) -> bytes:
    """Return the session key. Slow on purpose (tens of milliseconds): call it off the loop."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, PBKDF2_ROUNDS, SECRET_BYTES)


# --- RSA (docs/protocol.md 8.3) -----------------------------------------------------------------------------


def seal_secret(secret: bytes, client_pem: str, hub_key: Any) -> str:
    """Return the hub's envelope: its signature and the secret, readable by one client only.

    `hub_key` is a private key as PEM or as an object. Takes milliseconds. Raises HiveMindException for a key that is
    none.
    """
    try:
        sealed = load_announced(client_pem).encrypt(secret, oaep())
        return (load_private(hub_key).sign(sealed, *pss()) + sealed).hex()
    except (TypeError, ValueError, AttributeError) as error:
        raise HiveMindException(f"not an RSA key: {error}") from None


def open_secret(envelope: object, client_key: Any, hub_pem: str) -> bytes:
    """Return the secret in a hub's envelope. Takes milliseconds. Raises HiveMindException where it is not sound."""
    if not isinstance(envelope, str) or len(envelope) > MAX_RSA_ENVELOPE_CHARS:
        raise HiveMindException("the envelope is no text of that size")
    try:
        raw = bytes.fromhex(envelope)
        if not verifies(hub_pem, raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]):
            raise HiveMindException("the envelope is not signed by the hub")
        secret = load_private(client_key).decrypt(raw[SIGNATURE_BYTES:], oaep())
    except (TypeError, ValueError, AttributeError) as error:
        raise HiveMindException(f"the envelope does not open: {error}") from None
    if len(secret) != SECRET_BYTES:
        raise HiveMindException("the secret has another length")
    return secret


def public_pem(key: Any) -> str:
    """Return the public half of a private key, as the wire wants it. Raises HiveMindException for one that is none."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        public = load_private(key).public_key()
    except (TypeError, ValueError, AttributeError) as error:
        raise HiveMindException(f"not an RSA key: {error}") from None
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii").strip()


def or_nothing(compute: Callable[..., str | bytes], *arguments: Any) -> bytes:
    """Run slow work whose failure is the peer's doing; an empty result says that it failed."""
    try:
        result = compute(*arguments)
    except HiveMindException:
        return b""
    return result.encode() if isinstance(result, str) else result


# --- the session (docs/protocol.md 9) -----------------------------------------------------------------------


class LegacySession:
    """A session of protocol v0 to v2: every message is sealed by itself, as text or as a binary frame."""

    __slots__ = ("_aead", "_decode", "_encode", "_slow")

    def __init__(self, key: bytes, cipher: str, encoding: str) -> None:
        self._aead = Aead(key, cipher)
        self._encode, self._decode = get_encoder(encoding), get_decoder(encoding)
        self._slow = encoding not in FAST_ENCODINGS

    def seal(self, body: bytes, binary: bool) -> Sequence[bytes | str]:
        nonce, ciphertext, tag = self._aead.seal(body)
        if binary:
            return (nonce + ciphertext + tag,)
        fields = {"ciphertext": ciphertext, "tag": tag, "nonce": nonce}
        return (codec.dumps({name: self._encode(value).decode("ascii") for name, value in fields.items()}),)

    def open(self, frame: bytes | str) -> tuple[bytes, bool] | None:
        if isinstance(frame, bytes):
            size = self._aead.nonce_size
            return self._aead.open(frame[:size], frame[size:]), True
        if self._slow and len(frame) > MAX_SLOW_TEXT:
            raise DecodingError(f"text frames in this encoding hold at most {MAX_SLOW_TEXT} characters")
        fields = codec.loads(frame)
        if not isinstance(fields, Mapping) or "ciphertext" not in fields:
            raise ClearFrame(fields.get("msg_type") if isinstance(fields, Mapping) else None)
        sealed, tag, nonce = encoded_fields(fields, optional="tag")
        decode = self._decode
        return self._aead.open(decode(nonce), decode(sealed) + (decode(tag) if tag else b"")), False

    @property
    def is_waiting(self) -> bool:
        return False

    def rest(self) -> None:
        """There is nothing to give back."""

    def drop(self) -> None:
        """There is nothing to let go of."""
