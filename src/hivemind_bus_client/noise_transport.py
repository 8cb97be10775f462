"""The released names of a Noise handshake and its transport, for programs that carry the frames themselves: key files
are read and written here, keys derived in the caller's thread, and frames may be sealed by several threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock

from cryptography.exceptions import InvalidTag

from . import noise
from .exceptions import HiveMindException, NoiseHandshakeFailed, NoiseTransportFailed
from .identity_file import read_or_create_noise_key, write_private
from .noise import Handshake, HandshakeKeys, Transport
from .noise_psks import load_cached_psk, save_cached_psk
from .parts import MAX_REASSEMBLY_BYTES, SINGLE_BINARY, SINGLE_JSON, Reassembler, split_message

__all__ = ["NoiseHandShake", "NoiseTransport", "start_noise_handshake"]

MAX_ONE_FRAME = noise.MAX_MESSAGE_BYTES - noise.TAG_BYTES - 1
DEFAULT_PROTOCOL = noise.noise_protocol_name(noise.NOISE_PATTERN_XX, noise.NOISE_SUITE_CHACHA)


class _Rejected(NoiseHandshakeFailed, InvalidTag):
    """A message that does not fit: also what callers of the released packages' handshake catch."""


class NoiseHandShake:
    """One side of a handshake; write and read messages alternately until it is `complete`.

    `path` is the file of the Noise key, made where it is missing; without one the key lives as long as the object.
    `pattern` is the whole protocol name. Give a `password` and the hub's `node_id`, or the `psk` derived from them.
    Raises ValueError for arguments that make no handshake.
    """

    def __init__(
        self,
        initiator: bool,
        path: str | os.PathLike[str] | None = None,
        password: str | bytes | None = None,
        node_id: str | bytes | None = None,
        psk: bytes | None = None,
        remote_pubkey: str | bytes | None = None,
        prologue: bytes = b"",
        pattern: str | bytes | None = None,
    ) -> None:
        name = _text(pattern or DEFAULT_PROTOCOL)
        prefix, _, rest = name.partition("_")
        shape, _, suite = rest.partition("_")
        if prefix != "Noise" or shape not in noise.NOISE_PATTERNS or suite not in noise.NOISE_SUITES:
            raise ValueError(f"not a Noise protocol of ours: {name}")
        self.initiator = initiator
        self.pattern = name.encode("ascii")
        self._static = noise.generate_static_key() if path is None else read_or_create_noise_key(path)
        keys = HandshakeKeys(self._static, _psk(password, node_id, psk), _raw_key(remote_pubkey))
        self._state = Handshake(shape, suite, initiator=initiator, prologue=prologue, keys=keys)
        self._transport: Transport | None = None

    @property
    def pubkey_bytes(self) -> bytes:
        """This side's public key."""
        return noise.public_key(self._static)

    @property
    def pubkey(self) -> str:
        """This side's public key as hex."""
        return self.pubkey_bytes.hex()

    @property
    def remote_pubkey(self) -> bytes | None:
        """The other side's public key, once it is known."""
        return self._state.keys.remote_static

    @property
    def complete(self) -> bool:
        """Both sides have proven the password."""
        return self._state.finished

    handshake_finished = finished = complete

    @property
    def handshake_hash(self) -> bytes | None:
        """What binds this session's messages together, once it is complete."""
        return self._state.hash if self.complete else None

    def write_message(self, payload: bytes = b"") -> bytes:
        """Return the next message. Raises NoiseHandshakeFailed out of turn."""
        return self._state.write(payload)

    def read_message(self, data: bytes) -> bytes:
        """Take the other side's next message and return its payload. Raises NoiseHandshakeFailed, an InvalidTag too."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise NoiseHandshakeFailed(f"a message is bytes, not {type(data).__name__}")
        try:
            return self._state.read(bytes(data))
        except NoiseHandshakeFailed as error:
            raise _Rejected(str(error)) from error

    def split(self) -> Transport:
        """Return the keys of both directions, the same ones each time. Raises NoiseHandshakeFailed before the end."""
        if self._transport is None:
            self._transport = self._state.transport()
        return self._transport

    def encrypt(self, data: bytes) -> bytes:
        """Seal one frame."""
        return self.split().sending.encrypt(data)

    def decrypt(self, data: bytes) -> bytes:
        """Open one frame. Raises NoiseTransportFailed."""
        return self.split().receiving.decrypt(data)

    def export_private_key(self, path: str | os.PathLike[str]) -> None:
        """Write this side's key to a file only its owner may read."""
        write_private(path, self._static.hex())


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else bytes(value).decode("utf-8")


def _raw_key(key: str | bytes | None) -> bytes | None:
    raw = bytes.fromhex(key) if isinstance(key, str) else key
    if raw is not None and len(raw) != noise.KEY_BYTES:
        raise ValueError(f"a public key has {noise.KEY_BYTES} bytes")
    return raw


def _psk(password: str | bytes | None, node_id: str | bytes | None, psk: bytes | None) -> bytes:
    if psk is None:
        if password is None or node_id is None:
            raise ValueError("a handshake needs a password and a node_id, or the psk")
        psk = noise.derive_psk(_text(password), node_id=_text(node_id))
    if len(psk) != noise.PSK_BYTES:
        raise ValueError(f"a psk has {noise.PSK_BYTES} bytes")
    return psk


def start_noise_handshake(
    initiator: bool,
    pattern: str,
    suite: str,
    password: str | bytes | None,
    node_id: str,
    prologue: bytes,
    key_path: str | os.PathLike[str] | None = None,
    remote_pubkey: str | bytes | None = None,
    *,
    psk: bytes | None = None,
    cache_scope: str | None = None,
) -> NoiseHandShake:
    """Return a handshake that has not begun.

    An initiator without a `psk` takes the one kept beside its key file under `cache_scope`, its access key, or derives
    it (0.1 s to seconds, 64 MiB) and keeps it. A kept key is used whatever the password is: call `forget_cached_psk`
    when the hub does not accept it. Raises ValueError without password and psk, NoiseHandshakeFailed for anything else
    that makes no handshake.
    """
    if psk is None and password is None:
        raise ValueError("a handshake needs a password or the psk")
    if psk is None and initiator:
        psk = load_cached_psk(key_path, node_id, cache_scope)
        if psk is None:
            psk = noise.derive_psk(_text(password or ""), node_id=node_id)
            save_cached_psk(key_path, node_id, psk, cache_scope)
    name = noise.noise_protocol_name(pattern, suite)
    try:
        return NoiseHandShake(initiator, key_path, password, node_id, psk, remote_pubkey, prologue, name)
    except (HiveMindException, OSError, ValueError) as error:
        raise NoiseHandshakeFailed(f"{name} cannot begin: {error}") from error


class NoiseTransport:
    """A finished handshake as a transport of whole messages: text is JSON, bytes are binary frames.

    The handshake may be another library's object with the members used here. A failure is fatal: close the connection.
    Raises NoiseHandshakeFailed for a handshake that is not finished.
    """

    def __init__(self, handshake: NoiseHandShake, max_reassembly_bytes: int = MAX_REASSEMBLY_BYTES) -> None:
        if not handshake.handshake_finished:
            raise NoiseHandshakeFailed("the handshake is not finished")
        remote = handshake.remote_pubkey
        self.remote_static_key = None if remote is None else remote.hex()
        self.handshake_hash = handshake.handshake_hash
        self._handshake = handshake
        self._parts = Reassembler(max_reassembly_bytes)
        self._sending, self._receiving = Lock(), Lock()

    def encrypt_frame(self, payload: str | bytes) -> bytes:
        """Return the frame of a message that fits into one: up to 65,518 bytes. Raises NoiseTransportFailed."""
        body, binary = _body(payload)
        if len(body) > MAX_ONE_FRAME:
            raise NoiseTransportFailed(f"{len(body)} bytes do not fit into one frame")
        with self._sending:
            return self._handshake.encrypt((SINGLE_BINARY if binary else SINGLE_JSON) + body)

    def send_message(self, payload: str | bytes, raw_send: Callable[[bytes], object]) -> None:
        """Hand the frames of a message, however long, to `raw_send`; those of other threads do not come between."""
        body, binary = _body(payload)
        with self._sending:
            for part in split_message(body, binary):
                raw_send(self._handshake.encrypt(part))

    def decrypt_frame(self, data: bytes) -> str | bytes | None:
        """Return the message a frame completes, or None while parts of it are missing.

        Raises NoiseTransportFailed, and UnicodeDecodeError for text that is none.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise NoiseTransportFailed(f"a frame is bytes, not {type(data).__name__}")
        with self._receiving:
            try:
                plaintext = self._handshake.decrypt(bytes(data))
            except (InvalidTag, RuntimeError, ValueError) as error:
                raise NoiseTransportFailed(f"a frame does not verify: {error}") from None
            try:
                whole = self._parts.feed(plaintext)
            except NoiseTransportFailed:
                self._parts.drop()
                raise
        if whole is None:
            return None
        body, binary = whole
        return body if binary else body.decode("utf-8")


def _body(payload: str | bytes) -> tuple[bytes, bool]:
    """Return what travels, and whether it is a binary frame."""
    if isinstance(payload, str):
        return payload.encode("utf-8"), False
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise TypeError(f"a message is text or bytes, not {type(payload).__name__}")
    return bytes(payload), True
