"""The mesh as PINGs have told of it: who is there, who passes messages to whom, and a picture of that in text
(docs/protocol.md 13.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EMPTY_MAP = "[No nodes discovered]"
SHOWN_DIGITS = 12
SHORT_ID_CHARS = 8


@dataclass
class NodeInfo:
    """A node that answered a PING. What it says of itself is not proven."""

    peer: str
    """Its label: ``name::session`` of a satellite, the public key of a hub."""
    site_id: str | None = None
    timestamp: float | None = None
    """When it sent the PING, by its own clock (Unix time)."""
    received_at: float | None = None
    """When the PING came in here (Unix time)."""
    public_key: str | None = None
    lang: str | None = None
    trusted: bool = False

    @property
    def latency_ms(self) -> float | None:
        """How long its PING took, as far as both clocks agree; None where a time is missing."""
        if self.received_at is None or self.timestamp is None:
            return None
        return (self.received_at - self.timestamp) * 1000

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "peer": self.peer,
            "site_id": self.site_id,
            "timestamp": self.timestamp,
            "latency_ms": self.latency_ms,
            "public_key": self.public_key,
            "lang": self.lang,
            "trusted": self.trusted,
        }


def is_hub(peer: str) -> bool:
    """Tell whether a label is a hub's: its public key."""
    return peer.lstrip().startswith("-----BEGIN")


def answering(peers: Iterable[str]) -> int:
    """Return how many of these nodes may answer a question: the hubs, which have an assistant; all, where no hub is
    among them.
    """
    labels = list(peers)
    return sum(is_hub(label) for label in labels) or len(labels)


def display_peer(peer: str) -> str:
    """Return a label as it is shown to people: a public key as the beginning of its SHA-256."""
    if not is_hub(peer):
        return peer
    return f"key:{hashlib.sha256(peer.encode()).hexdigest()[:SHOWN_DIGITS]}"


def session_ids(peer: str) -> frozenset[str]:
    """Return the session ids that a label or a peer id may end in (docs/protocol.md 10).

    A hub adds eight hex digits to the peer id of a second connection with the same one. The id ``default`` says
    nothing about who it is.
    """
    parts = peer.split("::")
    found = set(parts[1:][-1:])
    if len(parts) > 4 and len(parts[-1]) == SHORT_ID_CHARS:
        found.add(parts[-2])
    return frozenset(found - {"", "default"})


def is_same_peer(one: str, other: str) -> bool:
    """Tell whether a PING's label and a hub's peer id mean one node: equal, or of one session."""
    return one == other or not session_ids(one).isdisjoint(session_ids(other))


def links(route: Sequence[Mapping[str, Any]], origin: str) -> Iterator[tuple[str, str]]:
    """Yield (from, to) for what a message passed on its way here.

    A hub that does not know whom it sends to names itself; such a hop leads to the next one. The first hop is called
    by the label of `origin`, where it is that node.
    """
    passed = list(_passed(route, origin))
    following = [*(source for _, source in passed[1:]), ""]
    for (hop, source), next_source in zip(passed, following, strict=False):
        named = hop.get("targets")
        targets = [target for target in named if isinstance(target, str)] if isinstance(named, list) else []
        onward = [target for target in targets if target not in (source, hop["source"])]
        for target in onward or [next_source]:
            if target and target != source:
                yield source, target


def _passed(route: Sequence[Mapping[str, Any]], origin: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the hops with what their nodes are called.

    A hub is called by its key. After that comes its connection to the hub above, which is no node of its own.
    """
    before = ""
    for hop in route:
        source = str(hop["source"])
        is_hubs_own = not _is_key(source) and _is_key(before or origin)
        if is_hubs_own and before:
            continue
        before = origin if not before and (is_hubs_own or is_same_peer(source, origin)) else source
        yield hop, before


def _is_key(peer: str) -> bool:
    return peer.lstrip().startswith("-----BEGIN")


Children = dict[str, dict[str, None]]
"""Who hangs under whom; dicts, since they keep the order in which nodes were heard of."""


def draw(nodes: Mapping[str, NodeInfo], edges: Mapping[str, set[str]], root_peer: str | None = None) -> str:
    """Return the map as text, each node once.

    Seen from `root_peer`, which comes first, a node hangs under the one that passed its messages on; what leads
    nowhere hangs under the root. Without a root the tree follows the way messages go.
    """
    if not nodes and not edges:
        return EMPTY_MAP
    called = _called(nodes)
    children: Children = {}
    everyone: dict[str, None] = {}
    for passed, targets in edges.items():
        source = called.get(passed.strip(), passed)
        for named in sorted(targets):
            target = called.get(named.strip(), named)
            everyone |= dict.fromkeys((source, target))
            above, below = (source, target) if root_peer is None else (target, source)
            if above != below:
                children.setdefault(above, {})[below] = None
    return "\n".join(_lines(nodes, children, [*everyone, *(peer for peer in nodes if peer not in everyone)], root_peer))


def _called(nodes: Mapping[str, NodeInfo]) -> dict[str, str]:
    """Return the labels of nodes by their keys, where a key is no label: a released hub answers surveys from above as
    a client, and stands in routes by its key.
    """
    keys = {peer.strip() for peer in nodes if _is_key(peer)}
    shown = ((node.public_key.strip(), peer) for peer, node in nodes.items() if node.public_key)
    return {key: peer for key, peer in shown if key not in keys}


def _lines(
    nodes: Mapping[str, NodeInfo], children: Children, everyone: Sequence[str], root_peer: str | None
) -> Iterator[str]:
    picture = _Picture(nodes, children)
    if root_peer is None:
        for top in _tops(everyone, children, set()):
            yield from picture.tree(top)
        return
    below_root = children.get(root_peer, ())
    reached = _reach(root_peer, children)
    yield from picture.tree(root_peer, "[self] ", [*below_root, *_tops(everyone, children, reached)])


def _reach(start: str, children: Children) -> set[str]:
    """Everything that hangs under a node, and itself."""
    found, pending = {start}, [start]
    while pending:
        new = children.get(pending.pop(), {}).keys() - found
        found |= new
        pending += new
    return found


def _tops(everyone: Sequence[str], children: Children, reached: set[str]) -> Iterator[str]:
    """Yield nodes to begin with, so that all are reached: first those under nobody, then one of each ring."""
    reached = set(reached)
    under = {child for group in children.values() for child in group}
    for peer in [*(peer for peer in everyone if peer not in under), *everyone]:
        if peer not in reached:
            reached |= _reach(peer, children)
            yield peer


class _Picture:
    """Draws each node once, under the first one that leads to it."""

    def __init__(self, nodes: Mapping[str, NodeInfo], children: Children) -> None:
        self._nodes = nodes
        self._children = children
        self.drawn: set[str] = set()

    def _text(self, peer: str) -> str:
        node = self._nodes.get(peer)
        text = display_peer(peer)
        return f"{text}  site={node.site_id}" if node is not None and node.site_id else text

    def _timed(self, peer: str) -> str:
        """A node as it is shown under another one."""
        node = self._nodes.get(peer)
        latency_ms = node.latency_ms if node is not None else None
        return self._text(peer) + (f"  latency={latency_ms:.0f}ms" if latency_ms is not None else "")

    def tree(self, top: str, mark: str = "", below: Sequence[str] | None = None) -> Iterator[str]:
        """Yield the lines of a node and of all under it; without recursion, since a chain may be long."""
        self.drawn.add(top)
        yield mark + self._text(top)
        pending = self._branches(top, "", (top,), below)
        while pending:
            peer, indent, is_last, path = pending.pop()
            line = indent + ("└── " if is_last else "├── ")
            if peer in path:
                yield f"{line}{display_peer(peer)} (cycle)"
                continue
            self.drawn.add(peer)
            yield line + self._timed(peer)
            pending += self._branches(peer, indent + ("    " if is_last else "│   "), (*path, peer))

    def _branches(
        self, peer: str, indent: str, path: tuple[str, ...], below: Sequence[str] | None = None
    ) -> list[tuple[str, str, bool, tuple[str, ...]]]:
        """What is to be drawn under a node, the last first."""
        under = list(self._children.get(peer, ())) if below is None else below
        shown = [child for child in under if child in path or child not in self.drawn]
        self.drawn.update(shown)
        return [(child, indent, child == shown[-1], path) for child in reversed(shown)]
