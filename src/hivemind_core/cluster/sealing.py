"""What keeps the bus between the hubs to them: whoever reads or writes in Redis can neither read nor forge a frame.

Each member seals with a key of its own, derived from the cluster's secret and its id, which is new at each start; so a
counter is nonce enough. Where an entry lies (stream, sender, number) is sealed with it: moved or copied elsewhere it
does not open.
"""

from __future__ import annotations

from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
MAX_KEYS = 256
"""Keys of so many senders are kept derived."""

_INFO = b"hivemind cluster"


class DoesNotOpen(Exception):
    """An entry that no member sealed for this place."""


class Sealer:
    """Seals as member `hub`, and opens what the others sealed."""

    def __init__(self, secret: bytes, name: str, hub: str) -> None:
        self._secret = secret
        self._salt = name.encode()
        self._hub = hub
        self._own = self._derive(hub)
        self._keys: OrderedDict[str, ChaCha20Poly1305] = OrderedDict()
        self._sealed = 0

    def seal(self, stream: str, number: int, plain: bytes) -> bytes:
        """Return the nonce and what is sealed; never twice the same, whatever the stream."""
        nonce = self._sealed.to_bytes(NONCE_SIZE, "big")
        self._sealed += 1
        return nonce + self._own.encrypt(nonce, plain, _place(stream, self._hub, number))

    def open(self, stream: str, sender: str, number: int, sealed: bytes) -> bytes:
        """Return what `sender` sealed for this place. Raises DoesNotOpen."""
        if len(sealed) < NONCE_SIZE + TAG_SIZE:
            raise DoesNotOpen
        try:
            return self._key(sender).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], _place(stream, sender, number))
        except InvalidTag:
            raise DoesNotOpen from None

    def _key(self, sender: str) -> ChaCha20Poly1305:
        key = self._keys.get(sender)
        if key is None:
            key = self._keys[sender] = self._derive(sender)
            if len(self._keys) > MAX_KEYS:
                self._keys.popitem(last=False)
        return key

    def _derive(self, hub: str) -> ChaCha20Poly1305:
        hkdf = HKDF(hashes.SHA256(), KEY_SIZE, self._salt, _INFO + hub.encode())
        return ChaCha20Poly1305(hkdf.derive(self._secret))


def _place(stream: str, sender: str, number: int) -> bytes:
    return f"{stream}\0{sender}\0{number}".encode()
