"""Routes: which hubs and satellites a message has passed, and how it is wrapped when it goes on (docs/protocol.md 12).

Nothing here changes the message it is given, nor what is inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hivemind_bus_client.message import HiveMessage

MAX_HOPS = 256
"""A message that has come this far goes no farther."""
MAX_NAMES = 256 * 1024
"""Characters of the names in a route; a hub's name is its key, of some 450."""
MAX_TARGETS = 64

Hop = dict[str, Any]
Route = list[Hop]


def arrived(message: HiveMessage, sender: str) -> Route:
    """Return the route with a hop of whoever brought the message, unless it is the last one already, or has no name."""
    route: Route = message.route
    if not sender or (route and route[-1].get("source") == sender):
        return route
    return [*route, _hop(sender, _named(message))]


def left(route: Route, inner: HiveMessage, node_id: str) -> Route:
    """Return the route with this hub's own hop."""
    return [*route, _hop(node_id, _named(inner))]


def is_over(route: Route, node_id: str) -> bool:
    """Tell whether a message has been here before, or has come too far: it is not passed on."""
    names = [hop["source"] for hop in route]
    too_far = len(names) >= MAX_HOPS or sum(len(str(name)) for name in names) > MAX_NAMES
    return too_far or node_id in names


def rewrapped(message: HiveMessage, inner: HiveMessage, route: Route, node_id: str) -> HiveMessage:
    """Return a message as it goes on by this route: the same type and addressee, and the inner message as it came."""
    onward = inner.forward(route=route, source_peer=node_id)
    return message.forward(payload=onward, route=route, node=None, source_peer=None, target_peers=[])


def _named(message: HiveMessage) -> list[str]:
    """Return whom a message names as its targets."""
    named = [peer for peer in message.target_peers if isinstance(peer, str)][:MAX_TARGETS]
    return [] if named == [message.source_peer] else named


def _hop(source: str, targets: Sequence[str]) -> Hop:
    return {"source": source, "targets": list(targets) or [source]}
