"""INTERCOM: messages that one node alone can read (docs/protocol.md 14): their two shapes, and what a hub does with
one.

A signature covers the ciphertext alone, so a message can be sent again, or on to somebody else: receivers remember
what they have opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .encryption import hybrid_decrypt, hybrid_encrypt
from .exceptions import DecodingError, DecryptionKeyError, HiveMindException
from .message import HiveMessage, HiveMessageType, Message
from .rsa_keys import load_private, oaep, verifies
from .text_encodings import SupportedEncodings, get_decoder

MAX_KEY_BYTES = 1024
"""The size of the largest RSA key whose work we do: 8192 bits. Wrapped keys and signatures are as long as the key."""
OAEP_BYTES = 42

DISPATCHED = frozenset(
    {
        HiveMessageType.BUS,
        HiveMessageType.SHARED_BUS,
        HiveMessageType.PROPAGATE,
        HiveMessageType.BROADCAST,
        HiveMessageType.ESCALATE,
    }
)
"""What a hub acts upon when it comes sealed."""


def seal(message: HiveMessage | Message, public_key: Any, sign_key: Any) -> HiveMessage:
    """Return an INTERCOM for the owner of an RSA public key, signed with a private one.

    Keys are PEM or RSA key objects; a key given as text is also the target. Raises EncryptionKeyError.
    """
    envelope = hybrid_encrypt(public_key, message.serialize(), sign_key)
    target = public_key if isinstance(public_key, str) else None
    return HiveMessage(HiveMessageType.INTERCOM, envelope, target_pubkey=target)


def propagated(intercom: HiveMessage) -> HiveMessage:
    """Return it in the PROPAGATE that takes it through the hive; the target stays on the inner message."""
    return HiveMessage(HiveMessageType.PROPAGATE, intercom)


def max_short_text(key_bits: int) -> int:
    """Return how many bytes the RSA-only shape holds under a key: 214 under one of 2048 bits."""
    return key_bits // 8 - OAEP_BYTES


def open_sealed(envelope: Mapping[str, Any], private_key: Any) -> HiveMessage:
    """Return the message in a payload of either shape. Nothing is said about who wrote it: see `is_signed_by`.

    Raises HiveMindException or ValueError for what is not sealed for this key, or holds no message.
    """
    return HiveMessage.deserialize(
        hybrid_decrypt(private_key, _bounded(envelope))
        if "encrypted_key" in envelope
        else _open_short(envelope, private_key)
    )


def is_signed_by(envelope: Mapping[str, Any], public_key: Any) -> bool:
    """Tell whether the owner of an RSA key, PEM or object, signed the ciphertext of a payload."""
    try:
        signature, ciphertext = _raw(envelope, "signature"), _raw(envelope, "ciphertext")
    except HiveMindException:
        return False
    return bool(ciphertext) and len(signature) <= MAX_KEY_BYTES and verifies(public_key, signature, ciphertext)


def fingerprint(envelope: Mapping[str, Any]) -> str:
    """Return what a sealed message is recognised by when it comes again, in whatever spelling."""
    try:
        return hashlib.sha256(_raw(envelope, "ciphertext")).hexdigest()
    except HiveMindException:
        return ""


def _raw(envelope: Mapping[str, Any], name: str) -> bytes:
    text = envelope.get(name)
    if not isinstance(text, str):
        raise DecodingError(f"a sealed message has a {name}, as text")
    return get_decoder(SupportedEncodings.JSON_B64)(text)


def _bounded(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    wrapped = envelope["encrypted_key"]
    if isinstance(wrapped, str) and len(wrapped) > 2 * MAX_KEY_BYTES:
        raise DecodingError("the encrypted_key is longer than any RSA key")
    return envelope


def _open_short(envelope: Mapping[str, Any], private_key: Any) -> bytes:
    sealed = _raw(envelope, "ciphertext")
    if len(sealed) > MAX_KEY_BYTES:
        raise DecodingError("the ciphertext is longer than any RSA key")
    try:
        return load_private(private_key).decrypt(sealed, oaep())
    except (TypeError, ValueError, AttributeError) as error:
        raise DecryptionKeyError(f"not sealed for this key: {error}") from None


# --- at a hub (docs/protocol.md 14.3) -----------------------------------------------------------------------


class Fate(Enum):
    """What a hub does with an INTERCOM."""

    FORWARDED = "forwarded"
    DROPPED = "dropped"
    DISPATCHED = "dispatched"


@dataclass(frozen=True)
class Verdict:
    """What a hub does with an INTERCOM, and the message it acts upon as if it came from the sender itself."""

    fate: Fate
    message: HiveMessage | None = None
    author: str = ""
    """The public key (PEM) that signed it."""


_FORWARD, _DROP = Verdict(Fate.FORWARDED), Verdict(Fate.DROPPED)


def judge(intercom: HiveMessage, own_pem: str, own_key: Any, known: Iterable[str]) -> Verdict:
    """Decide what a hub does with an INTERCOM.

    `own_pem` and `own_key` are the hub's RSA pair; `known` are the public keys whose signature it takes: that of the
    delivering connection, and of others it may come from. The RSA work takes about a millisecond.
    """
    envelope, target = intercom.body, intercom.target_public_key
    if target and target.strip() != own_pem.strip():
        return _FORWARD
    try:
        inner = open_sealed(envelope, own_key)
    except (HiveMindException, ValueError):
        return _DROP if target else _FORWARD
    author = next((key for key in known if key and is_signed_by(envelope, key)), None)
    if author is None:
        return _DROP
    return Verdict(Fate.DISPATCHED, inner, author) if inner.msg_type in DISPATCHED else _FORWARD
