"""`hivemind-client ping`: one flood through the mesh, and the map that its answers draw (docs/protocol.md 13.1)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from .hive_map import HiveMapper
from .message import HiveMessage, HiveMessageType
from .presence import Presence
from .topology import display_peer

Tell = Callable[[str], None]


class Ping:
    """One flood; what comes in is noted from the moment it is made."""

    def __init__(self, client: Any, name: str, tell: Tell, public_key: str = "") -> None:
        """Listen from now on. `name` and `public_key` are this node's, `tell` gets a line for each that answers."""
        self.flood_id = str(uuid4())
        self.root = f"{name}::{self.flood_id[:8]}"
        """What this node is called on the map."""
        self.mapper = HiveMapper()
        self.problem = ""
        """Why the connection was lost meanwhile; empty if it was not."""
        self._client = client
        self._name = name
        self._public_key = public_key
        self._tell = tell
        self._ended = threading.Event()
        self.mapper.start_ping(self.flood_id)
        client.on(HiveMessageType.PROPAGATE, self._on_propagate)
        client.on("auth_rejected", self._on_lost)
        client.on("reconnecting", self._on_lost)

    def run(self, timeout_s: float) -> bool:
        """Send the PING, collect answers for so long, and tell whether there were any."""
        own = Presence(self._name, self._client.session_id, self._client.site_id, self._public_key)
        self._client.emit(own.ping(self.flood_id, time.time()))
        self._ended.wait(timeout_s)
        return bool(self.mapper.nodes)

    def _on_lost(self, *_: str) -> None:
        self.problem = self._client.problem or "the connection to the hub was lost"
        self._ended.set()

    def _on_propagate(self, message: HiveMessage) -> None:
        inner = message.payload
        if not isinstance(inner, HiveMessage) or inner.msg_type != HiveMessageType.PING:
            return
        if inner.body.get("flood_id") != self.flood_id:
            return
        if self.mapper.on_ping(inner.forward(route=message.route), time.time()):
            site = inner.body.get("site_id")
            self._tell(f"  PING from {display_peer(inner.body['peer'])}{f'  site={site}' if site else ''}")
