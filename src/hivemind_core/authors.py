"""Whose signature a sealed message may carry: the public keys that this hub has reason to know (docs/protocol.md 14.3).

A key is known for certain when its owner's client has announced it in its own session (the pin) or the hub's owner
trusts it. What a PING says is a claim; it is enough here, because a sealed message acts with the rights of the
connection that brought it, whoever has signed it, and because a claim counts on the connection alone that brought it:
nobody can take a name from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hivemind_bus_client.topology import session_ids

from .actions import text
from .peers import Peer, Registry
from .routing import MAX_KEY
from .shares import Share, Shares

MAX_KNOWN, MAX_KNOWN_EACH = 4096, 512
"""Names whose keys are remembered, and those that one client brought."""
MAX_CANDIDATES = 16


class Authors:
    """The keys that one hub knows."""

    def __init__(self, trusted: Iterable[str], peers: Registry) -> None:
        self._trusted = tuple(trusted)
        self._peers = peers
        self._claims: Shares[str] = Shares(MAX_KNOWN, MAX_KNOWN_EACH)

    def note(self, bearer: str, node: str, key: str, share: Share | None = None) -> None:
        """Note the key that a node says it has; `bearer` is the connection that this came by, in whose share or its."""
        if key and len(key) <= MAX_KEY and len(node) <= MAX_KEY:
            for name in _names(bearer, node):
                self._claims.put(name, bearer, key, share)

    def may_claim(self, peer: Peer, ping: Mapping[str, Any]) -> bool:
        """Tell whether a satellite may say this of itself: its key is the one that is pinned for it."""
        pinned, claimed = _pinned(peer), text(ping.get("public_key"))
        return not pinned or not claimed or pinned.strip() == claimed.strip()

    def is_trusted(self, key: str, *others: str) -> bool:
        """Tell whether a key is one that the hub's owner trusts, or one of these others."""
        return key.strip() in {known.strip() for known in (*self._trusted, *others)}

    def keys(self, bearer: str, sources: Sequence[str]) -> list[str]:
        """Return whose signature to look for on a message that came by these hops, the likeliest first."""
        found = dict.fromkeys(key for key in self._candidates(bearer, sources) if key)
        return list(found)[:MAX_CANDIDATES]

    def _candidates(self, bearer: str, sources: Sequence[str]) -> Iterable[str]:
        yield self._pinned_for(bearer)
        named = [source for source in sources[:MAX_CANDIDATES] if len(source) <= MAX_KEY]
        for source in named:
            yield self._pinned_for(source)
            yield source if source.lstrip().startswith("-----BEGIN") else ""
        yield from self._trusted
        for source in named[:3]:
            yield from (self._claims.get(name) or "" for name in _names(bearer, source))

    def _pinned_for(self, peer_id: str) -> str:
        peer = self._peers.get(peer_id)
        return _pinned(peer) if peer is not None else ""

    def gone(self, bearer: str) -> None:
        """Forget what a connection brought that ended."""
        self._claims.drop(bearer)


def _names(bearer: str, node: str) -> Iterable[str]:
    """Return the names under which a node is looked up: its own, and those of its session (see `is_same_peer`)."""
    return (f"{bearer}\0{name}" for name in (node, *(f"\0{found}" for found in session_ids(node))))


def _pinned(peer: Peer) -> str:
    return text(peer.client.metadata.get("intercom_pubkey"))
