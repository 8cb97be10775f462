"""What one satellite keeps on disk about one hub: its own keys, the hub's pinned key, the derived pre-shared
key (docs/protocol.md 7.4, 7.8). Every method may touch the disk or take long: call them off the loop.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from .exceptions import IdentityFileCorrupted
from .identity import NodeIdentity, read_or_create_noise_key
from .psk_cache import PskCache

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keys:
    """What the next attempt starts from."""

    static: bytes = field(repr=False)
    """The own Noise private key."""
    pinned: bytes | None
    """The hub's Noise public key, if this hub was met before."""
    public_pem: str | None
    """The own RSA public key, if there is one."""
    rsa: bytes | None = field(default=None, repr=False)
    """The own RSA private key as PEM, where it was asked for."""


class Keyring:
    """The keys of one access key at one hub; ``server`` is the hub's ``host:port``."""

    def __init__(self, identity: NodeIdentity, server: str, access_key: str, password: str | None) -> None:
        self._identity = identity
        self._server = server
        self._access_key = access_key
        self._password = password
        self._cache = PskCache(identity.noise_key)
        self._in_use: tuple[str, bytes] | None = None
        self._pinned: bytes | None = None

    def load(self, rsa: bool = False) -> Keys:
        """Read the keys; those that are missing are made, the RSA pair only if `rsa` asks for it.

        Raises OSError, IdentityFileCorrupted.
        """
        static = read_or_create_noise_key(self._identity.noise_key)
        private = self._rsa_key() if rsa else None
        return Keys(static, self._pin(), self._identity.public_key, private)

    def _rsa_key(self) -> bytes:
        path = Path(self._identity.private_key)
        if not path.exists():
            self._identity.create_keys()
            self._identity.save()
            path = Path(self._identity.private_key)
        return path.read_bytes()

    def _pin(self) -> bytes | None:
        text = self._identity.get_pinned_noise_key(self._server)
        if text is None:
            return self._pinned
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise IdentityFileCorrupted(
                f"the key pinned for {self._server} is not 64 hex characters; run `hivemind-client forget-server`"
            )
        return key

    def pre_shared(self, node_id: str, kept: bool) -> tuple[bytes | None, bool]:
        """Return the pre-shared key for a hub's node id, and whether it was kept from before.

        ``kept`` False derives it afresh. Takes about 0.2 s and 64 MiB where it has to be derived. None
        without a password.
        """
        if self._password is None:
            return None, False
        found = self._kept(node_id, self._password) if kept else None
        if found is None:
            from .noise import derive_psk

            self._in_use = (node_id, derive_psk(self._password, node_id))
            return self._in_use[1], False
        self._in_use = (node_id, found)
        return found, True

    def _kept(self, node_id: str, password: str) -> bytes | None:
        if self._in_use is not None and self._in_use[0] == node_id:
            return self._in_use[1]
        trusted = password == self._identity.password
        return self._cache.load(self._access_key, node_id, password, trusted)

    def accepted(self, hub_key: bytes) -> None:
        """Note that the hub has admitted us: pin its key if it is new, and keep the key derived for it."""
        if self._pin() is None:
            self._pinned = hub_key
            try:
                self._identity.pin_noise_key(self._server, hub_key.hex())
            except (OSError, IdentityFileCorrupted) as error:
                LOG.warning("the hub's key could not be pinned on disk, only in this process: %s", error)
        if self._in_use is not None and self._password is not None:
            node_id, psk = self._in_use
            if self._cache.load(self._access_key, node_id, self._password) != psk:
                self._cache.save(self._access_key, node_id, psk, self._password)

    def rejected(self) -> None:
        """Drop the pre-shared key given last: a handshake with it has failed."""
        if self._in_use is not None:
            self._cache.forget(self._access_key, *self._in_use)
            self._in_use = None
