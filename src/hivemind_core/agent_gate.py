"""The way of a satellite's message to the agent: stamped, checked, judged by the policies, and then the agent's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hivemind_bus_client.message import HiveMessageType, Message

from . import sessions
from .actions import Deny, ToAgent, ToBinary, denied, malformed
from .agents import Agent
from .binary.desk import Desk
from .bus_frames import problem_with
from .peers import Peer
from .policy import Verdict
from .reviews import Reviews


class AgentGate:
    """See the module."""

    def __init__(self, reviews: Reviews, agent: Agent, binary: Desk, deny: Callable[[Peer, Deny], None]) -> None:
        self._reviews = reviews
        self._agent = agent
        self._binary = binary
        self._deny = deny

    def to_agent(self, peer: Peer, action: ToAgent) -> None:
        """Offer a message to the policies and, if they allow it, to the agent."""
        message = sessions.stamped(action.message, peer.peer_id, peer.session, peer.session_prefix, action.author)
        problem = problem_with(message)
        if problem is not None:
            self._deny(peer, malformed(message.msg_type, problem))
        else:
            self._reviews.message(peer, message, partial(self._judged, peer, action.verb))

    def _judged(self, peer: Peer, verb: str, message: Message, verdict: Verdict) -> None:
        if not verdict.allowed:
            self._deny(peer, Deny(message.msg_type, verdict.code, verdict.reason, dict(verdict.data)))
        elif verb == HiveMessageType.BUS and self._binary.hears(peer, message):
            return
        elif not self._agent.emit(message):
            self._deny(peer, denied("backend_unavailable", message.msg_type))

    def to_binary(self, peer: Peer, action: ToBinary) -> None:
        """Offer binary data to the policies and, if they allow it, to the handler."""
        self._reviews.binary(peer, action.data, partial(self._judged_binary, peer, action))

    def _judged_binary(self, peer: Peer, action: ToBinary, verdict: Verdict) -> None:
        if verdict.allowed:
            self._binary.take(peer, action)
        else:
            kind = {"bin_type": str(action.bin_type)}
            self._deny(peer, Deny("binary", verdict.code, verdict.reason, {**verdict.data, **kind}))
