"""From the local OVOS bus to the hub: what is addressed to the hub, and copies of all for those who may watch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .bus_context import HIVEMIND
from .bus_message import Message
from .coroutines import running_loop, settle
from .dispatch import event_key
from .message import ROUTED_TYPES, HiveMessage, HiveMessageType

LOG = logging.getLogger(__name__)

SEND_UPSTREAM = "hive.send.upstream"
EVERYTHING = "message"


@dataclass(eq=False)
class HiveMindSlaveInternalProtocol:
    """Listens to a local bus on behalf of a connection to a hub."""

    hm_bus: Any
    """The connection: whatever has ``emit``."""
    share_bus: bool = False
    """Send the hub a copy of all that is said on the bus."""
    bus: Any = None
    node_id: str = ""
    """The hub's id: messages with it as their destination are sent there."""
    _home: Any = field(default=None, init=False, repr=False)
    _listened: Any = field(default=None, init=False, repr=False)

    def register_bus_handlers(self) -> None:
        """Begin to listen; to this bus only, if it listened to another before."""
        self.remove_bus_handlers()
        self._home, self._listened = running_loop(), self.bus
        self.bus.on(SEND_UPSTREAM, self.handle_send)
        self.bus.on(EVERYTHING, self.handle_outgoing_mycroft)

    def remove_bus_handlers(self) -> None:
        """Listen no more."""
        if self._listened is not None:
            self._listened.remove(SEND_UPSTREAM, self.handle_send)
            self._listened.remove(EVERYTHING, self.handle_outgoing_mycroft)
            self._listened = None

    def _emit(self, message: HiveMessage) -> None:
        settle(self.hm_bus.emit(message), self._home)

    def handle_send(self, message: Any) -> None:
        """Send the hub what a ``hive.send.upstream`` message asks for: ``{"msg_type", "payload"}``.

        BROADCAST, which only goes down, is ignored; so is what makes no message.
        """
        asked = message.data
        kind, payload = asked.get("msg_type"), asked.get("payload")
        if kind is None or event_key(kind) == HiveMessageType.BROADCAST.value:
            return
        try:
            outgoing = HiveMessage(kind, _wrapped(kind, payload))
        except ValueError as error:
            LOG.warning("a %s message asks for what cannot be sent: %s", SEND_UPSTREAM, error)
            return
        self._emit(outgoing)

    def handle_outgoing_mycroft(self, message: Any) -> None:
        """Send the hub a message of the local bus (or its JSON text), if it is for it or shared."""
        local = Message.deserialize(message) if isinstance(message, str) else message
        if self.share_bus:
            self._emit(HiveMessage(HiveMessageType.SHARED_BUS, local))
        named = local.context.get("destination")
        if self.node_id and self.node_id in (named if isinstance(named, list) else [named]):
            self._emit(HiveMessage(HiveMessageType.BUS, self._addressed(local)))

    def _addressed(self, local: Any) -> Any:
        """The message as it is sent. A client that echoes on this very bus must not meet its address again."""
        if self.bus is not getattr(self.hm_bus, "internal_bus", None):
            return local
        return Message(local.msg_type, local.data, {**local.context, "destination": HIVEMIND})


def _wrapped(kind: str, payload: Any) -> Any:
    """A payload given as a bare OVOS message, as a routed envelope takes it."""
    is_bare = isinstance(payload, Mapping) and "type" in payload and "msg_type" not in payload
    return HiveMessage(HiveMessageType.BUS, payload) if is_bare and kind in ROUTED_TYPES else payload
