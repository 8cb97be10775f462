"""What each member keeps in Redis of itself for `hivemind-core cluster status`: sealed, gone soon after it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hivemind_bus_client import codec

from ..cluster_config import ClusterConfig
from .members import MAX_NAME, Member, member_told

TTL_MS = 5000
"""A record is written each second or two, and outlives its member by this."""
NONCE_BYTES = 12
KIND = "member"


@dataclass(frozen=True)
class Listed:
    """A member as `status` shows it."""

    member: Member
    is_leader: bool = False
    address: str = ""
    """Where satellites reach it, as far as it knows."""


def seal(config: ClusterConfig, secret: bytes, listed: Listed, nonce: bytes) -> tuple[str, bytes, int]:
    """Return the key, the value and the milliseconds to live of a member's record.

    `secret` is the cluster's, `nonce` are 12 random bytes. Write it with ``SET key value PX ms``.
    """
    key = config.key(KIND, listed.member.hub)
    told = {**listed.member.told(), "leader": listed.is_leader, "address": listed.address}
    sealed = _cipher(config, secret, listed.member.hub).encrypt(nonce, codec.dumps_bytes(told), key.encode())
    return key, nonce + sealed, TTL_MS


def open_sealed(config: ClusterConfig, secret: bytes, hub: str, value: bytes) -> Listed | None:
    """Return what a member wrote of itself; None where it was sealed by somebody else."""
    nonce, sealed = value[:NONCE_BYTES], value[NONCE_BYTES:]
    try:
        told: Any = codec.loads(_cipher(config, secret, hub).decrypt(nonce, sealed, config.key(KIND, hub).encode()))
    except (InvalidTag, ValueError):
        return None
    return _listed(hub, told) if isinstance(told, Mapping) else None


def _listed(hub: str, told: Mapping[str, Any]) -> Listed:
    address = told.get("address")
    shown = address[:MAX_NAME] if isinstance(address, str) else ""
    return Listed(member_told(hub, told), told.get("leader") is True, shown)


def _cipher(config: ClusterConfig, secret: bytes, hub: str) -> ChaCha20Poly1305:
    """Return a cipher with a key for this one member, so that its random nonces last for centuries."""
    info = b"hivemind cluster member " + hub.encode()
    return ChaCha20Poly1305(HKDF(SHA256(), 32, config.name.encode(), info).derive(secret))
