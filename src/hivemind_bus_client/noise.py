"""Noise for one link: negotiation, prologue, handshake, transport, parts (docs/protocol.md 7).

The Noise Protocol Framework, revision 34, with X25519, SHA-256 and ChaCha20-Poly1305 or AES-256-GCM, patterns
XXpsk2 and KKpsk0. A `Handshake` ends by *becoming* a `Transport`, so nothing can be sealed before both sides have
proven the password. A key lives in exactly one `CipherState`, whose counter only moves forward: a nonce cannot be
used twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from .exceptions import NoiseHandshakeFailed, NoiseTransportFailed
from .parts import CHUNK_SIZE as CHUNK_SIZE
from .parts import MAX_REASSEMBLY_BYTES as MAX_REASSEMBLY_BYTES
from .parts import split_message

_ELSEWHERE = {
    "NoiseHandShake": "noise_transport",
    "NoiseTransport": "noise_transport",
    "start_noise_handshake": "noise_transport",
    "NOISE_PSK_CACHE_SUFFIX": "noise_psks",
    "clear_cached_psks": "noise_psks",
    "forget_cached_psk": "noise_psks",
    "load_cached_psk": "noise_psks",
    "save_cached_psk": "noise_psks",
}
"""Released names of this module that need files or locks, and the modules they are in."""


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ELSEWHERE[name]}", __package__), name)


PROTOCOL_V3 = 3
NOISE_SUPPORTED = True
NOISE_PATTERN_XX = "XXpsk2"
NOISE_PATTERN_KK = "KKpsk0"
NOISE_PATTERNS = [NOISE_PATTERN_KK, NOISE_PATTERN_XX]
NOISE_SUITE_CHACHA = "25519_ChaChaPoly_SHA256"
NOISE_SUITE_AESGCM = "25519_AESGCM_SHA256"
NOISE_SUITES = [NOISE_SUITE_CHACHA, NOISE_SUITE_AESGCM]

MAX_MESSAGE_BYTES = 65_535
MAX_NONCE = 2**64 - 2
KEY_BYTES = 32
TAG_BYTES = 16
PSK_BYTES = 32

_PRE_MESSAGES: dict[str, tuple[str, str]] = {NOISE_PATTERN_XX: ("", ""), NOISE_PATTERN_KK: ("s", "s")}
_MESSAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    NOISE_PATTERN_XX: (("e",), ("e", "ee", "s", "es", "psk"), ("s", "se")),
    NOISE_PATTERN_KK: (("psk", "e", "es", "ss"), ("e", "ee", "se")),
}


# --- negotiation (docs/protocol.md 7.2, 7.3, 7.4) -----------------------------------------------------------


def noise_protocol_name(pattern: str, suite: str) -> str:
    """Return the full Noise name, for example ``Noise_XXpsk2_25519_ChaChaPoly_SHA256``."""
    return f"Noise_{pattern}_{suite}"


def canonical_json(payload: Any) -> bytes:
    """Return the canonical bytes of a JSON value (docs/protocol.md 7.3).

    Always by the standard library: the spelling of numbers is part of what both sides hash.
    """
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def build_prologue(hello_payload: dict[str, Any], handshake_payload: dict[str, Any], protocol_name: str) -> bytes:
    """Bind the hub's HELLO and offer payloads to the handshake (docs/protocol.md 7.3)."""
    return canonical_json(hello_payload) + canonical_json(handshake_payload) + protocol_name.encode("utf-8")


def select_noise_options(
    server_patterns: Iterable[Any], server_suites: Iterable[Any], pinned_remote_key: bytes | str | None = None
) -> tuple[str, str] | None:
    """Choose pattern and suite from a hub's offer, or None when nothing fits (docs/protocol.md 7.2)."""
    offered_patterns, offered_suites = list(server_patterns), list(server_suites)
    suite = next((name for name in NOISE_SUITES if name in offered_suites), None)
    wanted = NOISE_PATTERNS if pinned_remote_key else [NOISE_PATTERN_XX]
    pattern = next((name for name in wanted if name in offered_patterns), None)
    return (pattern, suite) if pattern and suite else None


def derive_psk(password: str | bytes, node_id: str | bytes | None = None, salt: bytes | None = None) -> bytes:
    """Derive the 32-byte pre-shared key with argon2id (docs/protocol.md 7.4); texts are taken as UTF-8.

    The salt is made from the hub's `node_id` unless one is given; without both, ValueError.

    Takes 0.1 s to several seconds and 64 MiB: never call it on an event loop, and keep the result.
    """
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    if salt is None:
        if node_id is None:
            raise ValueError("a node_id or a salt is wanted")
        salt = hashlib.sha256(node_id.encode("utf-8") if isinstance(node_id, str) else node_id).digest()
    kdf = Argon2id(salt=salt, length=PSK_BYTES, iterations=3, lanes=1, memory_cost=65_536)
    return kdf.derive(password.encode("utf-8") if isinstance(password, str) else password)


def generate_static_key() -> bytes:
    """Return a new X25519 private key, 32 raw bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key(private: bytes) -> bytes:
    """Return the public half of an X25519 private key, 32 raw bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


# --- cipher and symmetric state (Noise 5.1, 5.2) ------------------------------------------------------------


class Aead(Protocol):
    """A cipher object of the cryptography library."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


_CIPHERS: dict[str, tuple[Callable[[bytes], Aead], Callable[[int], bytes]]] = {
    NOISE_SUITE_CHACHA: (ChaCha20Poly1305, struct.Struct("<4xQ").pack),
    NOISE_SUITE_AESGCM: (AESGCM, struct.Struct(">4xQ").pack),
}


class CipherState:
    """One key and the counter that makes its nonces. There is no way to set or to turn back the counter."""

    __slots__ = ("_aead", "_key", "_make", "_nonce", "_pack")

    def __init__(self, suite: str, key: bytes) -> None:
        self._make, self._pack = _CIPHERS[suite]
        self._key = key
        self._aead: Aead | None = None
        self._nonce = 0

    def __repr__(self) -> str:
        return f"<CipherState nonce={self._nonce}>"

    @property
    def nonce(self) -> int:
        """How many messages this key has sealed or opened."""
        return self._nonce

    def _next(self) -> tuple[Aead, bytes]:
        if self._nonce > MAX_NONCE:
            raise NoiseTransportFailed("the key is used up")
        if self._aead is None:
            self._aead = self._make(self._key)
        return self._aead, self._pack(self._nonce)

    def encrypt(self, plaintext: bytes, associated: bytes = b"") -> bytes:
        """Seal one message under the next nonce."""
        aead, nonce = self._next()
        self._nonce += 1
        return aead.encrypt(nonce, plaintext, associated)

    def decrypt(self, ciphertext: bytes, associated: bytes = b"") -> bytes:
        """Open one message; the counter moves only when it verifies. Raises NoiseTransportFailed."""
        aead, nonce = self._next()
        try:
            plaintext = aead.decrypt(nonce, ciphertext, associated)
        except (InvalidTag, ValueError):
            raise NoiseTransportFailed("a frame does not verify") from None
        self._nonce += 1
        return plaintext

    def rest(self) -> None:
        """Drop the cipher object of an idle link; it is made again when needed."""
        self._aead = None

    def copy(self) -> CipherState:
        """Return a copy to try a step on: either it or this one is kept, never both."""
        twin = CipherState.__new__(CipherState)
        twin._make, twin._pack, twin._key = self._make, self._pack, self._key
        twin._aead, twin._nonce = self._aead, self._nonce
        return twin


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    secret = hmac.digest(chaining_key, material, "sha256")
    result: list[bytes] = []
    block = b""
    for index in range(1, outputs + 1):
        block = hmac.digest(secret, block + bytes((index,)), "sha256")
        result.append(block)
    return result


class SymmetricState:
    """Chaining key, hash and, once a key is mixed in, a cipher (Noise 5.2)."""

    __slots__ = ("chaining_key", "cipher", "hash", "suite")

    def __init__(self, suite: str, protocol_name: bytes) -> None:
        self.suite = suite
        short = len(protocol_name) <= 32
        self.hash = protocol_name.ljust(32, b"\0") if short else hashlib.sha256(protocol_name).digest()
        self.chaining_key = self.hash
        self.cipher: CipherState | None = None

    def copy(self) -> SymmetricState:
        twin = SymmetricState.__new__(SymmetricState)
        twin.suite, twin.hash, twin.chaining_key = self.suite, self.hash, self.chaining_key
        twin.cipher = self.cipher.copy() if self.cipher else None
        return twin

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = _hkdf(self.chaining_key, material, 2)
        self.cipher = CipherState(self.suite, key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chaining_key, hashed, key = _hkdf(self.chaining_key, material, 3)
        self.mix_hash(hashed)
        self.cipher = CipherState(self.suite, key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        text = self.cipher.encrypt(plaintext, self.hash) if self.cipher else plaintext
        self.mix_hash(text)
        return text

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plain = self.cipher.decrypt(ciphertext, self.hash) if self.cipher else ciphertext
        self.mix_hash(ciphertext)
        return plain

    def split(self) -> tuple[CipherState, CipherState]:
        first, second = _hkdf(self.chaining_key, b"", 2)
        return CipherState(self.suite, first), CipherState(self.suite, second)


# --- handshake (Noise 5.3, docs/protocol.md 7.5) ------------------------------------------------------------


@dataclass
class HandshakeKeys:
    """What one side knows when a handshake starts. All keys are 32 raw bytes."""

    static: bytes = field(repr=False)
    psk: bytes | None = field(default=None, repr=False)
    """May be filled in later, before the first message that mixes it."""
    remote_static: bytes | None = None
    """Needed by KKpsk0; learnt in XXpsk2."""
    ephemeral_for_testing_only: bytes | None = field(default=None, repr=False)


@lru_cache(maxsize=4)
def _loaded(static: bytes) -> X25519PrivateKey:
    """Return a static key as an object: making one costs as much as a key agreement, and a hub has one for all."""
    return X25519PrivateKey.from_private_bytes(static)


@lru_cache(maxsize=4)
def _public(static: bytes) -> bytes:
    """Return the public half of a static key."""
    return _loaded(static).public_key().public_bytes_raw()


@lru_cache(maxsize=4096)
def _shared_by_statics(static: bytes, remote_static: bytes) -> bytes:
    """Return what two static keys have in common: the same whenever a device comes back, and worth a key agreement.

    Whoever can read it here can read the static key.
    """
    return _dh(_loaded(static), remote_static)


def _dh(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise NoiseHandshakeFailed("a public key is not usable") from None


class Handshake:
    """The handshake of one link; alternate `write` and `read` until `finished`, then call `transport` once.

    A step that fails raises NoiseHandshakeFailed and leaves the state as it was.
    """

    def __init__(self, pattern: str, suite: str, *, initiator: bool, prologue: bytes, keys: HandshakeKeys) -> None:
        self.initiator = initiator
        self.keys = keys
        self._messages = _MESSAGES[pattern]
        self._step = 0
        self._ephemeral: X25519PrivateKey | None = None
        self._remote_ephemeral: bytes | None = None
        self._state = SymmetricState(suite, noise_protocol_name(pattern, suite).encode("ascii"))
        self._state.mix_hash(prologue)
        self._mix_pre_messages(_PRE_MESSAGES[pattern])

    def _mix_pre_messages(self, pre: tuple[str, str]) -> None:
        for sender_is_initiator, token in zip((True, False), pre, strict=True):
            if token == "s":
                mine = sender_is_initiator == self.initiator
                self._state.mix_hash(self._own_static() if mine else self._remote_static())

    def _own_static(self) -> bytes:
        return _public(self.keys.static)

    def _remote_static(self) -> bytes:
        if self.keys.remote_static is None:
            raise NoiseHandshakeFailed("the other side's static key is not known")
        return self.keys.remote_static

    @property
    def finished(self) -> bool:
        return self._step == len(self._messages)

    @property
    def hash(self) -> bytes:
        """The handshake hash so far."""
        return self._state.hash

    def _my_turn(self) -> bool:
        return not self.finished and (self._step % 2 == 0) == self.initiator

    def _shared(self, state: SymmetricState, token: str) -> None:
        """Mix the Diffie-Hellman result a token names: first letter the initiator's key, second the responder's."""
        mine, theirs = (token[0], token[1]) if self.initiator else (token[1], token[0])
        private = _loaded(self.keys.static) if mine == "s" else self._ephemeral
        public = self.keys.remote_static if theirs == "s" else self._remote_ephemeral
        if private is None or public is None:
            raise NoiseHandshakeFailed(f"{token} before its keys are known")
        known = token == "ss"
        state.mix_key(_shared_by_statics(self.keys.static, public) if known else _dh(private, public))

    def _mix_psk(self, state: SymmetricState) -> None:
        if self.keys.psk is None:
            raise NoiseHandshakeFailed("the pre-shared key is not known yet")
        state.mix_key_and_hash(self.keys.psk)

    def write(self, payload: bytes = b"") -> bytes:
        """Return the next handshake message with `payload` inside."""
        if not self._my_turn():
            raise NoiseHandshakeFailed("not this side's turn")
        state, parts = self._state.copy(), []
        for token in self._messages[self._step]:
            if token == "e":
                given = self.keys.ephemeral_for_testing_only
                self._ephemeral = X25519PrivateKey.from_private_bytes(given) if given else X25519PrivateKey.generate()
                parts.append(self._ephemeral.public_key().public_bytes_raw())
                state.mix_hash(parts[-1])
                state.mix_key(parts[-1])
            elif token == "s":
                parts.append(state.encrypt_and_hash(self._own_static()))
            elif token == "psk":
                self._mix_psk(state)
            else:
                self._shared(state, token)
        parts.append(state.encrypt_and_hash(payload))
        self._state, self._step = state, self._step + 1
        return b"".join(parts)

    def read(self, message: bytes) -> bytes:
        """Take the other side's next handshake message and return its payload."""
        if self.finished or self._my_turn():
            raise NoiseHandshakeFailed("not the other side's turn")
        if len(message) > MAX_MESSAGE_BYTES:
            raise NoiseHandshakeFailed("message too long")
        before = self._remote_ephemeral, self.keys.remote_static
        state = self._state.copy()
        try:
            payload = self._read_tokens(state, message)
        except (NoiseHandshakeFailed, NoiseTransportFailed) as error:
            self._remote_ephemeral, self.keys.remote_static = before
            raise NoiseHandshakeFailed(str(error)) from None
        self._state, self._step = state, self._step + 1
        return payload

    def _read_tokens(self, state: SymmetricState, message: bytes) -> bytes:
        rest = message
        for token in self._messages[self._step]:
            if token == "e":
                self._remote_ephemeral, rest = _take(rest, KEY_BYTES)
                state.mix_hash(self._remote_ephemeral)
                state.mix_key(self._remote_ephemeral)
            elif token == "s":
                sealed, rest = _take(rest, KEY_BYTES + TAG_BYTES)
                self.keys.remote_static = state.decrypt_and_hash(sealed)
            elif token == "psk":
                self._mix_psk(state)
            else:
                self._shared(state, token)
        return state.decrypt_and_hash(rest)

    def transport(self) -> Transport:
        """Split into the two directions' keys (Noise 5.2 Split): the handshake becomes the transport."""
        if not self.finished:
            raise NoiseHandshakeFailed("the handshake is not finished")
        first, second = self._state.split()
        sending, receiving = (first, second) if self.initiator else (second, first)
        return Transport(sending, receiving, self._remote_static(), self._state.hash)


def _take(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise NoiseHandshakeFailed("message too short")
    return data[:size], data[size:]


# --- transport (docs/protocol.md 7.6) -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transport:
    """The two directions of a finished handshake."""

    sending: CipherState
    receiving: CipherState
    remote_static: bytes
    handshake_hash: bytes = field(repr=False)

    def seal(self, body: bytes, binary: bool) -> list[bytes]:
        """Seal one whole message into one frame, or into contiguous parts when it is long."""
        return [self.sending.encrypt(part) for part in split_message(body, binary)]

    def rest(self) -> None:
        """Drop the cipher objects of an idle link."""
        self.sending.rest()
        self.receiving.rest()
