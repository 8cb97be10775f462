"""The identity that all hubs of a cluster have, how it is sealed for Redis, and what is derived from it. Pure.

It is sealed by the join code. A code has 130 random bits, which nobody can try out, so HKDF is enough to make a key
of it: a slow function would cost time and add nothing. Each sealing has a code of its own, so each key is used once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hivemind_bus_client import codec, noise

VERSION = 1
KEY_BYTES, NOISE_KEY_BYTES = 32, 32
CODE_MARK_BYTES = 8
_NONCE = bytes(12)  # each key seals one thing
_MAX_BYTES = 1024 * 1024


class CannotOpen(Exception):
    """A sealed identity cannot be opened; the text says why, and what to do."""


@dataclass(frozen=True)
class SharedIdentity:
    """What is the same at all hubs of a cluster."""

    node_id: str
    """The RSA public key as PEM."""
    rsa_key: str = field(repr=False)
    """The RSA private key as PEM."""
    noise_key: bytes = field(repr=False)
    """The X25519 private key, 32 raw bytes."""
    site_id: str | None = None
    trusted_keys: Mapping[str, str] = field(default_factory=dict)
    """RSA public keys (PEM) whose sealed messages it takes, by alias."""
    pinned_keys: Mapping[str, str] = field(default_factory=dict)
    """The Noise keys (hex) of hubs above, by ``host:port``."""

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.node_id, self.noise_key)


@dataclass(frozen=True)
class SealedIdentity:
    """What Redis keeps of it."""

    fingerprint: str
    """Whose it is, in clear: what each hub compares at its start."""
    code_mark: str
    """Tells a wrong code from a damaged seal; says nothing of the code."""
    sealed: bytes = field(repr=False)
    version: int = VERSION

    def written(self) -> bytes:
        """Return it as it is stored."""
        sealed = base64.b64encode(self.sealed).decode("ascii")
        named = {"version": self.version, "fingerprint": self.fingerprint, "code_mark": self.code_mark}
        return codec.dumps_bytes({**named, "sealed": sealed})


def read(stored: bytes) -> SealedIdentity:
    """Read what `SealedIdentity.written` wrote. Raises CannotOpen."""
    try:
        found = codec.loads(stored[:_MAX_BYTES])
        version, texts = found["version"], [found[key] for key in ("fingerprint", "code_mark", "sealed")]
        if not isinstance(version, int) or not all(isinstance(text, str) for text in texts):
            raise TypeError
        sealed = SealedIdentity(texts[0], texts[1], base64.b64decode(texts[2], validate=True), version)
    except (ValueError, KeyError, TypeError):
        raise CannotOpen(f"it is damaged. {_ANEW}") from None
    if sealed.version != VERSION:
        raise CannotOpen("it was written by a newer HiveMind; install the same release on all hubs of the cluster.")
    return sealed


def seal(identity: SharedIdentity, secret: bytes, cluster: str) -> SealedIdentity:
    """Seal an identity with the secret of a new join code (`join_code.read`), which must not be used twice."""
    document = {
        "node_id": identity.node_id,
        "rsa_key": identity.rsa_key,
        "noise_key": identity.noise_key.hex(),
        "site_id": identity.site_id,
        "trusted_keys": dict(identity.trusted_keys),
        "pinned_keys": dict(identity.pinned_keys),
    }
    own = identity.fingerprint
    sealed = ChaCha20Poly1305(_key(secret, cluster)).encrypt(_NONCE, codec.dumps_bytes(document), _bound(cluster, own))
    return SealedIdentity(own, _mark(secret, cluster), sealed)


def open_sealed(sealed: SealedIdentity, secret: bytes, cluster: str) -> SharedIdentity:
    """Open a sealed identity with the secret of its join code. Raises CannotOpen."""
    if not hmac.compare_digest(sealed.code_mark.encode(), _mark(secret, cluster).encode()):
        raise CannotOpen(
            "this is not its join code. Only the newest code opens it; if it is lost, run on a hub that is a member:"
            " hivemind-core cluster create --new-code"
        )
    try:
        bound = _bound(cluster, sealed.fingerprint)
        found = codec.loads(ChaCha20Poly1305(_key(secret, cluster)).decrypt(_NONCE, sealed.sealed, bound))
        identity = _identity(found)
    except (InvalidTag, ValueError, KeyError, TypeError):
        raise CannotOpen(f"it was changed in Redis, or is damaged. {_ANEW}") from None
    return identity


_ANEW = "Run on a hub that is a member: hivemind-core cluster create --new-code"


def fingerprint(node_id: str, noise_key: bytes) -> str:
    """Return what tells identities apart and may be seen by anybody: 32 hex characters."""
    public = noise.public_key(noise_key)
    return hashlib.sha256(b"hivemind cluster identity\0" + node_id.strip().encode() + b"\0" + public).hexdigest()[:32]


def cluster_secret(noise_key: bytes) -> bytes:
    """Return what all members can derive, and nobody else: the secret under which they talk (32 bytes)."""
    return _derived(noise_key, b"", b"hivemind cluster secret", KEY_BYTES)


def _identity(found: Mapping[str, Any]) -> SharedIdentity:
    noise_key, site_id = bytes.fromhex(found["noise_key"]), found["site_id"]
    texts = [found["node_id"], found["rsa_key"], *([] if site_id is None else [site_id])]
    if len(noise_key) != NOISE_KEY_BYTES or not all(isinstance(text, str) for text in texts):
        raise ValueError
    trusted, pinned = _texts(found["trusted_keys"]), _texts(found["pinned_keys"])
    return SharedIdentity(found["node_id"], found["rsa_key"], noise_key, site_id, trusted, pinned)


def _texts(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise TypeError
    return found


def _bound(cluster: str, own: str) -> bytes:
    return codec.dumps_bytes(["hivemind cluster identity", VERSION, cluster, own])


def _key(secret: bytes, cluster: str) -> bytes:
    return _derived(secret, cluster.encode(), b"hivemind cluster join code: key", KEY_BYTES)


def _mark(secret: bytes, cluster: str) -> str:
    return _derived(secret, cluster.encode(), b"hivemind cluster join code: mark", CODE_MARK_BYTES).hex()


def _derived(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt, info).derive(secret)
