"""The ciphers of protocol versions 1 and 2 and their text and binary envelopes (docs/protocol.md 9).

`Aead` is one key under one cipher; the functions below it are the public ones and build one for each call. Messages
sealed for one node's RSA key (docs/protocol.md 14.1) are at the end.
"""

from __future__ import annotations

import base64
import json
import platform
import secrets
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from . import codec
from .exceptions import (
    DecodingError,
    DecryptionKeyError,
    EncryptionKeyError,
    InvalidCipher,
    InvalidKeySize,
    MissingField,
)
from .rsa_keys import load_private, load_public, oaep, pss
from .text_encodings import SupportedEncodings, get_decoder, get_encoder, norm_encoding

if TYPE_CHECKING:
    pass

__all__ = [
    "AES_CIPHERS",
    "AES_KEY_SIZES",
    "AES_NONCE_SIZE",
    "AES_TAG_SIZE",
    "BLOCK_CIPHERS",
    "CHACHA20_KEY_SIZE",
    "CHACHA20_NONCE_SIZE",
    "CHACHA20_TAG_SIZE",
    "Aead",
    "SupportedCiphers",
    "SupportedEncodings",
    "cpu_supports_AES",
    "decrypt_AES_128",
    "decrypt_ChaCha20_Poly1305",
    "decrypt_bin",
    "decrypt_from_json",
    "encrypt_AES",
    "encrypt_ChaCha20_Poly1305",
    "encrypt_as_json",
    "encrypt_bin",
    "get_decoder",
    "get_encoder",
    "hybrid_decrypt",
    "hybrid_encrypt",
    "optimal_ciphers",
]


class SupportedCiphers(str, Enum):
    """The ciphers (docs/protocol.md 9.1)."""

    AES_GCM = "AES-GCM"
    CHACHA20_POLY1305 = "CHACHA20-POLY1305"


AES_CIPHERS = {SupportedCiphers.AES_GCM}
BLOCK_CIPHERS = AES_CIPHERS
AES_KEY_SIZES = [16, 24, 32]
AES_NONCE_SIZE = 16
AES_TAG_SIZE = 16
CHACHA20_KEY_SIZE = 32
CHACHA20_NONCE_SIZE = 12
CHACHA20_TAG_SIZE = 16

_TAG_SIZE = 16
_NONCE_SIZES = {
    SupportedCiphers.AES_GCM: AES_NONCE_SIZE,
    SupportedCiphers.CHACHA20_POLY1305: CHACHA20_NONCE_SIZE,
}
_KEY_SIZES = {
    SupportedCiphers.AES_GCM: AES_KEY_SIZES,
    SupportedCiphers.CHACHA20_POLY1305: [CHACHA20_KEY_SIZE],
}
_GCM = 11
"""Another library's constant for the one mode there is."""

_norm_encoding = norm_encoding


def _norm_cipher(cipher: SupportedCiphers | str) -> SupportedCiphers:
    """Return the cipher of a name. Raises InvalidCipher."""
    try:
        return SupportedCiphers(cipher)
    except ValueError:
        raise InvalidCipher(f"Invalid cipher: {cipher}") from None


def cpu_supports_AES() -> bool:  # noqa: N802
    """Tell whether processors of this make have AES instructions.

    Many small boards lack them, so any but x86-64 and Apple's is taken to be without.
    """
    machine = platform.machine().lower()
    return machine in ("x86_64", "amd64") or (machine == "arm64" and platform.system() == "Darwin")


def optimal_ciphers() -> list[SupportedCiphers]:
    """Return the ciphers, the one that is faster here first."""
    ciphers = [SupportedCiphers.AES_GCM, SupportedCiphers.CHACHA20_POLY1305]
    return ciphers if cpu_supports_AES() else ciphers[::-1]


# --- sealing and opening ------------------------------------------------------------------------------------


def _as_bytes(value: bytes | str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"text or bytes are wanted, not {type(value).__name__}")
    return bytes(value)


class Aead:
    """One key under one cipher. A text key is taken as UTF-8; keys are neither cut nor hashed."""

    __slots__ = ("_cipher", "nonce_size")

    def __init__(self, key: bytes | str, cipher: SupportedCiphers | str, nonce: bytes | None = None) -> None:
        """Take nonces of the size the protocol has, or of the size of the one given. Raises InvalidCipher,
        InvalidKeySize.
        """
        name, raw = _norm_cipher(cipher), _as_bytes(key)
        if len(raw) not in _KEY_SIZES[name]:
            raise InvalidKeySize(f"{name.value} takes keys of {_KEY_SIZES[name]} bytes, not {len(raw)}")
        self.nonce_size = _NONCE_SIZES[name] if nonce is None else len(nonce)
        self._cipher = AESGCM(raw) if name is SupportedCiphers.AES_GCM else ChaCha20Poly1305(raw)

    def seal(self, plaintext: bytes, nonce: bytes | None = None) -> tuple[bytes, bytes, bytes]:
        """Return nonce, ciphertext and tag; the nonce is random unless given. Raises InvalidKeySize."""
        nonce = secrets.token_bytes(self.nonce_size) if nonce is None else nonce
        if len(nonce) != self.nonce_size:
            raise InvalidKeySize(f"a nonce has {self.nonce_size} bytes, not {len(nonce)}")
        sealed = self._cipher.encrypt(nonce, plaintext, None)
        return nonce, sealed[:-_TAG_SIZE], sealed[-_TAG_SIZE:]

    def open(self, nonce: bytes, sealed: bytes) -> bytes:
        """Return the plaintext of ciphertext followed by its tag. Raises DecryptionKeyError."""
        if len(nonce) != self.nonce_size or len(sealed) < _TAG_SIZE:
            raise DecryptionKeyError("the nonce or the ciphertext has the wrong length")
        try:
            return self._cipher.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise DecryptionKeyError("the ciphertext does not verify under this key") from None


def encrypt_bin(key: bytes | str, plaintext: bytes | str, cipher: SupportedCiphers | str) -> bytes:
    """Return the binary envelope: nonce, ciphertext, tag (docs/protocol.md 9.3).

    Raises InvalidCipher, InvalidKeySize, EncryptionKeyError.
    """
    try:
        return b"".join(Aead(key, cipher).seal(_as_bytes(plaintext)))
    except (TypeError, ValueError, OverflowError) as error:
        raise EncryptionKeyError(f"cannot encrypt: {error}") from None


def decrypt_bin(key: bytes | str, ciphertext: bytes, cipher: SupportedCiphers | str) -> bytes:
    """Open a binary envelope. Raises InvalidCipher, InvalidKeySize, DecryptionKeyError."""
    try:
        aead, sealed = Aead(key, cipher), _as_bytes(ciphertext)
    except TypeError as error:
        raise DecryptionKeyError(f"cannot decrypt: {error}") from None
    return aead.open(sealed[: aead.nonce_size], sealed[aead.nonce_size :])


def encrypt_as_json(
    key: bytes | str,
    plaintext: bytes | str | dict[str, Any],
    cipher: SupportedCiphers | str = SupportedCiphers.AES_GCM,
    encoding: SupportedEncodings | str = SupportedEncodings.JSON_B64,
) -> str:
    """Return the text envelope: ciphertext, tag and nonce, each encoded (docs/protocol.md 9.2).

    A dict is written as JSON first. Raises InvalidCipher, InvalidEncoding, InvalidKeySize, EncryptionKeyError.
    """
    encode = get_encoder(encoding)
    text = json.dumps(plaintext) if isinstance(plaintext, dict) else plaintext
    try:
        nonce, ciphertext, tag = Aead(key, cipher).seal(_as_bytes(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise EncryptionKeyError(f"cannot encrypt: {error}") from None
    fields = {"ciphertext": ciphertext, "tag": tag, "nonce": nonce}
    return json.dumps({name: encode(value).decode("ascii") for name, value in fields.items()})


def _encoded_fields(envelope: str | bytes | Mapping[str, Any], optional: str) -> list[str]:
    """Return ciphertext, tag and nonce as text; empty where the optional one is missing."""
    fields = envelope if isinstance(envelope, Mapping) else codec.loads(envelope)
    if not isinstance(fields, Mapping):
        raise DecodingError("an encrypted message is an object")
    texts = []
    for name in ("ciphertext", "tag", "nonce"):
        text = fields.get(name)
        if text is None and name == optional:
            text = ""
        if text is None:
            raise MissingField(f"an encrypted message has a {name}")
        if not isinstance(text, str):
            raise DecodingError(f"the {name} of an encrypted message is text")
        texts.append(text)
    return texts


def decrypt_from_json(
    key: bytes | str,
    ciphertext_json: str | bytes | Mapping[str, Any],
    cipher: SupportedCiphers | str = SupportedCiphers.AES_GCM,
    encoding: SupportedEncodings | str = SupportedEncodings.JSON_B64,
) -> str:
    """Open a text envelope; without a tag the ciphertext ends with it.

    Raises InvalidCipher, InvalidEncoding, InvalidKeySize, DecodingError, DecryptionKeyError.
    """
    decode, aead = get_decoder(encoding), Aead(key, cipher)
    sealed, tag, nonce = _encoded_fields(ciphertext_json, optional="tag")
    opened = aead.open(decode(nonce), decode(sealed) + (decode(tag) if tag else b""))
    try:
        return opened.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodingError("what was encrypted is not UTF-8 text") from None


def _check_mode(mode: Any) -> None:
    if mode not in (None, "GCM", _GCM):
        raise InvalidCipher("GCM is the only mode")


def encrypt_AES(  # noqa: N802
    key: bytes | str, text: bytes | str, nonce: bytes | None = None, mode: Any = _GCM
) -> tuple[bytes, bytes, bytes]:
    """Return ciphertext, tag and nonce under AES-GCM; a nonce that is given has 8 to 128 bytes.

    Raises InvalidKeySize, ValueError.
    """
    _check_mode(mode)
    nonce, ciphertext, tag = Aead(key, SupportedCiphers.AES_GCM, nonce).seal(_as_bytes(text), nonce)
    return ciphertext, tag, nonce


def decrypt_AES_128(  # noqa: N802
    key: bytes | str, ciphertext: bytes, tag: bytes, nonce: bytes, mode: Any = _GCM
) -> bytes:
    """Open what `encrypt_AES` returned, with any of its key sizes. Raises InvalidKeySize, DecryptionKeyError."""
    _check_mode(mode)
    return Aead(key, SupportedCiphers.AES_GCM, nonce).open(nonce, ciphertext + tag)


def encrypt_ChaCha20_Poly1305(  # noqa: N802
    key: bytes | str, text: bytes | str, nonce: bytes | None = None
) -> tuple[bytes, bytes, bytes]:
    """Return ciphertext, tag and nonce under ChaCha20-Poly1305. Raises InvalidKeySize."""
    nonce, ciphertext, tag = Aead(key, SupportedCiphers.CHACHA20_POLY1305).seal(_as_bytes(text), nonce)
    return ciphertext, tag, nonce


def decrypt_ChaCha20_Poly1305(  # noqa: N802
    key: bytes | str, ciphertext: bytes, tag: bytes, nonce: bytes
) -> bytes:
    """Open what `encrypt_ChaCha20_Poly1305` returned. Raises InvalidKeySize, DecryptionKeyError."""
    if len(nonce) != CHACHA20_NONCE_SIZE:
        raise InvalidKeySize(f"a nonce has {CHACHA20_NONCE_SIZE} bytes, not {len(nonce)}")
    return Aead(key, SupportedCiphers.CHACHA20_POLY1305).open(nonce, ciphertext + tag)


# --- sealed for one RSA key ---------------------------------------------------------------------------------


def hybrid_encrypt(public_key: Any, plaintext: bytes | str, sign_key: Any = None) -> dict[str, str]:
    """Seal for the owner of an RSA key and, given a private key, sign the ciphertext (docs/protocol.md 14.1).

    Keys are PEM or RSA key objects. Returns base64 texts. Raises EncryptionKeyError for a key that is none.
    """
    key = secrets.token_bytes(32)
    nonce, ciphertext, tag = Aead(key, SupportedCiphers.AES_GCM).seal(_as_bytes(plaintext))
    try:
        fields = {
            "encrypted_key": load_public(public_key).encrypt(key, oaep()),
            "ciphertext": ciphertext,
            "tag": tag,
            "nonce": nonce,
        }
        if sign_key is not None:
            fields["signature"] = load_private(sign_key).sign(ciphertext, *pss())
    except (TypeError, ValueError, AttributeError) as error:
        raise EncryptionKeyError(f"not an RSA key that can seal or sign: {error}") from None
    return {name: base64.b64encode(value).decode("ascii") for name, value in fields.items()}


def hybrid_decrypt(private_key: Any, envelope: Mapping[str, Any]) -> bytes:
    """Open what `hybrid_encrypt` sealed; the signature is not looked at. Raises DecodingError, DecryptionKeyError."""
    decode = get_decoder(SupportedEncodings.JSON_B64)
    sealed, tag, nonce = _encoded_fields(envelope, optional="")
    wrapped = envelope.get("encrypted_key")
    if not isinstance(wrapped, str):
        raise MissingField("a sealed message has an encrypted_key, as text")
    sealed_key = decode(wrapped)
    try:
        key = load_private(private_key).decrypt(sealed_key, oaep())
        aead = Aead(key, SupportedCiphers.AES_GCM)
    except (TypeError, ValueError, AttributeError, InvalidKeySize) as error:
        raise DecryptionKeyError(f"not sealed for this key: {error}") from None
    return aead.open(decode(nonce), decode(sealed) + decode(tag))
