"""The satellite that a handler works for, as the handler sees it. Everything here may be called from any thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message, as_message

from .. import sessions
from ..actions import Deny, ToAgent
from ..peers import Peer
from .fitting import fitted

log = logging.getLogger(__name__)


class Back(NamedTuple):
    """What the hub does for handlers, on its loop."""

    send: Callable[[Peer, HiveMessage], None]
    deny: Callable[[Peer, Deny], None]
    inject: Callable[[Peer, ToAgent], None]


class Sender:
    """One satellite, as it was when it sent what is being handled. What is sent to one that has left is dropped."""

    def __init__(self, peer: Peer, back: Back, loop: asyncio.AbstractEventLoop) -> None:
        client = peer.client
        self.peer = peer.peer_id
        """Its address on the agent's bus."""
        self.client_id = client.client_id
        """The hub's number for its access key."""
        self.name = client.name
        self.is_admin = client.is_admin
        self.allowed_types = client.allowed_types
        """Types of OVOS messages that it may send; what is injected for it, too."""
        self.site_id = peer.site_id
        self.lang = _text(peer.session.get("lang"))
        """The language its session has; empty if it has none."""
        self._peer = peer
        self._back = back
        self._loop = loop

    def __repr__(self) -> str:
        return f"Sender({self.peer!r})"

    def send_bus(self, message: Any) -> None:
        """Send an OVOS message; the session in its context is the one that the agent sees."""
        self._later(self._send, bus_reply(self._peer, as_message(message)))

    def send_binary(self, data: bytes, bin_type: int, metadata: Mapping[str, Any] | None = None) -> None:
        """Send binary data. Texts in the metadata are cut short where a frame does not hold them."""
        about = fitted(metadata or {})
        self._later(self._send, HiveMessage(HiveMessageType.BINARY, bytes(data), bin_type=bin_type, metadata=about))

    def send(self, message: HiveMessage) -> None:
        """Send a message of any kind."""
        if message.msg_type == HiveMessageType.BINARY:
            self.send_binary(message.body, message.bin_type, message.metadata)
        elif message.msg_type == HiveMessageType.BUS:
            self.send_bus(message.payload)
        else:
            self._later(self._send, message)

    def inject(self, message: Any) -> None:
        """Have an OVOS message taken as if the satellite had sent it: the policies are asked as always."""
        self._later(self._inject, as_message(message))

    def _later(self, act: Callable[[Any], None], message: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._now, act, message)
        except RuntimeError:
            log.debug("the hub has ended: a message for %s is dropped", self.peer)

    def _now(self, act: Callable[[Any], None], message: Any) -> None:
        if self._peer.ended:
            return
        try:
            act(message)
        except Exception:  # what a plugin made may be anything
            log.exception("could not send what the handler for binary data has for %s", self.peer)

    def _send(self, message: HiveMessage) -> None:
        self._back.send(self._peer, message)

    def _inject(self, message: Message) -> None:
        self._back.inject(self._peer, ToAgent(message))


def bus_reply(peer: Peer, message: Message) -> HiveMessage:
    """Return an answer as replies of the agent reach a satellite (docs/protocol.md 3.2)."""
    context = {**message.context, "source": "hive", "destination": peer.peer_id}
    body = Message(message.msg_type, message.data, sessions.outbound(context, peer.namespace))
    return HiveMessage(HiveMessageType.BUS, body, source_peer=peer.peer_id)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
