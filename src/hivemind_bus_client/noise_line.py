"""Protocol v3 for connections that leave the key exchange to their protocol (docs/protocol.md 7): one attempt, and the
session it becomes. Keys are read and derived in the caller's thread, which takes about 0.2 s at the first contact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from .exceptions import NoiseTransportFailed
from .exchange import ENCODINGS, ClientNoise, Established, NoiseTerms, Session, Step, choose_noise
from .keyring import Keyring
from .noise import NOISE_PATTERN_KK
from .parts import CHUNK_SIZE


def server_name(config: Any, node_id: str) -> str:
    """Return the name a hub's key is pinned by: ``host:port``, or one made from its id where there is no address."""
    host, port = getattr(config, "host", None), getattr(config, "port", None)
    if isinstance(host, str) and isinstance(port, int):
        return f"{host}:{port}"
    return f"node:{hashlib.sha256(node_id.encode()).hexdigest()[:32]}"


class NoiseLine:
    """An established session as a transport of whole messages, as `NoiseTransport` is: text is JSON, bytes are binary
    frames. Any failure is fatal to the connection.
    """

    def __init__(self, session: Session, remote_static_key: bytes) -> None:
        self.remote_static_key = remote_static_key.hex()
        self._session = session
        self._sending, self._receiving = Lock(), Lock()

    def send_message(self, payload: str | bytes, raw_send: Callable[[bytes], object]) -> None:
        """Hand the frames of a message, however long, to `raw_send`; those of other threads do not come between."""
        body = payload.encode("utf-8") if isinstance(payload, str) else payload
        with self._sending:
            for frame in self._session.seal(body, isinstance(payload, bytes)):
                raw_send(frame if isinstance(frame, bytes) else frame.encode("utf-8"))

    def encrypt_frame(self, payload: str | bytes) -> bytes:
        """Return the frame of a message that fits into one. Raises NoiseTransportFailed for a longer one."""
        body = payload.encode("utf-8") if isinstance(payload, str) else payload
        if len(body) > CHUNK_SIZE:
            raise NoiseTransportFailed(f"{len(body)} bytes do not fit into one frame")
        frames: list[bytes] = []
        self.send_message(payload, frames.append)
        return frames[0]

    def decrypt_frame(self, data: bytes) -> str | bytes | None:
        """Return the message that a frame completes; None if more frames follow. Raises HiveMindException."""
        with self._receiving:
            opened = self._session.open(data)
        if opened is None:
            return None
        body, binary = opened
        return body if binary else body.decode("utf-8")


class NoiseAttempt:
    """One attempt at a session with a hub, as satellite."""

    def __init__(self, keyring: Keyring, exchange: ClientNoise) -> None:
        self._keyring = keyring
        self._exchange = exchange
        self.line: NoiseLine | None = None
        self.encoding = ""
        """What the hub named, for those who look; it has no effect on the session."""

    @staticmethod
    def begin(
        keyring: Keyring, hello: Mapping[str, Any], offer: Mapping[str, Any], binarize: bool, allow_kk: bool = True
    ) -> NoiseAttempt | None:
        """Choose from the hub's offer; None if there is nothing in it to choose.

        Without ``allow_kk`` the hub has to show the key it is known by. Raises OSError, IdentityFileCorrupted.
        """
        keys = keyring.load()
        options = choose_noise(offer, keys.pinned if allow_kk else None)
        if options is None:
            return None
        terms = NoiseTerms(hello, offer, keys.static, keys.pinned)
        inner = {"binarize": binarize, "encodings": list(ENCODINGS)}
        return NoiseAttempt(keyring, ClientNoise(terms, options, inner))

    @property
    def is_kk(self) -> bool:
        """It goes by the key the hub is known by."""
        return self._exchange.pattern == NOISE_PATTERN_KK

    def first(self, node_id: str) -> tuple[dict[str, Any], ...]:
        """Return the payloads to send first."""
        psk, _ = self._keyring.pre_shared(node_id, kept=True)
        self._exchange.start()
        return self._exchange.key_derived(psk or b"").send

    def receive(self, payload: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Take the hub's answer and return the payloads to send; then `line` is there. Raises Refuse."""
        step: Step = self._exchange.receive(payload)
        if step.established is not None:
            self._established(step.established)
        return step.send

    def _established(self, found: Established) -> None:
        self.line, self.encoding = NoiseLine(found.session, found.remote_key), found.encoding
        self._keyring.accepted(found.remote_key)

    def rejected(self) -> None:
        """Forget the key kept from before: the attempt has failed."""
        self._keyring.rejected()
