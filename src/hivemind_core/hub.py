"""The hub: owns the links, asks the pure modules, carries out what they say. One event loop, no lock.

A transport asks `identify`, then `connect`s a peer, gives its frames to `receive` and says `closed` at the end. The
agent's bus gives every message to `deliver`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from hivemind_bus_client.exceptions import NotOpen
from hivemind_bus_client.link import Event, HubTerms, KeyNeeded, Link, Opened, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.noise import PROTOCOL_V3, derive_psk
from hivemind_bus_client.outgoing import Outgoing
from hivemind_bus_client.parts import PartsBudget
from hivemind_bus_client.refusals import GOING_AWAY, MAX_REASON_BYTES, REFUSALS

from . import bus_events, greeting, routing, sessions
from .actions import Action, Deny, Origin, Register, ToAgent, ToBinary, denied, malformed
from .admission import Admission, Visitor, refused, timed
from .agent_gate import AgentGate
from .agent_side import AgentSide
from .agents import Agent
from .binary.default import DefaultHandler
from .binary.desk import Back, Desk
from .clients import Client
from .clocks import Clocks as Clocks
from .company import Alone, Company, Reception
from .config import Config
from .database import ClientDatabase
from .door import Door
from .hub_identity import HubIdentity
from .keys import ClientKeys, DerivePsk
from .last_seen import SeenWriter
from .limits import neighbourhood
from .mesh import Mesh
from .meter import Meter
from .peers import Connection, Peer, Registry
from .policy import PolicyChain
from .refusal_log import RefusalLog
from .reviews import Reviews
from .surroundings import Mailbox, Parent, Surroundings
from .tasks import Tasks
from .workers import ThreadWorkers, Workers

log = logging.getLogger(__name__)

REST_AFTER_S, REST_EVERY_S = 60.0, 10.0
RETRY_PINS_S = 30.0
FINISH_S = 5.0
MAX_PARTS_BYTES = 256 * 1024 * 1024
"""What unfinished messages of all connections may hold together."""


class Hub:
    """See the module."""

    def __init__(
        self,
        config: Config,
        identity: HubIdentity,
        db: ClientDatabase,
        agent: Agent,
        policies: PolicyChain | None = None,
        *,
        workers: Workers | None = None,
        clocks: Clocks | None = None,
        derive: DerivePsk = derive_psk,
        parent: Parent | None = None,
        mailbox: Mailbox | None = None,
        binary: Any = None,
        company: Company | None = None,
    ) -> None:
        self.config = config
        self.identity = identity
        self.db = db
        self.agent = agent
        self.policies = policies or PolicyChain()
        self.workers = workers or ThreadWorkers()
        self.clocks = clocks or Clocks()
        self.ready = True
        """Satellites can come, as far as the hub knows; whoever runs its transports says otherwise."""
        self.peers = Registry(identity.node_id)
        self.admission = Admission(db, self.workers, self.clocks.monotonic)
        self.keys = ClientKeys(config, identity.node_id, db, self.workers, derive, self.clocks.expiry)
        self.meter = Meter(self.clocks.monotonic)
        self.refusals = RefusalLog(self.meter, self.clocks)
        self.rejections = self.refusals.rejections
        self.door = Door(self.admission, self.peers, self.keys, self.meter)
        self._tasks = Tasks()
        self._parts_budget = PartsBudget(MAX_PARTS_BYTES)
        self._seen = SeenWriter(db, self.workers, self.clocks, self._tasks.spawn, config.last_seen_update_interval_s)
        self._pins_retried_at = self._rested_at = self.clocks.monotonic()
        self.reviews = Reviews(self.policies, db.by_id)
        self.binary = Desk(binary or DefaultHandler(), Back(self._send, self._deny, self._inject))
        self.gate = AgentGate(self.reviews, agent, self.binary, self._deny)
        self._carry_out = self._ways_to_carry_out()
        self._on_event = self._ways_to_take_events()
        self.parent = parent
        self.mailbox = mailbox
        self.company = company or Alone()
        self.mesh = Mesh(self._surroundings())
        answer = self.meter.answering(self._send)
        self._agent_side = AgentSide(self.peers, agent, self.mesh, self.company, answer, lambda: self.ready)
        self.deliver = self._agent_side.deliver
        """Takes a message from the agent's bus; one addressed to a satellite goes to it."""

    def _ways_to_carry_out(self) -> dict[type, Callable[[Peer, Any], None]]:
        return {
            Register: self._register,
            ToAgent: self.gate.to_agent,
            ToBinary: self.gate.to_binary,
            Deny: self._deny,
        }

    def _ways_to_take_events(self) -> dict[type, Callable[[Peer, Any], None]]:
        return {
            Received: self.meter.receiving(self._received),
            Opened: self._opened,
            KeyNeeded: self._key_needed,
            Refused: self._end,
        }

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            identity=self.identity,
            peers=self.peers,
            agent=self.agent,
            reviews=self.reviews,
            workers=self.workers,
            monotonic=self.clocks.monotonic,
            wall=self.clocks.expiry,
            send=self._send,
            deny=self._deny,
            end=self._end,
            carry_out=self._act,
            spawn=self._tasks.spawn,
            company=self.company,
            parent=self.parent,
            mailbox=self.mailbox,
        )

    # life

    async def start(self) -> None:
        """Start the agent and join the hub above; connections may come."""
        await self.agent.start(self.deliver)
        if self.mailbox is not None:
            await self.mailbox.start()
        await self.company.start(self._reception())
        if self.parent is not None:
            await self.parent.start(self._from_parent, self.mesh.questions.parent_lost)

    def _reception(self) -> Reception:
        """Return what this hub does with what comes from the other hubs of its cluster."""
        return Reception(
            reply=self._agent_side.from_member,
            message=self.mesh.from_member,
            direct=self._to_one,
            lift=self.mesh.lift,
            above=self._from_parent,
            displaced=lambda peer_id: self.peers.displace(peer_id, self.clocks.monotonic()),
            undelivered=self._agent_side.undelivered,
            client=lambda peer_id: self.peers.share_of(peer_id).name if self.peers.get(peer_id) is not None else "",
        )

    def _to_one(self, peer_id: str, message: HiveMessage) -> None:
        if self.peers.get(peer_id) is not None:
            self.mesh.post.to(peer_id, message)

    async def stop(self) -> None:
        """Close every connection with 1001, say so on the bus, and finish what was begun."""
        reason = REFUSALS["shutting_down"].wire_reason
        for peer in self.peers.connections():
            peer.conn.close(GOING_AWAY, reason)
            self.closed(peer)
        self.keys.stop()
        if self.parent is not None:
            await self.parent.stop()
        await self._tasks.finish(FINISH_S)
        if self.mailbox is not None:
            await self.mailbox.stop()
        await self.company.stop()
        await self.agent.stop()
        self.binary.stop()
        self.reviews.stop()
        self.workers.stop()
        self.db.close()

    def tick(self) -> None:
        """To be called about once a second: deadlines, idle links, `last_seen`."""
        now = self.clocks.monotonic()
        self.refusals.tick()
        for peer in [peer for peer in self.peers.connections() if (peer.link.deadline() or now + 1) <= now]:
            self._handle(peer, peer.link.tick(now))
        if now - self._rested_at >= REST_EVERY_S:
            self._rested_at = now
            for peer in self.peers:
                if now - peer.active_at > REST_AFTER_S:
                    peer.link.rest()
        self.mesh.questions.tick()
        self._seen.note(self.peers)
        if now - self._pins_retried_at >= RETRY_PINS_S:
            self._pins_retried_at = now
            for client, key in self.keys.unsaved_pins():
                self._tasks.spawn(self._keep(client, self.keys.keep_pin(client, key)))

    def reconfigure(self, config: Config) -> None:
        """Go by another configuration for the connections that come from now on."""
        self.config = self.keys.config = config

    async def refresh(self) -> None:
        """Take in changed rows and apply them to the open connections."""
        changed = await self.admission.refresh()
        self.keys.forget_pins(changed)
        for client_id in changed | await self.keys.end_graces():
            self._apply_row(client_id)

    def _apply_row(self, client_id: int) -> None:
        """Apply a client's row as it is now to its open connections."""
        row = self.db.by_id(client_id)
        for peer in self.peers.of_client(client_id):
            refusal = self.door.reconsider(peer, row)
            if row is None or refusal:
                self._end(peer, refused(refusal))
                continue
            if row.name != peer.client.name:
                log.info("%s is called %r from now on", peer.peer_id, row.name)
            peer.client = row

    # what transports call

    async def identify(self, token: str, remote: str) -> Visitor | Refused:
        """Find out whose access key a connection brings, before anything else is done for it.

        `remote` is the address of its other end.
        """
        return await self.door.identify(token, remote)

    def turn_away(self, conn: Connection, refusal: Refused) -> None:
        """Refuse a connection that has no peer."""
        self.refusals.stranger(conn.remote, refusal)
        conn.close(refusal.close_code, refusal.reason)

    def connect(self, conn: Connection, visitor: Visitor) -> Peer:
        """Take in a connection and greet it; it can do nothing but the handshake yet."""
        client, now = visitor.client, self.clocks.monotonic()
        # Random, so that a replayed KKpsk0 message 1 never fits the prologue.
        peer_id = self.peers.peer_id_for(client, visitor.useragent, str(uuid4()))
        link = Link.hub(self._terms(client, peer_id, neighbourhood(conn.remote)), now)
        peer = self.peers.new_peer(conn, link, client, visitor.useragent)
        peer.peer_id, peer.active_at = peer_id, now
        self.door.entered(peer)
        self._flush(peer)
        self._apply_row(client.client_id)  # which may have changed since it was found
        return peer

    def _terms(self, client: Client, peer_id: str, address: str) -> HubTerms:
        """Return what the link of a new connection starts from."""
        pinned, psk = self.keys.pinned_key(client), self.keys.stored_psk(client)
        node_id = self.identity.node_id
        hello = {"pubkey": node_id, "peer": peer_id, "node_id": node_id}
        previous = self.keys.previous(client, address)
        terms = HubTerms(hello, {}, self.identity.noise_key, pinned, psk, budget=self._parts_budget, previous=previous)
        return greeting.offered(terms, self.config, client, self.identity.rsa_key)

    def receive(self, peer: Peer, frame: bytes | str) -> None:
        """Take one frame of a connection."""
        peer.active_at = now = self.clocks.monotonic()
        self.meter.took(frame)
        if not peer.ended:
            self._handle(peer, peer.usage.count(len(frame), now) or peer.link.receive(frame, now))

    def heard(self, peer: Peer) -> None:
        """Take a sign of life that says nothing else: a ping, a pong, a request for messages."""
        if not self.peers.lives_on(peer, self.clocks.monotonic()):
            return
        if not self.company.has(peer.peer_id) and self.peers.get(peer.peer_id) is None:
            self._enter(peer)

    def closed(self, peer: Peer) -> None:
        """Forget a connection that ended, however it did."""
        self.door.left(peer)
        peer.ended = True
        peer.link.close()
        was_last = self.peers.get(peer.peer_id) in (peer, None)  # else it was at another hub, and has come back
        if self.peers.remove(peer) and peer.registered:
            self.binary.left(peer)
            self._seen.note([peer], leaving=True)
            if was_last:
                log.info("%s left", peer.peer_id)
                self._gone(peer)

    def _gone(self, peer: Peer) -> None:
        """Tell that nobody has this peer id here any more."""
        self.mesh.gone(peer.peer_id)
        self.company.left(peer.peer_id)
        if not self.company.shares_bus(peer.peer_id):  # else all on the bus have heard that it has joined there
            self.agent.emit(bus_events.disconnected(peer))

    # events of a link

    def _handle(self, peer: Peer, events: list[Event]) -> None:
        for event in events:
            if not peer.ended:  # the session may be refused that the next message came with
                self._on_event[type(event)](peer, event)
        self._flush(peer)

    def _flush(self, peer: Peer) -> None:
        frames = peer.link.frames_to_send()
        if frames and not peer.ended:
            self.meter.send(peer.conn, frames)

    def _key_needed(self, peer: Peer, event: KeyNeeded) -> None:
        if event.compute is not None:
            derivation = self.keys.compute(peer.client, event.compute, previous=event.previous)
            self._tasks.spawn(self._derive(peer, derivation))
            return
        psk = self.keys.stored_psk(peer.client, previous=event.previous)  # another connection may have derived it
        if psk is None:
            peer.excused = True  # it may not want to wait for so long
            self._tasks.spawn(self._derive(peer, self.keys.derive(peer.client, previous=event.previous)))
        else:
            self._handle(peer, peer.link.key_derived(psk, self.clocks.monotonic()))

    async def _derive(self, peer: Peer, derivation: Awaitable[bytes | Refused]) -> None:
        result = await derivation
        if peer.ended:
            return
        peer.excused = False
        if isinstance(result, Refused):
            self._end(peer, result)
        else:
            self._handle(peer, peer.link.key_derived(result, self.clocks.monotonic()))

    def _opened(self, peer: Peer, event: Opened) -> None:
        peer.static_key = event.remote_key
        pinned = self.keys.pinned_key(peer.client)
        if event.version < PROTOCOL_V3:
            log.info("%s speaks protocol v%d (%s)", peer.client.name, event.version, event.pattern)
            refusal = "protocol_too_old" if pinned is not None else ""  # another device was first meanwhile
        else:
            refusal = "" if self.keys.pin(peer.client, event.remote_key) else "client_key_mismatch"
        if refusal:
            self._end(peer, refused(refusal))
            return
        self.door.accepted(peer, event)
        if event.previous:
            self._tasks.spawn(self.keys.used_previous(peer.client))
        if pinned is None and event.version >= PROTOCOL_V3:
            self._tasks.spawn(self._keep(peer.client, self.keys.keep_pin(peer.client, event.remote_key)))

    async def _keep(self, client: Client, written: Awaitable[None]) -> None:
        await written
        self._apply_row(client.client_id)

    def _end(self, peer: Peer, refusal: Refused) -> None:
        """Close a connection for a reason."""
        refusal = timed(refusal)
        self.door.refused(peer, refusal)
        self.refusals.satellite(peer, refusal)
        reason = refusal.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        peer.conn.close(refusal.close_code, reason)
        self.closed(peer)

    # messages of a peer

    def _received(self, peer: Peer, event: Received) -> None:
        try:
            if not peer.registered and event.message.msg_type != HiveMessageType.HELLO:
                self._register(peer, Register({}, None, None))  # so that its answers find it
            elif self.peers.lives_on(peer, self.clocks.monotonic()):
                self._enter(peer)
            actions = routing.route(event.message, Origin(peer.peer_id, peer.client), self.mesh.here)
            if not self.mesh.is_echo(peer.peer_id, event.message, actions):
                self._act(peer, actions)
        except Exception:  # top of one message's handling: one peer's message never harms another's
            log.exception("could not handle a message of %s", peer.peer_id)
            kind = getattr(event.message.msg_type, "value", event.message.msg_type)
            self._end(peer, Refused("internal_error", f"internal error handling {kind}"))

    def _act(self, peer: Peer, actions: list[Action]) -> None:
        for action in actions:
            own = self._carry_out.get(type(action))
            if own is not None:
                own(peer, action)
            else:
                self.mesh.carry_out(peer.peer_id, action)

    def _from_parent(self, message: HiveMessage) -> None:
        try:
            self.mesh.from_parent(message)
        except Exception:  # top of one message's handling
            log.exception("could not handle a message of the hub above")

    def _register(self, peer: Peer, action: Register) -> None:
        session = {**action.session}
        session["session_id"] = session.get("session_id") or peer.session["session_id"]
        is_same = peer.registered and session["session_id"] == peer.session["session_id"]
        problem = sessions.problem_with_announced(session)
        if problem is not None:
            self._deny(peer, malformed("hello", problem))
            return
        if peer.registered and not is_same and not self.door.may_change_session(peer):
            self._deny(peer, denied("too_many_sessions", "hello"))
            return
        if peer.registered and not is_same and self.peers.get(peer.peer_id) in (peer, None):
            self._gone(peer)
        peer.session, peer.site_id = session, action.site_id or peer.site_id
        if not is_same:
            self._enter(peer)
        if action.pubkey and not is_same:
            self._tasks.spawn(self._keep(peer.client, self.keys.keep_intercom_key(peer.client, action.pubkey)))

    def _enter(self, peer: Peer) -> None:
        self.peers.register(peer, self.company.has)
        self.company.came(peer.peer_id)
        log.info("%s joined from %s", peer.peer_id, peer.conn.remote)
        self.agent.emit(bus_events.connected(peer))

    def _inject(self, peer: Peer, action: ToAgent) -> None:
        self.gate.to_agent(peer, action)

    def _deny(self, peer: Peer, action: Deny) -> None:
        self.refusals.denied(peer, action)
        self._send(peer, bus_events.denial(peer.peer_id, action))

    def _send(self, peer: Peer, message: HiveMessage | Outgoing) -> None:
        if peer.ended:
            return
        if self.mesh.post.fan_out.waiting:
            self.mesh.post.fan_out.catch_up(peer)
        try:
            peer.link.send(message)
        except NotOpen:
            log.debug("%s has no session any more, or none yet", peer.peer_id)
            return
        self._flush(peer)
