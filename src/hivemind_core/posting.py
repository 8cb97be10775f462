"""Where messages go: to a satellite, to all of them, to the hub above, to the agent's bus.

Senders and receivers are named by peer id, `PARENT` or `AGENT`.
"""

from __future__ import annotations

import logging

from hivemind_bus_client.answers import QUERY_STREAM_END, QUERY_TIMEOUT
from hivemind_bus_client.bus_context import VERIFIED_SOURCE_KEY, Speaker, localise
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.outgoing import Outgoing

from . import routing, sessions
from .actions import AGENT, PARENT, Deny, Relay, denied, may_go_up, member_of
from .asking import SPEAK_TYPES
from .bus_frames import problem_with
from .fan_out import FanOut
from .peers import Peer
from .surroundings import Surroundings

log = logging.getLogger(__name__)

ANSWERS = SPEAK_TYPES | {QUERY_STREAM_END, QUERY_TIMEOUT}
"""What may come back to the agent on its own questions: anybody may answer them, whatever else they may send."""
QUESTIONS = (HiveMessageType.QUERY, HiveMessageType.CASCADE)
NOT_ALL_HUBS = "The other hubs of the cluster cannot be reached: only the satellites of this one got the message."


class Post:
    """See the module."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.fan_out = FanOut(self._send, around.monotonic)

    @property
    def has_parent(self) -> bool:
        """There is a hub above, connected or not."""
        return self._around.parent is not None

    @property
    def parent_is_there(self) -> bool:
        """A message can go up right now."""
        return self._around.parent is not None and self._around.parent.available

    def to(self, receiver: str, message: HiveMessage) -> bool:
        """Send a message to one; False where it cannot be reached."""
        if receiver == PARENT:
            return self._around.parent is not None and self._around.parent.send(message)
        if receiver == AGENT:
            return self._to_own_bus(message)
        if member_of(receiver):
            return self._around.company.tell(receiver, message)
        peer = self._around.peers.get(receiver)
        if peer is None:
            return self._around.company.send(receiver, message)
        self._around.send(peer, message)
        return True

    def pass_on(self, receiver: str, message: HiveMessage) -> bool:
        """Send a message of somebody else to one, unless it is too large or too much waits there already."""
        outgoing = Outgoing(message)
        if not outgoing.can_be_relayed:
            return False
        peer = self._around.peers.get(receiver)
        return self.to(receiver, message) if peer is None else self._send(peer, outgoing)

    def to_all(self, message: HiveMessage) -> list[str] | None:
        """Send a message to every registered peer of this hub; return who they were, None if it is too large.

        Who does not keep up does not get it.
        """
        outgoing = Outgoing(message)
        if not outgoing.can_be_relayed:
            return None
        peers = [peer for peer in self._all_but() if self._keeps_up(peer, len(outgoing.text))]
        self.fan_out.send(peers, outgoing)
        return [peer.peer_id for peer in peers]

    def _all_but(self, sender: str = "") -> list[Peer]:
        without = {sender, *self._around.company.not_for()}
        return [peer for peer in self._around.peers if peer.peer_id not in without]

    def _send(self, peer: Peer, outgoing: Outgoing) -> bool:
        if self._keeps_up(peer, len(outgoing.text)):
            self._around.send(peer, outgoing)
            return True
        return False

    def _keeps_up(self, peer: Peer, size: int) -> bool:
        if not peer.conn.has_room(size):
            if not peer.misses_some:
                log.warning("%s does not keep up: messages of others to it are dropped", peer.peer_id)
            peer.misses_some = True
            return False
        peer.misses_some = False
        return True

    def _to_own_bus(self, message: HiveMessage) -> bool:
        """Put the bus message in a message on the agent's bus: an answer to what was asked from there."""
        inner = message.payload if isinstance(message.payload, HiveMessage) else message
        found = routing.bus_message(inner.body) if inner.msg_type == HiveMessageType.BUS else "no bus message"
        if not isinstance(found, Message) or found.msg_type not in ANSWERS:
            log.info("an answer to the agent is dropped: it is none")
            return False
        return self.emit_from_above(sessions.apart(found))

    def deny(self, sender: str, denial: Deny) -> None:
        """Tell a sender that its message went nowhere."""
        peer = self._around.peers.get(sender)
        if peer is not None:
            self._around.deny(peer, denial)
        else:
            log.info("%s of %s goes nowhere: %s", denial.denied_type, sender, denial.code)

    def relay(self, sender: str, action: Relay) -> None:
        """Pass a message of a sender on."""
        kind = str(getattr(action.message.msg_type, "value", action.message.msg_type))
        outgoing = Outgoing(action.message)
        if not outgoing.can_be_relayed:
            self.deny(sender, denied("message_too_large", kind))
            return
        if action.down:
            self.fan_out.send(self._all_but(sender), outgoing)
            self._to_other_hubs(sender, action.message, kind)
        if action.up and may_go_up(sender) and self._around.parent is not None and not self.to(PARENT, action.message):
            self.deny(sender, denied("upstream_unavailable", kind))

    def _to_other_hubs(self, sender: str, message: HiveMessage, kind: str) -> None:
        if member_of(sender) or self._around.company.relay(message, sender) is not None:
            return
        if message.msg_type in QUESTIONS:
            log.warning("a %s reaches only the satellites of this hub, not those of the others", kind)
        else:
            self.deny(sender, Deny(kind, "backend_unavailable", NOT_ALL_HUBS))

    def emit_from_above(self, message: Message, author: str = "") -> bool:
        """Put a bus message from the hub above on the agent's bus; False where that cannot be.

        `author` is the public key that signed it, where it came sealed.
        """
        local = localise(message, Speaker("", "", self._around.identity.site_id or ""))
        if author:
            local.context[VERIFIED_SOURCE_KEY] = author
        problem = problem_with(local)
        if problem is not None:
            log.warning("a message from above is no message for the agent's bus: %s", problem)
        return problem is None and self._around.agent.emit(local)
