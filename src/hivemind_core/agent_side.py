"""What the hub hears on the agent's bus: answers to hand out, and requests to send something (docs/hub.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from uuid import uuid4

from hivemind_bus_client.message import ROUTED_TYPES, HiveMessage, HiveMessageType, Message
from hivemind_bus_client.topics import RENAMED

from . import bus_events, routing, sessions
from .actions import AGENT, PARENT, text
from .agents import Agent
from .bus_frames import Twins
from .company import Company
from .mesh import Mesh
from .peers import Peer, Registry

log = logging.getLogger(__name__)

_QUESTIONS = (HiveMessageType.QUERY, HiveMessageType.CASCADE)
_TO_ALL = (HiveMessageType.BROADCAST, HiveMessageType.PROPAGATE)
_SENDABLE = frozenset({*ROUTED_TYPES, HiveMessageType.BUS, HiveMessageType.INTERCOM, HiveMessageType.PING})
_UPWARD = _SENDABLE - {HiveMessageType.BROADCAST}
OLD_NAMES = {new: old for old, new in RENAMED.items()}
"""Older satellites know only what a message was called before OVOS renamed it; newer ones know both."""
UNREACHED = "backend_unavailable: the other hubs of the cluster cannot be reached"
NOT_JOINED = "This hub has joined no other hub, or that one is not connected"


class AgentSide:
    """Takes every message of the agent's bus."""

    def __init__(
        self,
        peers: Registry,
        agent: Agent,
        mesh: Mesh,
        company: Company,
        send: Callable[[Peer, HiveMessage], None],
        is_ready: Callable[[], bool],
    ) -> None:
        self._peers = peers
        self._agent = agent
        self._mesh = mesh
        self._company = company
        self._send = send
        self._is_ready = is_ready
        self._twins = Twins()
        self._requests: dict[str, Callable[[Message], None]] = {
            "hive.send.downstream": self._send_downstream,
            "hive.send.upstream": self._send_upstream,
            "mycroft.HiveMind.is_alive": self._status,
            "mycroft.HiveMind.is_ready": self._status,
            "mycroft.HiveMind.all_loaded": self._status,
        }

    def deliver(self, message: Message) -> None:
        """Take a message; one addressed to a satellite goes to it."""
        if self._mesh.questions.hears(message) or self._company.hears(message):
            return
        request = self._requests.get(message.msg_type)
        if request is not None:
            request(message)
        wanted = routing.addressees(message.context)
        if not wanted:
            return
        source = message.context.get("source")
        if isinstance(source, str) and (self._peers.get(source) is not None or self._company.has(source)):
            return  # a satellite's request on its way to the agent
        here = [peer for peer in map(self._peers.get, wanted) if peer is not None]
        elsewhere = self._elsewhere(wanted) if len(here) < len(wanted) else ()
        if not (here or elsewhere) or self._twins.repeats(message):
            return
        if here:
            self._answer(AGENT, here, message)
        if elsewhere and not self._company.reply(elsewhere, message):
            self.undelivered(message.msg_type, message.context)

    def from_member(self, way: str, peer_ids: Collection[str], message: Message) -> None:
        """Take an answer that another hub of the cluster heard of its assistant."""
        here = [peer for peer in map(self._peers.get, peer_ids) if peer is not None]
        if peer_ids:
            self._answer(way, here, message)

    def _elsewhere(self, wanted: Collection[str]) -> list[str]:
        has = self._company.has
        return [peer_id for peer_id in wanted if self._peers.get(peer_id) is None and has(peer_id)]

    def undelivered(self, msg_type: str, context: Mapping[str, Any]) -> None:
        """Say on the agent's bus that an answer cannot reach a satellite at another hub."""
        log.warning("%.100r for a satellite at another hub could not be delivered", msg_type)
        self._agent.emit(bus_events.send_failed(context, UNREACHED, context.get("destination")))

    def _answer(self, way: str, peers: Iterable[Peer], message: Message) -> None:
        if self._company.repeats(way, message):
            return
        for peer in peers:
            self._reply(peer, message)

    def _reply(self, peer: Peer, message: Message) -> None:
        # Its own namespace comes off even where it is an admin by now: the question was asked before.
        context = sessions.outbound({**message.context, "source": "hive"}, peer.namespace)
        body = {"type": OLD_NAMES.get(message.msg_type, message.msg_type), "data": message.data, "context": context}
        self._send(peer, HiveMessage(HiveMessageType.BUS, body, source_peer=peer.peer_id))

    # requests

    def _send_downstream(self, message: Message) -> None:
        """Serve ``hive.send.downstream``: a message to one satellite, or to all of them."""
        wanted, peer_id = message.data.get("msg_type"), message.data.get("peer")
        if wanted == HiveMessageType.ESCALATE:
            return  # it only goes up
        found = _requested(message.data, _SENDABLE)
        if isinstance(found, str):
            self._refuse(message, found, peer_id)
        elif wanted in _TO_ALL:
            self._mesh.is_echo(AGENT, found)  # so that it is known when it comes round
            self._send_to_all(message, found)
        elif peer_id is not None:
            self._send_to_one(message, found, text(peer_id))

    def _send_to_all(self, request: Message, found: HiveMessage) -> None:
        if self._mesh.post.to_all(found) is None:
            self._refuse(request, "the message is too large", None)
        elif self._company.speaks_for_bus() and self._company.relay(found, unheard=True) is None:
            self._refuse(request, UNREACHED, None)

    def _send_to_one(self, request: Message, found: HiveMessage, peer_id: str) -> None:
        """Where hubs share the assistant's bus, each hears this: the one with the satellite sends."""
        is_here = self._peers.get(peer_id) is not None
        if not is_here and (self._company.shares_bus(peer_id) or not self._company.speaks_for_bus()):
            return
        if not self._ask_or_send(found, peer_id):
            self._agent.emit(bus_events.send_error(request.context, peer_id))

    def _send_upstream(self, message: Message) -> None:
        """Serve ``hive.send.upstream``: a message to the hub above."""
        if message.data.get("msg_type") == HiveMessageType.BROADCAST or not self._company.speaks_for_bus():
            return  # it only goes down; another hub that hears it sends it up
        found = _requested(message.data, _UPWARD)
        if isinstance(found, str):
            self._refuse(message, found, None)
        elif not self._ask_or_send(found, PARENT):
            self._agent.emit(bus_events.send_failed(message.context, NOT_JOINED))

    def _ask_or_send(self, message: HiveMessage, receiver: str) -> bool:
        if message.msg_type in _QUESTIONS:
            return self._mesh.questions.ask(receiver, message)
        return self._mesh.post.to(receiver, message)

    def _refuse(self, message: Message, why: str, peer_id: object) -> None:
        log.warning("%s: %s", message.msg_type, why)
        self._agent.emit(bus_events.send_failed(message.context, why, peer_id))

    def _status(self, message: Message) -> None:
        self._agent.emit(bus_events.status(message, self._is_ready()))


def _requested(data: Mapping[str, Any], sendable: frozenset[HiveMessageType]) -> HiveMessage | str:
    """Return the message that somebody on the agent's bus asks to send, or what is wrong with it."""
    kind, payload, site_id = data.get("msg_type"), data.get("payload"), data.get("site_id")
    if not isinstance(kind, str) or kind not in sendable:
        return f"messages of the type {kind!r} cannot be sent"
    if kind == HiveMessageType.BUS and isinstance(problem := routing.bus_message(payload), str):
        return f"the payload is no bus message: {problem}"
    frame = {"msg_type": str(getattr(kind, "value", kind)), "payload": payload, "target_site_id": site_id}
    if kind in _QUESTIONS:
        frame["metadata"] = {"query_id": str(uuid4()), "originator_peer": AGENT}
    try:
        message = HiveMessage.from_wire(frame)
    except ValueError as error:
        return f"the payload cannot be sent: {error}"
    wrong = routing.problem_inside(message) if kind in ROUTED_TYPES else None
    return message if wrong is None else f"the payload cannot be sent: {wrong}"


__all__ = ["AgentSide"]
