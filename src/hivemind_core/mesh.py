"""Carries out what routing says of messages that travel: passing on, questions and answers, floods, sealed messages.

It asks the pure modules (`floods`, `authors`, `echoes`, `intercom`), leaves questions to `questions`, and sends by
`posting`. All of it runs on the hub's loop; only RSA work leaves it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from hivemind_bus_client.denials import DENIED
from hivemind_bus_client.intercom import Verdict
from hivemind_bus_client.link import Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

from . import bus_events, routing, sessions
from .actions import (
    PARENT,
    Action,
    Answer,
    Ask,
    Deny,
    Flood,
    Here,
    Kick,
    Mail,
    Origin,
    Relay,
    Shared,
    ToAgent,
    Unseal,
    denied,
    may_go_up,
    member_of,
    text,
)
from .authors import Authors
from .echoes import ECHOING, Echoes
from .floods import Floods, Heard
from .peers import Peer
from .posting import Post
from .queries import Select
from .questions import Questions
from .roles import DEFAULT_ROLE, ROLES
from .sealed import Sealed
from .surroundings import Surroundings

log = logging.getLogger(__name__)

FROM_ABOVE = frozenset({*ROLES[DEFAULT_ROLE].types, "speak"})
"""What a PROPAGATE that came from the hub above may bring to the agent of its site. Whoever may propagate up there is
nobody that this hub knows."""


MAX_MAIL_WAITING, MAX_MAIL_WAITING_AT = 1024, 4096
"""Requests to the mailbox of one client, and from one address; it refuses far fewer, but in turn."""


class Mesh:
    """See the module. Senders and receivers are named by peer id, `PARENT` or `AGENT`."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.here = Here(around.identity.node_id, around.identity.site_id)
        self.on_shared_bus: Callable[[str, Message], None] | None = None
        """Called with the peer id of a satellite and a message of its own bus, as SHARED_BUS brings it."""
        self.post = Post(around)
        self.questions = Questions(around, self.post)
        self._floods = Floods()
        self._echoes = Echoes()
        self._authors = Authors(around.identity.trusted_keys, around.peers)
        self._mailing: Counter[str] = Counter()
        """Requests to the mailbox that wait for their replies, of each client and from each address."""
        self._sealed = Sealed(around, self._authors, self._act_on, self._relay_all)
        self._carry_out: dict[type, Callable[[str, Any], None]] = {
            Relay: self.post.relay,
            Unseal: self._unseal,
            Flood: self._flood,
            Ask: self.questions.take,
            Answer: self.questions.answered,
            Mail: self._mail,
            Kick: self._kick,
            Shared: self._shared,
            Deny: self.post.deny,
        }

    @property
    def cascade_select_callback(self) -> Select | None:
        """Chooses among the answers to a CASCADE of a satellite of this hub: called after each with the id of the query
        and all answers so far. What it returns goes onto the agent's bus and ends the collection; None waits for more.
        Without one (the default) every answer goes to the satellite.
        """
        return self.questions.choice.select

    @cascade_select_callback.setter
    def cascade_select_callback(self, select: Select | None) -> None:
        self.questions.choice.select = select

    def carry_out(self, sender: str, action: Action) -> None:
        """Do what routing says."""
        self._carry_out[type(action)](sender, action)

    def is_echo(self, sender: str, message: HiveMessage, actions: Sequence[Action] = ()) -> bool:
        """Tell whether a message has come before by another way; ask once for each. One that is refused is none."""
        if message.msg_type not in ECHOING or any(isinstance(action, (Kick, Deny)) for action in actions):
            return False
        return self._echoes.is_echo(message, sender, self._around.monotonic(), self._around.share_of(sender))

    # fan-out

    def _kick(self, sender: str, action: Kick) -> None:
        peer = self._around.peers.get(sender)
        if peer is not None:
            self._around.end(peer, Refused("not_permitted", f"{action.verb.upper()} is not allowed for this client"))

    def _shared(self, sender: str, action: Shared) -> None:
        if self.on_shared_bus is not None:
            self.on_shared_bus(sender, action.message)

    def _mail(self, sender: str, action: Mail) -> None:
        peer, mailbox = self._around.peers.get(sender), self._around.mailbox
        if peer is None:
            return
        if mailbox is None:
            reply = {"status": "error", "reason": "not_a_rendezvous_node", "mailbox_node": self.here.node_id}
            self.post.to(sender, HiveMessage(HiveMessageType.RENDEZVOUS, reply))
            return
        share = self._around.peers.share_of(sender)
        if self._mailing[share.name] >= MAX_MAIL_WAITING or self._mailing[share.at] >= MAX_MAIL_WAITING_AT:
            log.warning("a request of %s to the mailbox is dropped: too many are waiting", sender)
            return
        whose = [name for name in share if name]
        self._mailing.update(whose)
        request = mailbox.handle(peer.client.api_key, action.body, self._around.wall())
        self._around.spawn(self._reply(peer, whose, request))

    async def _reply(self, peer: Peer, whose: list[str], request: Awaitable[dict[str, Any]]) -> None:
        try:
            self._around.send(peer, HiveMessage(HiveMessageType.RENDEZVOUS, await request))
        finally:
            self._mailing.subtract(whose)
            for name in whose:
                if not self._mailing[name]:
                    del self._mailing[name]

    # the hub above

    def from_parent(self, message: HiveMessage, author: str = "") -> None:
        """Take a message from the hub above; `author` is the public key that signed it, where it came sealed."""
        if self.is_echo(PARENT, message):
            return
        for action in routing.route(message, Origin(PARENT, name=self._parent_name), self.here):
            if isinstance(action, ToAgent):
                self._from_above(replace(action, author=author))
            else:
                self.carry_out(PARENT, action)

    def _from_above(self, action: ToAgent) -> None:
        if action.verb == HiveMessageType.BUS and action.message.msg_type == DENIED and not action.author:
            self.questions.denied_above(action.message.data)
            return
        is_strange = action.verb == HiveMessageType.PROPAGATE or not self._vouches_for(action.author)
        if is_strange and action.message.msg_type not in FROM_ABOVE:
            log.info("somebody above sends %.100r, which is not let through", action.message.msg_type)
            return
        message = sessions.apart(action.message) if is_strange else action.message
        self.post.emit_from_above(message, action.author)

    def _vouches_for(self, author: str) -> bool:
        """Tell whether a message from above may do what the hub above may: that or a friend signed it, or nobody."""
        return not author or self._authors.is_trusted(author, self._parent_name)

    # the other hubs of a cluster

    def from_member(self, way: str, message: HiveMessage) -> None:
        """Take a message that another hub passes on as it is to reach the satellites here; or an answer."""
        if message.metadata.get("is_response"):
            self.questions.answered(way, Answer(message))
        elif message.msg_type in (HiveMessageType.QUERY, HiveMessageType.CASCADE):
            self.questions.take(way, _question(message))
        elif message.msg_type == HiveMessageType.PROPAGATE and message.payload.msg_type == HiveMessageType.PING:
            self._flood(way, Flood(message.payload.body, message, direct=False))
        elif not self.is_echo(way, message):
            self.post.relay(way, Relay(message, down=True))

    def lift(self, way: str, message: HiveMessage) -> None:
        """Pass a message of another hub on to the hub above."""
        if message.msg_type in (HiveMessageType.QUERY, HiveMessageType.CASCADE) and not message.metadata.get(
            "is_response"
        ):
            self.questions.lift(way, _question(message))
        elif not self.post.to(PARENT, message):
            self.post.deny(way, denied("upstream_unavailable", str(message.msg_type)))

    # floods

    def _flood(self, sender: str, action: Flood) -> None:
        ping, peer = action.ping, self._around.peers.get(sender)
        flood_id, node = text(ping.get("flood_id")), text(ping.get("peer"))
        if not node or len(node) > routing.MAX_KEY or len(flood_id) > routing.MAX_NAME:
            return
        if peer is not None and action.direct and not self._authors.may_claim(peer, ping):
            return
        share, is_rationed = self._around.share_of(sender), not self._around.company.behind()
        heard = self._floods.hear(flood_id, node, sender, self._around.monotonic(), share, is_rationed=is_rationed)
        if heard == Heard.KNOWN:
            return
        self._authors.note(sender, node, text(ping.get("public_key")), share)
        self._around.agent.emit(bus_events.pinged(ping))
        if heard == Heard.BEGINS:
            self._floods.hear(flood_id, self.here.node_id, sender, self._around.monotonic())
            if not member_of(sender):
                self.post.to(sender, self._own_ping(flood_id))
            self.post.relay(sender, Relay(action.relayed, down=True, up=may_go_up(sender)))
        elif self._floods.origin(flood_id) != sender:
            self.post.pass_on(self._floods.origin(flood_id), action.relayed)

    def _own_ping(self, flood_id: str) -> HiveMessage:
        body = {
            "flood_id": flood_id,
            "peer": self.here.node_id,
            "site_id": self.here.site_id,
            "timestamp": self._around.wall(),
            "public_key": self.here.node_id,
        }
        return HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.PING, body))

    # sealed messages

    def _unseal(self, sender: str, action: Unseal) -> None:
        target, rsa_key = action.intercom.target_public_key, self._around.identity.rsa_key
        if rsa_key is None or (target and target.strip() != self.here.node_id.strip()):
            self._relay_all(sender, action)
        elif not self._sealed.take(sender, action):
            self.post.deny(sender, denied("message_too_large", HiveMessageType.INTERCOM.value))

    def _relay_all(self, sender: str, action: Unseal) -> None:
        for relay in action.otherwise:
            self.post.relay(sender, relay)

    @property
    def _parent_name(self) -> str:
        return self._around.parent.node_id if self._around.parent is not None else ""

    def _act_on(self, sender: str, verdict: Verdict) -> None:
        """Do what a sealed message says, as if its bearer had sent it: the bearer's rights count.

        What the hub above only passed on may no more than a PROPAGATE may that it passes on.
        """
        assert verdict.message is not None
        peer = self._around.peers.get(sender)
        if sender == PARENT:
            if verdict.message.msg_type == HiveMessageType.BROADCAST and not self._vouches_for(verdict.author):
                log.info("an INTERCOM from above holds a BROADCAST of somebody unknown, which is not let through")
            else:
                self.from_parent(verdict.message, verdict.author)
        elif peer is not None:
            actions = routing.route(verdict.message, Origin(sender, peer.client), self.here)
            self._around.carry_out(peer, [_by(action, verdict.author) for action in actions])

    # those who leave

    def gone(self, peer_id: str) -> None:
        """Forget what only concerns a connection that ended, or has another peer id now."""
        self.questions.gone(peer_id)
        self._echoes.gone(peer_id)
        self._authors.gone(peer_id)


def _question(message: HiveMessage) -> Ask:
    return Ask(HiveMessageType(message.msg_type), message.payload, message)


def _by(action: Action, author: str) -> Action:
    return replace(action, author=author) if isinstance(action, ToAgent) else action
