"""Joins a client and its slave protocol: who the protocol is for, and what it is told of the connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dispatch import Handler
from .listening import Listening
from .message import HiveMessage, HiveMessageType

_ON_THE_BUS = {"hive.send.upstream": "handle_send", "message": "handle_outgoing_mycroft"}
"""What an internal protocol listens to, and by which methods."""


def default_protocol(client: Any) -> Any:
    """Make the protocol of a client that was given none."""
    from .protocol import HiveMindSlaveProtocol  # loaded by those who connect only

    return HiveMindSlaveProtocol(client, identity=client.identity)


class Binding:
    """One protocol, bound to a client and a local bus until `undo`.

    The protocol may be of an application: an object with ``bind(bus)``; what else it lacks is not asked of it.
    """

    def __init__(self, client: Listening, protocol: Any, bus: Any) -> None:
        self.protocol = protocol
        self.bus = bus
        self._client = client
        self._listeners: list[tuple[str, Handler]] = []
        client.note_listeners(self._listeners)
        try:
            protocol.bind(bus)
        finally:
            client.note_listeners(None)

    def undo(self) -> None:
        """Take back what the protocol listens to, on the client and on the local bus."""
        for event, handler in self._listeners:
            self._client.remove(event, handler)
        self._listeners.clear()
        internal = getattr(self.protocol, "internal_protocol", None)
        for event, name in _ON_THE_BUS.items():
            if hasattr(internal, name):
                self.bus.remove(event, getattr(internal, name))

    def sending(self, message: HiveMessage) -> None:
        """Tell of a message about to be sent."""
        told = getattr(self.protocol, "sending", None)
        if told is not None:
            told(message)

    def ahead_of(self, message: HiveMessage) -> HiveMessage | None:
        """Return what is to be sent before a message; None if there is nothing."""
        asked = getattr(self.protocol, "announcement", None)
        found = asked(message) if asked is not None else None
        return found if isinstance(found, HiveMessage) else None

    def not_sent(self, message: HiveMessage) -> None:
        """Tell that this message was not sent after all."""
        waiting = getattr(self.protocol, "query_liveness", None)
        if waiting is not None and message.msg_type == HiveMessageType.QUERY:
            waiting.cancel(message.metadata.get("query_id") or "")

    def opened(self, hub: Mapping[str, Any], binarize: bool) -> None:
        """Tell of a new session: the hub's HELLO, and whether binary frames are used."""
        protocol = self.protocol
        protocol.binarize = binarize
        told = getattr(protocol, "connection_opened", None)
        if told is not None:
            told()
        if isinstance(hub.get("pubkey"), str):
            protocol.mpubkey = hub["pubkey"]
        internal = getattr(protocol, "internal_protocol", None)
        if internal is not None and not internal.node_id and isinstance(hub.get("node_id"), str):
            internal.node_id = hub["node_id"]

    def lost(self) -> None:
        """Tell that the session is over; it takes handlers' time, so call it when it is their turn."""
        told = getattr(self.protocol, "reset_connection_state", None)
        if told is not None:
            told()
