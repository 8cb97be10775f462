"""Key exchanges of protocol versions 0 to 2, either side (docs/protocol.md 8); see legacy_crypto.py."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .encryption import SupportedCiphers
from .exchange import Established, Refuse, Step
from .legacy_crypto import (
    IV_BYTES,
    OFFERED_CIPHERS,
    OFFERED_ENCODINGS,
    SECRET_BYTES,
    LegacySession,
    envelope_iv,
    open_secret,
    or_nothing,
    password_envelope,
    public_pem,
    seal_secret,
    session_key,
    xor,
)
from .text_encodings import SupportedEncodings

PASSWORD, RSA, PRE_SHARED = "password", "rsa", "preshared"
VERSIONS = {PRE_SHARED: 0, PASSWORD: 2, RSA: 1}
"""What an exchange counts as when it is compared with a floor, in the order a satellite tries them."""
MAX_PEM_CHARS = 4096
CRYPTO_KEY_BYTES = 16

Compute = Callable[[], bytes]


@dataclass(frozen=True)
class Agreed:
    """What the two sides of a legacy exchange settled on."""

    kind: str
    cipher: str
    encoding: str
    binarize: bool
    previous: bool = False
    """Hub only: the client used its previous password."""

    def established(self, key: bytes, *, proven: bool) -> Established:
        """Return the finished exchange; not `proven` holds it back until a frame of the other side decrypts."""
        session = LegacySession(key, self.cipher, self.encoding)
        return Established(
            session,
            VERSIONS[self.kind],
            self.kind,
            b"",
            self.binarize,
            proven,
            self.cipher,
            self.encoding,
            key,
            self.previous,
        )


def pre_shared(crypto_key: str, *, binarize: bool, proven: bool) -> Established:
    """Return the session of protocol v0, which there is without any handshake (docs/protocol.md 8.4)."""
    agreed = Agreed(PRE_SHARED, SupportedCiphers.AES_GCM.value, SupportedEncodings.JSON_HEX.value, binarize)
    return agreed.established(crypto_key.encode(), proven=proven)


def is_crypto_key(value: object) -> bool:
    """Tell whether a value can be a pre-shared key: a text of 16 bytes."""
    return isinstance(value, str) and len(value.encode("utf-8", "replace")) == CRYPTO_KEY_BYTES


@dataclass(frozen=True)
class OlderOffer:
    """What a hub's offer says to clients that do not speak v3 (docs/protocol.md 7.1)."""

    floor: int
    password: bool
    """The row has one."""
    crypto_key: bool
    """The row has a pre-shared key."""

    def fields(self, *, binarize: bool) -> dict[str, Any]:
        """Return the keys to add."""
        best = {} if self.password else {"max_protocol_version": 2 if binarize else 1}
        return {
            "handshake": self.password,
            "min_protocol_version": max(self.floor, 0 if self.crypto_key else 1),
            "preshared_key": self.crypto_key,
            "password": self.password,
            "crypto_required": True,
            **best,
        }


# --- the hub's side -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HubLegacyTerms:
    """What the hub's side of a legacy exchange starts from."""

    encodings: tuple[str, ...]
    """Those the hub allows; the first that the client knows, too, is taken."""
    ciphers: tuple[str, ...]
    password: str | None = field(default=None, repr=False)
    rsa_key: Any = field(default=None, repr=False)
    """The hub's private key; None where RSA is not allowed."""
    random: Callable[[int], bytes] = secrets.token_bytes
    previous_password: str | None = field(default=None, repr=False)
    """The one before, while both are valid."""


def hub_exchange(payload: Mapping[str, Any], terms: HubLegacyTerms, floor: int) -> HubPassword | HubRsa:
    """Choose the exchange that a client's first message asks for (docs/protocol.md 8.1). Raises Refuse."""
    wants = [kind for kind, key in ((PASSWORD, "envelope"), (RSA, "pubkey")) if payload.get(key) is not None]
    if not wants:
        raise Refuse("malformed_handshake", "invalid or unrecognized handshake")
    served = {PASSWORD: terms.password is not None, RSA: terms.rsa_key is not None and terms.password is None}
    for kind in wants:
        if served[kind] and VERSIONS[kind] >= floor:
            return HubPassword(terms) if kind == PASSWORD else HubRsa(terms)
    version = VERSIONS[wants[0]]
    least = max(floor, version + 1)
    text = f"legacy handshake at protocol v{version} is below the configured minimum v{least}"
    raise Refuse("protocol_too_old", text)


def _first_common(ours: tuple[str, ...], theirs: object) -> str | None:
    known = theirs if isinstance(theirs, list) else []
    return next((name for name in ours if name in known), None)


class HubPassword:
    """The hub's side of the password handshake."""

    pattern = PASSWORD

    def __init__(self, terms: HubLegacyTerms) -> None:
        self._terms = terms
        self._answer: dict[str, Any] = {}
        self._agreed: Agreed | None = None

    def start(self) -> Step:
        return Step()

    def receive(self, payload: Mapping[str, Any]) -> Step:
        """Take the client's envelope; one that comes while a key is made, or before a HELLO, starts afresh."""
        previous, password, theirs = self._shown(payload.get("envelope"))
        encoding = _first_common(self._terms.encodings, payload.get("encodings"))
        cipher = _first_common(self._terms.ciphers, payload.get("ciphers"))
        if encoding is None or cipher is None:
            raise Refuse("no_common_cipher", "invalid cipher/encoding negotiation")
        ours = self._terms.random(IV_BYTES)
        self._agreed = Agreed(PASSWORD, cipher, encoding, payload.get("binarize") is True, previous)
        envelope = password_envelope(password, ours)
        self._answer = {"envelope": envelope, "encoding": encoding, "cipher": cipher}
        return Step(key_needed=True, compute=partial(session_key, password, xor(theirs, ours)), previous=previous)

    def _shown(self, envelope: object) -> tuple[bool, str, bytes]:
        """Return which password an envelope shows, and its random part: whether it is the previous one, and it."""
        for previous, password in ((False, self._terms.password), (True, self._terms.previous_password)):
            theirs = envelope_iv(envelope, password) if password is not None else None
            if password is not None and theirs is not None:
                return previous, password, theirs
        raise Refuse("wrong_password", "password handshake verification failed")

    def key_derived(self, psk: bytes) -> Step:
        if self._agreed is None:
            return Step()
        return Step((self._answer,), established=self._agreed.established(psk, proven=False))


class HubRsa:
    """The hub's side of the RSA handshake, for rows without a password."""

    pattern = RSA

    def __init__(self, terms: HubLegacyTerms) -> None:
        self._terms = terms
        self._secret = b""
        self._binarize = False

    def start(self) -> Step:
        return Step()

    def receive(self, payload: Mapping[str, Any]) -> Step:
        pem = payload.get("pubkey")
        if not isinstance(pem, str) or len(pem) > MAX_PEM_CHARS:
            raise Refuse("malformed_handshake", "invalid or unrecognized handshake")
        self._secret, self._binarize = self._terms.random(SECRET_BYTES), payload.get("binarize") is True
        return Step(key_needed=True, compute=partial(or_nothing, seal_secret, self._secret, pem, self._terms.rsa_key))

    def key_derived(self, psk: bytes) -> Step:
        if not psk:
            raise Refuse("malformed_handshake", "invalid or unrecognized handshake")
        # Nothing is negotiated here, whatever the lists say (docs/protocol.md 8.1).
        agreed = Agreed(RSA, SupportedCiphers.AES_GCM.value, SupportedEncodings.JSON_HEX.value, self._binarize)
        answer = {"envelope": psk.decode(), "encoding": agreed.encoding, "cipher": agreed.cipher}
        return Step((answer,), established=agreed.established(self._secret, proven=False))


# --- the client's side --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClientLegacyTerms:
    """What the client's side of a legacy exchange starts from."""

    hub_pem: str
    binarize: bool
    encodings: tuple[str, ...] = OFFERED_ENCODINGS
    ciphers: tuple[str, ...] = OFFERED_CIPHERS
    password: str = field(default="", repr=False)
    rsa_key: Any = field(default=None, repr=False)
    """The own private key, as PEM or as an object."""
    random: Callable[[int], bytes] = secrets.token_bytes


class _Client(ABC):
    """What both kinds of a client's exchange share: one message out, one back, slow work, the session."""

    pattern = ""

    def __init__(self, terms: ClientLegacyTerms) -> None:
        self._terms = terms
        self._agreed: Agreed | None = None

    def start(self) -> Step:
        t = self._terms
        wish = {"binarize": t.binarize, "encodings": list(t.encodings), "ciphers": list(t.ciphers)}
        return Step((wish | self._opening(),))

    def receive(self, payload: Mapping[str, Any]) -> Step:
        if self._agreed is not None or "envelope" not in payload:
            return Step()  # a repeated offer, or an answer to it (docs/protocol.md 7.9)
        compute = self._computation(payload["envelope"])
        cipher = payload.get("cipher", SupportedCiphers.AES_GCM.value)
        encoding = payload.get("encoding", SupportedEncodings.JSON_HEX.value)
        if cipher not in self._terms.ciphers or encoding not in self._terms.encodings:
            raise Refuse("no_common_cipher", "the hub chose a cipher or an encoding that was not offered")
        self._agreed = Agreed(self.pattern, cipher, encoding, self._terms.binarize)
        return Step(key_needed=True, compute=compute)

    def key_derived(self, psk: bytes) -> Step:
        if self._agreed is None:
            return Step()
        if not psk:
            raise Refuse("handshake_failed", "the hub's envelope does not verify")
        return Step(established=self._agreed.established(psk, proven=True))

    @abstractmethod
    def _opening(self) -> dict[str, Any]:
        """Return what this kind adds to the first message."""

    @abstractmethod
    def _computation(self, envelope: object) -> Compute:
        """Return how the key comes out of the hub's answer. Raises Refuse."""


class ClientPassword(_Client):
    """The client's side of the password handshake."""

    pattern = PASSWORD

    def _opening(self) -> dict[str, Any]:
        self._iv = self._terms.random(IV_BYTES)
        return {"envelope": password_envelope(self._terms.password, self._iv)}

    def _computation(self, envelope: object) -> Compute:
        theirs = envelope_iv(envelope, self._terms.password, self._iv)
        if theirs is None:
            raise Refuse("wrong_password", "the hub's envelope does not fit the password")
        return partial(session_key, self._terms.password, xor(self._iv, theirs))


class ClientRsa(_Client):
    """The client's side of the RSA handshake; it believes the key in the hub's HELLO."""

    pattern = RSA

    def _opening(self) -> dict[str, Any]:
        return {"pubkey": public_pem(self._terms.rsa_key)}

    def _computation(self, envelope: object) -> Compute:
        return partial(or_nothing, open_secret, envelope, self._terms.rsa_key, self._terms.hub_pem)
