"""Whose PROPAGATE and INTERCOM may act here (docs/protocol.md 12.2, 14.4).

A source is trusted when it is one of the owner's trusted public keys, or when the node it belongs to has shown one of
them in a PING. What a PING says is a claim: only a message signed by its author (INTERCOM) proves who wrote it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from .intercom import is_signed_by
from .message import HiveMessage
from .topology import NodeInfo, is_same_peer


def sources(message: HiveMessage) -> Iterator[str]:
    """Yield the peers that a message came from and through."""
    if isinstance(message.source_peer, str) and message.source_peer:
        yield message.source_peer
    for hop in message.route:
        if isinstance(hop["source"], str):
            yield hop["source"]


def same_key(one: str | None, other: str | None) -> bool:
    """Tell whether two PEM texts are one key; the space around them does not matter."""
    return bool(one and other) and str(one).strip() == str(other).strip()


def is_trusted_key(key: str | None, trusted: Collection[str]) -> bool:
    """Tell whether a public key is one of the trusted ones."""
    return any(same_key(key, each) for each in trusted)


def is_trusted(message: HiveMessage, trusted: Collection[str], nodes: Mapping[str, NodeInfo]) -> bool:
    """Tell whether a message came from or through a trusted node.

    `trusted` are PEM texts, `nodes` those known by label. A node is found by its label, and by the session that a
    label and the peer id a hub wrote into the route have in common.
    """
    shown = [node for node in nodes.values() if node.trusted or is_trusted_key(node.public_key, trusted)]
    return any(is_trusted_key(source, trusted) or _is_one_of(source, shown) for source in sources(message))


def _is_one_of(source: str, nodes: Iterable[NodeInfo]) -> bool:
    return any(same_key(source, node.public_key) or is_same_peer(source, node.peer) for node in nodes)


def signer(envelope: Mapping[str, Any], keys: Iterable[str | None]) -> str | None:
    """Return which of these public keys (PEM) signed a sealed message; None if none did (docs/protocol.md 14.1).

    The signature covers the ciphertext alone.
    """
    return next((key for key in keys if key and is_signed_by(envelope, key)), None)
