"""Where messages go: to a satellite, to all of them, to the hub above, to the agent's bus.

Senders and receivers are named by peer id, `PARENT` or `AGENT`.
"""

from __future__ import annotations

import logging

from hivemind_bus_client.bus_context import VERIFIED_SOURCE_KEY, Speaker, localise
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

from . import routing
from .actions import AGENT, PARENT, Deny, Relay, denied
from .bus_frames import problem_with
from .surroundings import Surroundings

log = logging.getLogger(__name__)


class Post:
    """See the module."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

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
        peer = self._around.peers.get(receiver)
        if peer is None:
            return False
        self._around.send(peer, message)
        return True

    def to_all(self, message: HiveMessage, but: str = "") -> list[str]:
        """Send a message to every registered peer, perhaps except one; return who they were."""
        peers = [peer for peer in self._around.peers if peer.peer_id != but]
        for peer in peers:
            self._around.send(peer, message)
        return [peer.peer_id for peer in peers]

    def _to_own_bus(self, message: HiveMessage) -> bool:
        """Put the bus message in a message on the agent's bus: an answer to what was asked from there."""
        inner = message.payload if isinstance(message.payload, HiveMessage) else message
        found = routing.bus_message(inner.body) if inner.msg_type == HiveMessageType.BUS else "no bus message"
        return isinstance(found, Message) and self.emit_from_above(found)

    def deny(self, sender: str, denial: Deny) -> None:
        """Tell a sender that its message went nowhere."""
        peer = self._around.peers.get(sender)
        if peer is not None:
            self._around.deny(peer, denial)
        else:
            log.info("%s of %s goes nowhere: %s", denial.denied_type, sender, denial.code)

    def relay(self, sender: str, action: Relay) -> None:
        """Pass a message of a sender on."""
        if action.down:
            self.to_all(action.message, but=sender)
        if action.up and self._around.parent is not None and not self.to(PARENT, action.message):
            self.deny(sender, denied("upstream_unavailable", str(action.message.msg_type)))

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
