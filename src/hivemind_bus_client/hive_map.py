"""HiveMapper: the map of the mesh that PINGs draw (docs/protocol.md 13.1). Any thread may use it."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from .flood_cache import MAX_FLOODS, FloodIdCache
from .message import HiveMessage
from .topology import NodeInfo, display_peer, draw, links

__all__ = ["FloodIdCache", "HiveMapper", "NodeInfo", "display_peer"]

NODE_TTL_S = 600.0
MAX_NODES = 10_000


class HiveMapper:
    """Who is in the mesh and who passes messages to whom.

    ``nodes`` has a `NodeInfo` for each label, ``edges`` the labels that each label's messages went to. Nodes whose
    last PING came in longer than ``node_ttl`` seconds ago (None: never) are forgotten, and of more than
    ``max_seen_pings`` floods the oldest.
    """

    def __init__(self, max_seen_pings: int = MAX_FLOODS, node_ttl: float | None = NODE_TTL_S) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.edges: dict[str, set[str]] = {}
        self.max_seen_pings = max_seen_pings
        self.node_ttl = node_ttl
        self._lock = threading.RLock()
        self._seen_pings: OrderedDict[str, set[str]] = OrderedDict()
        self._seen_flood_ids = FloodIdCache(max_seen_pings)

    def start_ping(self, flood_id: str) -> None:
        """Take every node's answer to this flood as a new one."""
        with self._lock:
            self._note_flood(flood_id, set())

    def _note_flood(self, flood_id: str, peers: set[str]) -> None:
        self._seen_pings.pop(flood_id, None)
        while self._seen_pings and len(self._seen_pings) >= self.max_seen_pings:
            self._seen_pings.popitem(last=False)
        self._seen_pings[flood_id] = peers

    def on_ping(self, message: HiveMessage, received_at: float | None = None) -> bool:
        """Learn from a PING, with its route; False if it says nothing new or names no flood or peer.

        ``received_at`` is Unix time; without it the node has no latency and is not forgotten.
        """
        payload = message.payload
        if not isinstance(payload, Mapping):
            return False
        flood_id, peer = payload.get("flood_id"), payload.get("peer")
        if not (isinstance(flood_id, str) and flood_id and isinstance(peer, str) and peer):
            return False
        with self._lock:
            self.prune_stale_nodes()
            if not self._is_first(flood_id, peer):
                return False
            self.nodes.pop(peer, None)
            while len(self.nodes) >= MAX_NODES:
                self._forget(next(iter(self.nodes)))
            self.nodes[peer] = _node(peer, payload, received_at)
            for source, target in links(message.route, peer):
                self._link(source, target)
        return True

    def _link(self, source: str, target: str) -> None:
        """Note an edge; what strangers may name in routes is bounded."""
        if source in self.edges or len(self.edges) < MAX_NODES:
            targets = self.edges.setdefault(source, set())
            if len(targets) < MAX_NODES:
                targets.add(target)

    def _is_first(self, flood_id: str, peer: str) -> bool:
        seen = self._seen_pings.get(flood_id)
        if seen is None:
            self._note_flood(flood_id, seen := set())
        if peer in seen:
            return False
        seen.add(peer)
        return True

    def prune_stale_nodes(self, now: float | None = None) -> None:
        """Forget nodes not heard of for ``node_ttl`` seconds before ``now`` (Unix time, default: the clock)."""
        if self.node_ttl is None:
            return
        with self._lock:
            oldest = (time.time() if now is None else now) - self.node_ttl
            for peer, node in list(self.nodes.items()):
                if node.received_at is not None and node.received_at < oldest:
                    self._forget(peer)

    def _forget(self, peer: str) -> None:
        self.nodes.pop(peer, None)
        self.edges.pop(peer, None)
        for source, targets in list(self.edges.items()):
            targets.discard(peer)
            if not targets and source not in self.nodes:
                del self.edges[source]

    def mark_trusted_nodes(self, trusted_keys: Mapping[str, str]) -> None:
        """Mark which nodes show one of these public keys (PEM by alias), and no others, as trusted."""
        keys = set(trusted_keys.values())
        with self._lock:
            for node in self.nodes.values():
                node.trusted = node.public_key is not None and node.public_key in keys

    def is_peer_trusted(self, peer: str) -> bool:
        """Tell whether the node of a label is marked as trusted."""
        node = self.nodes.get(peer)
        return node is not None and node.trusted

    def check_flood_id(self, flood_id: str, max_size: int = MAX_FLOODS) -> bool:
        """Tell whether a flood was seen before, and note it; an empty id counts as seen."""
        return self._seen_flood_ids.check(flood_id, max_size)

    def share_floods(self, cache: FloodIdCache) -> None:
        """Use this memory of floods, which others use too."""
        self._seen_flood_ids = cache

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.nodes.clear()
            self.edges.clear()
            self._seen_pings.clear()
            self._seen_flood_ids.clear()

    def to_dict(self) -> dict[str, Any]:
        """Return nodes and edges for JSON."""
        with self._lock:
            edges = [{"source": s, "target": t} for s, targets in self.edges.items() for t in sorted(targets)]
            return {"nodes": [node.as_dict() for node in self.nodes.values()], "edges": edges}

    def to_json(self) -> str:
        """Return the JSON text of `to_dict`."""
        return json.dumps(self.to_dict(), indent=2)

    def to_ascii(self, root_peer: str | None = None) -> str:
        """Return the map as a tree for people, as seen by ``root_peer`` if that is given."""
        with self._lock:
            return draw(self.nodes, self.edges, root_peer)


def _node(peer: str, payload: Mapping[str, Any], received_at: float | None) -> NodeInfo:
    def text(key: str) -> str | None:
        value = payload.get(key)
        return value if isinstance(value, str) else None

    sent = payload.get("timestamp")
    timestamp = sent if isinstance(sent, (int, float)) and not isinstance(sent, bool) else None
    return NodeInfo(peer, text("site_id"), timestamp, received_at, text("public_key"), text("lang"))
