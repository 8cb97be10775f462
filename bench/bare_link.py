"""The least that a satellite and a server can do: the cipher of a session and nothing of the protocol around it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from hivemind_bus_client import codec
from hivemind_bus_client.link import Received
from hivemind_bus_client.message import HiveMessage, HiveMessageType

KEY = bytes(range(32))
UTTERANCE = "recognizer_loop:utterance"
ECHO, RELAY = "echo", "relay"
_nonce = struct.Struct("<4xQ").pack


def _whole(message: HiveMessage) -> bytes:
    """A message in its envelope; sound without one."""
    is_sound = message.msg_type == HiveMessageType.BINARY
    return bytes(message.body) if is_sound else message.serialize().encode()


def _for_the_bus(message: HiveMessage) -> bytes:
    """What a hub makes of it for the bus."""
    return codec.dumps_bytes(message.body)


_WRITTEN: dict[str, Callable[[HiveMessage], bytes]] = {ECHO: _whole, RELAY: _for_the_bus}


class BareCipher:
    """ChaCha20-Poly1305 under a counter for each direction, as in a session of version 3."""

    __slots__ = ("_aead", "_received", "_sent")

    def __init__(self) -> None:
        self._aead = ChaCha20Poly1305(KEY)
        self._sent = self._received = 0

    def seal(self, data: bytes) -> bytes:
        """Encrypt the next message."""
        self._sent += 1
        return self._aead.encrypt(_nonce(self._sent), data, None)

    def open(self, data: bytes) -> bytes:
        """Decrypt the next message."""
        self._received += 1
        return self._aead.decrypt(_nonce(self._received), data, None)


class BareLink:
    """Stands where a satellite has its Link. Both ends use one key: what counts is what it costs."""

    is_open = True

    def __init__(self, floor: str = ECHO) -> None:
        self._cipher = BareCipher()
        self._frames: list[bytes] = []
        self._written = _WRITTEN[floor]

    def send(self, message: HiveMessage) -> None:
        """Encrypt a message, in the form that the floor takes."""
        self._frames.append(self._cipher.seal(self._written(message)))

    def frames_to_send(self) -> list[bytes]:
        """What is to be sent now."""
        frames, self._frames = self._frames, []
        return frames

    def receive(self, frame: bytes | str, now: float) -> list[Any]:
        """Decrypt a frame: the utterance, which comes back and counts as the answer, or the end of it."""
        assert isinstance(frame, bytes)
        document = json.loads(self._cipher.open(frame))
        payload = document.get("payload", document)
        if payload["type"] == UTTERANCE:
            payload["type"] = "speak"
        return [Received(HiveMessage(HiveMessageType.BUS, payload))]

    def key_derived(self, psk: bytes, now: float) -> list[Any]:
        """There is nothing to derive."""
        return []
