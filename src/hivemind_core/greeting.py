"""Which protocol versions a client of the database may speak, and what its link starts from (docs/protocol.md 7.1, 8).

v3 is preferred. The password handshake is for rows with a password, RSA for rows without one, the pre-shared key for
rows that hold one; none is served below the floor (`min_protocol_version`), nor to a row that has met v3 before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from hivemind_bus_client.exchange import Previous
from hivemind_bus_client.legacy import PASSWORD, PRE_SHARED, RSA, VERSIONS, HubLegacyTerms, OlderOffer, is_crypto_key
from hivemind_bus_client.link import HubTerms, hub_offer

from .clients import Client
from .grace import PASSWORD as PREVIOUS_PASSWORD
from .grace import UNTIL, Grace

MAX_FRAME_BYTES = 65_536
"""Frames of protocol v3 never exceed 65,535 bytes, those of a handshake neither."""
MAX_LEGACY_FRAME_BYTES = 10 * 1024 * 1024
"""Below v3 a message is one frame (docs/protocol.md 5.3)."""


def older_versions(client: Client, floor: int, pinned: bytes | None) -> OlderOffer | None:
    """Return what to offer a client that may not speak v3; None where there is only v3 for it."""
    if pinned is not None:
        return None
    offer = OlderOffer(floor, bool(client.password), is_crypto_key(client.metadata.get("crypto_key")) and floor == 0)
    best = PASSWORD if offer.password else RSA
    return offer if floor <= VERSIONS[best] or offer.crypto_key else None


def can_join(client: Client, floor: int, pinned: bytes | None) -> bool:
    """Tell whether there is any protocol version that a client's row can be used with; v3 needs a password."""
    return bool(client.password) or older_versions(client, floor, pinned) is not None


def secrets_in(client: Client) -> tuple[Any, ...]:
    """Return all that a handshake starts from and that can be changed."""
    return client.password, *(client.metadata.get(key) for key in ("crypto_key", PREVIOUS_PASSWORD, UNTIL))


def still_proves(password: str | None, then: Client, row: Client, grace: Grace | None) -> bool:
    """Tell whether what a satellite below v3 came in with is valid by its client's row as it is now.

    `password` is the one it was, `then` the row before.
    """
    if row.metadata.get("crypto_key") != then.metadata.get("crypto_key"):
        return False
    return password == (row.password or None) or (grace is not None and password == grace.password)


def max_frame_bytes(client: Client, floor: int, pinned: bytes | None) -> int:
    """Return how long a frame of a client may be."""
    return MAX_FRAME_BYTES if older_versions(client, floor, pinned) is None else MAX_LEGACY_FRAME_BYTES


def legacy_terms(
    client: Client, older: OlderOffer, config: Offering, rsa_key: Any, previous: Previous | None
) -> tuple[HubLegacyTerms, str | None]:
    """Return what the handshakes below v3 start from, and the pre-shared key of v0 where it may be used."""
    terms = HubLegacyTerms(
        encodings=config.allowed_encodings,
        ciphers=config.allowed_ciphers,
        password=client.password or None,
        rsa_key=rsa_key if older.floor <= VERSIONS[RSA] else None,
        previous_password=previous.password if previous is not None else None,
    )
    crypto_key = client.metadata["crypto_key"] if older.crypto_key and older.floor <= VERSIONS[PRE_SHARED] else None
    return terms, crypto_key


class Offering(Protocol):
    """What the configuration says of sessions."""

    @property
    def binarize(self) -> bool: ...
    @property
    def allowed_encodings(self) -> tuple[str, ...]: ...
    @property
    def allowed_ciphers(self) -> tuple[str, ...]: ...
    @property
    def min_protocol_version(self) -> int: ...


def offered(terms: HubTerms, config: Offering, client: Client, rsa_key: Any) -> HubTerms:
    """Return the terms of a link with what a client is offered in them."""
    older = older_versions(client, config.min_protocol_version, terms.pinned_key)
    offer = hub_offer(
        binarize=config.binarize,
        encodings=config.allowed_encodings,
        ciphers=config.allowed_ciphers,
        pinned=terms.pinned_key is not None,
        older=older,
    )
    if older is None:
        return replace(terms, offer=offer)
    legacy, crypto_key = legacy_terms(client, older, config, rsa_key, terms.previous)
    return replace(terms, offer=offer, floor=older.floor, legacy=legacy, crypto_key=crypto_key)
