"""Whose signature a sealed message may carry: the public keys that this hub has reason to know (docs/protocol.md 14.3).

A key is known for certain when its owner's client has announced it in its own session (the pin) or the hub's owner
trusts it. What a PING says is a claim; it is enough here, because a sealed message acts with the rights of the
connection that brought it, whoever has signed it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hivemind_bus_client.topology import is_same_peer

from .actions import text
from .peers import Peer, Registry

MAX_KNOWN = 1024
MAX_CANDIDATES = 16
MAX_PEM = 8192


class Authors:
    """The keys that one hub knows."""

    def __init__(self, trusted: Iterable[str], peers: Registry) -> None:
        self._trusted = tuple(trusted)
        self._peers = peers
        self._claims: OrderedDict[str, str] = OrderedDict()

    def note(self, node: str, key: str) -> None:
        """Note the key that a node says it has."""
        if not key or len(key) > MAX_PEM or len(node) > MAX_PEM:
            return
        self._claims[node] = key
        self._claims.move_to_end(node)
        if len(self._claims) > MAX_KNOWN:
            self._claims.popitem(last=False)

    def may_claim(self, peer: Peer, ping: Mapping[str, Any]) -> bool:
        """Tell whether a satellite may say this of itself: its key is the one that is pinned for it."""
        pinned, claimed = _pinned(peer), text(ping.get("public_key"))
        return not pinned or not claimed or pinned.strip() == claimed.strip()

    def is_trusted(self, key: str, *others: str) -> bool:
        """Tell whether a key is one that the hub's owner trusts, or one of these others."""
        return key.strip() in {known.strip() for known in (*self._trusted, *others)}

    def keys(self, bearer: Peer | None, sources: Sequence[str]) -> list[str]:
        """Return whose signature to look for on a message that came by these hops, the likeliest first."""
        found = dict.fromkeys(key for key in self._candidates(bearer, sources) if key)
        return list(found)[:MAX_CANDIDATES]

    def _candidates(self, bearer: Peer | None, sources: Sequence[str]) -> Iterable[str]:
        if bearer is not None:
            yield _pinned(bearer)
        for source in sources[:MAX_CANDIDATES]:
            peer = self._peers.get(source)
            yield _pinned(peer) if peer is not None else ""
            yield source if source.lstrip().startswith("-----BEGIN") else ""
        yield from self._trusted
        for source in sources[:2]:
            yield from (key for node, key in list(self._claims.items()) if is_same_peer(source, node))


def _pinned(peer: Peer) -> str:
    return text(peer.client.metadata.get("intercom_pubkey"))
