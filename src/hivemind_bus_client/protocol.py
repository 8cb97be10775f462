"""HiveMindSlaveProtocol: what a satellite does with messages from the mesh (docs/protocol.md 12.2, 13, 14.4).

It joins a connection (``hm``) and a local OVOS bus. ``hm`` is one of our clients, or any object with ``on``, ``emit``,
``session_id``, ``identity``, ``crypto_key``, ``json_encoding``, ``cipher`` and ``handshake_event``; for such a one the
protocol also exchanges keys (see `key_exchange`).
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .answers import QUERY_STREAM_END, QUERY_TIMEOUT, inner_topic, is_request, is_stream_end, query_id
from .bus_context import VERIFIED_SOURCE_KEY, Speaker, localise
from .bus_message import as_message, message_class
from .cascade import CascadeAggregator, QueryLivenessTimer, Select
from .coroutines import call_at, running_loop, settle
from .encryption import hybrid_decrypt
from .exceptions import HiveMindException
from .flood_cache import FloodIdCache
from .hive_map import HiveMapper
from .identity import NodeIdentity
from .intercom import fingerprint
from .internal_protocol import HiveMindSlaveInternalProtocol
from .key_exchange import KeyExchange, handles_exchange
from .message import HiveMessage, HiveMessageType, Message
from .poorman_handshakes import HandShake, PasswordHandShake
from .presence import Announcements, Presence, flood_id
from .topology import answering
from .trust import is_trusted, same_key, signer

__all__ = [
    "QUERY_STREAM_END",
    "VERIFIED_SOURCE_PEER_KEY",
    "CascadeAggregator",
    "HandShake",
    "HiveMindSlaveInternalProtocol",
    "HiveMindSlaveProtocol",
    "PasswordHandShake",
    "QueryLivenessTimer",
]

LOG = logging.getLogger(__name__)

VERIFIED_SOURCE_PEER_KEY = VERIFIED_SOURCE_KEY
MAX_OPEN_CASCADES = 64

_BUS = HiveMessageType.BUS
_INTERCOM = HiveMessageType.INTERCOM
_PING = HiveMessageType.PING


@dataclass(eq=False)
class HiveMindSlaveProtocol(KeyExchange):
    """The rules for messages that come in, and the node's answers to them."""

    hm: Any
    """The connection."""
    identity: Any = None
    """Whose keys are used: by default the connection's, else the user's own."""
    handshake: Any = None
    pswd_handshake: Any = None
    internal_protocol: Any = None
    mpubkey: str = ""
    """The hub's public key (PEM)."""
    shared_bus: bool = False
    """Send the hub a copy of all that is said on the local bus."""
    binarize: bool = False
    """The hub takes binary frames."""
    site_id: str = "unknown"
    cascade_timeout: float = 5.0
    """Seconds to collect answers to a CASCADE for, after the first."""
    query_timeout: float = 30.0
    """Seconds without an answer after which a QUERY has failed; 0: never."""
    cascade_select_callback: Select | None = None
    """Chooses among the answers to a CASCADE; None drops them. By default it is chance."""
    hive_mapper: HiveMapper | None = None
    """The map that PINGs are noted in; one given here also says how many answers to a CASCADE to wait for."""
    cascade_aggregator: CascadeAggregator | None = None
    """What collects the answers to the latest CASCADE."""
    query_liveness: QueryLivenessTimer | None = None
    noise_handshake: Any = None
    _own_map: HiveMapper | None = field(default=None, init=False, repr=False)
    _own_floods: FloodIdCache = field(default_factory=FloodIdCache, init=False, repr=False)
    _opened_intercoms: FloodIdCache = field(default_factory=FloodIdCache, init=False, repr=False)
    _cascades: dict[str, CascadeAggregator] = field(default_factory=dict, init=False, repr=False)
    _done_cascades: FloodIdCache = field(default_factory=FloodIdCache, init=False, repr=False)
    _announcements: Announcements = field(default_factory=Announcements, init=False, repr=False)
    _home: Any = field(default=None, init=False, repr=False)

    # --- joining connection and bus -------------------------------------------------------------------------

    def bind(self, bus: Any = None) -> None:
        """Join the connection and a local bus; without one, the OVOS bus of this machine is connected to.

        A client of ours exchanges keys and hands out BUS messages by itself; for any other connection that is done
        here, too.
        """
        if self.identity is None:
            self.identity = getattr(self.hm, "identity", None) or NodeIdentity()
        own = handles_exchange(self.hm)
        if self.handshake is None and not own:
            self.handshake = HandShake(self.identity.private_key)
        self._home = running_loop()
        if self.internal_protocol is None:
            self.internal_protocol = HiveMindSlaveInternalProtocol(self.hm, self.shared_bus)
        self.internal_protocol.bus = bus if bus is not None else _ovos_bus()
        self.internal_protocol.share_bus = self.shared_bus
        self.internal_protocol.register_bus_handlers()
        for kind, handler in self._rules().items():
            if not own or kind not in _DONE_BY_CLIENT:
                self.hm.on(kind, handler)

    def _rules(self) -> dict[HiveMessageType, Callable[[HiveMessage], Any]]:
        return {
            HiveMessageType.HELLO: self.handle_hello,
            HiveMessageType.BROADCAST: self.handle_broadcast,
            HiveMessageType.PROPAGATE: self.handle_propagate,
            HiveMessageType.INTERCOM: self.handle_intercom,
            HiveMessageType.ESCALATE: self.handle_illegal_msg,
            HiveMessageType.SHARED_BUS: self.handle_illegal_msg,
            HiveMessageType.QUERY: self.handle_query,
            HiveMessageType.CASCADE: self.handle_cascade,
            HiveMessageType.BUS: self.handle_bus,
            HiveMessageType.HANDSHAKE: self.handle_handshake,
        }

    def bind_flood_cache(self, cache: FloodIdCache) -> None:
        """Share the memory of floods with another protocol or a hub, so that they answer each once together."""
        self._map().share_floods(cache)

    def sending(self, message: HiveMessage) -> None:
        """Note what the connection is about to send: a QUERY is waited for, a PING of our own is not answered."""
        if message.msg_type == HiveMessageType.QUERY:
            self.arm_query_timeout(query_id(message))
        elif message.msg_type == HiveMessageType.PROPAGATE and isinstance(message.body, Mapping):
            inner = message.body
            if inner.get("msg_type") == _PING and isinstance(inner.get("payload"), Mapping):
                self._own_floods.check(flood_id(inner["payload"]))

    def announcement(self, message: HiveMessage) -> HiveMessage | None:
        """Return the PING that the connection is to send ahead of a message, if one is due: a PROPAGATE(BUS) acts only
        where its sender's key is trusted, and who has heard no PING of it does not know the key.
        """
        if message.msg_type != HiveMessageType.PROPAGATE:
            return None
        return self._announcements.ahead_of(message, self._presence())

    def connection_opened(self) -> None:
        """Note that there is a new session."""
        super().connection_opened()
        self._announcements.forget()

    def reset_connection_state(self) -> None:
        """Note that the connection is lost: no QUERY under way will be answered any more. Whoever ends it on purpose
        need not be told.
        """
        super().reset_connection_state()
        waiting = self.query_liveness
        if waiting is None:
            return
        if getattr(self.hm, "stopping", False):
            waiting.cancel()
        else:
            waiting.expire_now()

    def _password_handshake(self, password: str) -> PasswordHandShake:
        return PasswordHandShake(password)

    def _emit(self, message: HiveMessage) -> None:
        settle(self.hm.emit(message), self._home)

    # --- messages for the local bus -------------------------------------------------------------------------

    def handle_bus(self, message: HiveMessage, verified_source: str | None = None) -> None:
        """Bring an OVOS message onto the local bus: that of a BUS message, also one inside another.

        ``verified_source`` is the public key its author proved to have. Raises AssertionError for any other type.
        """
        inner = message if message.msg_type == _BUS else message.payload
        if not isinstance(inner, HiveMessage) or inner.msg_type != _BUS:
            raise AssertionError(f"not a BUS message but {message.msg_type}")
        local = localise(as_message(inner.payload), Speaker("", self.hm.session_id, self.site_id))
        if verified_source:
            local.context[VERIFIED_SOURCE_PEER_KEY] = verified_source
        self._inject(local)

    def _inject(self, local: Message) -> None:
        """Bring a message onto the local bus, where the handlers of this connection run; timers call this, too."""
        asynchronous = inspect.iscoroutinefunction(getattr(self.hm, "emit", None))
        call_at(self._home if asynchronous else None, self._emit_local, local)

    def _emit_local(self, local: Message) -> None:
        if handles_exchange(self.hm):
            self.hm.deliver(local)
            return
        cls = message_class()
        known = local if cls is Message else cls(local.msg_type, local.data, local.context)
        _note_session(known)
        settle(self.internal_protocol.bus.emit(known), self._home)

    # --- routed messages ------------------------------------------------------------------------------------

    def handle_broadcast(self, message: HiveMessage) -> None:
        """Take what a hub sends to everyone below it."""
        inner = _inner(message)
        if inner is None:
            return
        if inner.msg_type == _INTERCOM:
            self.handle_intercom(inner)
        elif inner.msg_type == _BUS and self._is_for_here(message):
            self.handle_bus(inner)

    def handle_propagate(self, message: HiveMessage) -> None:
        """Take what any node sends to all."""
        inner = _inner(message)
        if inner is None:
            return
        if message.route and not inner.route:
            inner = inner.forward(route=message.route)
        if inner.msg_type == _INTERCOM:
            self.handle_intercom(inner)
        elif inner.msg_type == _PING:
            self.handle_ping(inner)
        elif inner.msg_type == _BUS and self._is_for_here(message):
            if self._is_source_trusted(message):
                self.handle_bus(inner)
            else:
                LOG.warning("Dropping untrusted PROPAGATE(BUS) from %s", message.source_peer)

    def _is_for_here(self, message: HiveMessage) -> bool:
        return bool(message.target_site_id) and message.target_site_id == self.site_id

    def _is_source_trusted(self, message: HiveMessage) -> bool:
        mapper, peer = self.hive_mapper, message.source_peer
        if mapper is not None and peer and mapper.is_peer_trusted(peer):
            return True
        return is_trusted(message, self._trusted_keys(), dict(mapper.nodes) if mapper is not None else {})

    def _trusted_keys(self) -> list[str]:
        keys = getattr(self.identity, "trusted_keys", None)
        return list(keys.values()) if isinstance(keys, Mapping) else []

    def handle_illegal_msg(self, message: HiveMessage) -> None:
        """Drop what no hub sends."""
        LOG.warning("a %s message from the hub is dropped: it only goes up", message.msg_type)

    def handle_ping(self, message: HiveMessage) -> None:
        """Note who sent a PING, and answer once for each flood that is not our own."""
        payload = message.payload
        if not isinstance(payload, Mapping):
            return
        if self._map().on_ping(message, time.time()):
            self._map().mark_trusted_nodes({key: key for key in self._trusted_keys()})
        flood = flood_id(payload)
        if flood not in self._own_floods and not self._map().check_flood_id(flood):
            self._emit(self._presence().ping(flood, time.time()))

    def _presence(self) -> Presence:
        own = self.identity
        return Presence(own.name, self.hm.session_id, self.site_id, own.public_key, _language())

    def _map(self) -> HiveMapper:
        if self.hive_mapper is None:
            self.hive_mapper = self._own_map = HiveMapper()
        return self.hive_mapper

    # --- sealed messages ------------------------------------------------------------------------------------

    def handle_intercom(self, message: HiveMessage) -> bool:
        """Open a sealed message, and bring it onto the local bus if its author is trusted; tell whether it did.

        It is taken from the hub itself and from trusted keys, when it is addressed to this node or came by way of a
        trusted one; each once.
        """
        sealed = message if message.msg_type == _INTERCOM else message.payload
        target = sealed.target_public_key
        if target and not same_key(target, self.identity.public_key):
            return False
        inner = self._opened(sealed.payload)
        if inner is None:
            return False
        author = signer(sealed.payload, [*self._trusted_keys(), self.mpubkey])
        if author is None or not (target or self._is_source_trusted(sealed)):
            LOG.warning("Dropping untrusted INTERCOM from %s", sealed.source_peer)
            return False
        if self._opened_intercoms.check(fingerprint(sealed.payload)):
            LOG.warning("an INTERCOM came once more and is dropped")
            return False
        self.handle_bus(inner, verified_source=author)
        return True

    def _opened(self, envelope: Any) -> HiveMessage | None:
        """The BUS message inside an envelope that is sealed for this node."""
        if not isinstance(envelope, Mapping) or "encrypted_key" not in envelope:
            return None
        try:
            key = Path(self.identity.private_key).read_bytes()
            inner = HiveMessage.deserialize(hybrid_decrypt(key, envelope))
        except (HiveMindException, ValueError, OSError) as error:
            LOG.debug("an INTERCOM cannot be opened: %s", error)
            return None
        return inner if inner.msg_type == _BUS else None

    # --- answers --------------------------------------------------------------------------------------------

    def handle_query(self, message: HiveMessage) -> None:
        """Take a part of the answer to a QUERY; the questions of others are not for here. Raises AssertionError for
        what can be no answer.
        """
        inner, asked = _inner(message), query_id(message)
        if inner is None or is_request(message):
            return
        if inner.msg_type == _INTERCOM:
            self.handle_intercom(message)
            return
        if inner.msg_type != _BUS:
            raise AssertionError(f"no answer to a QUERY: {inner.msg_type}")
        ends = inner_topic(message) in (QUERY_STREAM_END, QUERY_TIMEOUT)
        waiting = self.query_liveness
        if waiting is not None and ends:
            waiting.cancel(asked)
        elif waiting is not None and waiting.waits_for(asked):
            waiting.arm(asked)
        if not is_stream_end(message):
            self.handle_bus(inner)

    def arm_query_timeout(self, asked: str = "") -> None:
        """Wait for an answer to a QUERY that is being sent."""
        if self.query_timeout <= 0:
            return
        if self.query_liveness is None:
            self.query_liveness = QueryLivenessTimer(self.query_timeout, self.handle_query_timeout)
        self.query_liveness.arm(asked)

    def handle_query_timeout(self, query_id: str) -> None:
        """Tell the local bus that a QUERY was not answered."""
        LOG.warning("no answer to a QUERY within %s s: %s", self.query_timeout, query_id or "its id is not known")
        self._inject(Message(QUERY_TIMEOUT, {"query_id": query_id, "error": "no_answer"}))

    def handle_cascade(self, message: HiveMessage) -> None:
        """Take an answer to a CASCADE; one of all is chosen later. The questions of others are not for here. Raises
        AssertionError for what can be no answer.
        """
        inner = _inner(message)
        if inner is None or is_request(message):
            return
        if inner.msg_type != _BUS:
            raise AssertionError(f"no answer to a CASCADE: {inner.msg_type}")
        if is_stream_end(message):
            return
        aggregator = self._aggregator(query_id(message))
        if aggregator is not None:
            aggregator.add_response(message)

    def _aggregator(self, asked: str) -> CascadeAggregator | None:
        """What collects the answers to a question; None if its answer was chosen before, or too many are open.

        Answers that name no question belong to the latest one while that is open.
        """
        known = self._cascades.get(asked)
        if not asked and self.cascade_aggregator is not None:
            known = self.cascade_aggregator
        if known is not None and not known._resolved:
            return known
        if asked and asked in self._done_cascades:
            return None
        self._cascades = {each: open_ for each, open_ in self._cascades.items() if not open_._resolved}
        if len(self._cascades) >= MAX_OPEN_CASCADES:
            LOG.warning("too many CASCADEs are open: an answer is dropped")
            return None
        if asked:
            self._done_cascades.check(asked)
        aggregator = CascadeAggregator(
            timeout=self.cascade_timeout,
            select_callback=self.cascade_select_callback,
            emit_callback=self._chosen,
            expected_responses=self._known(),
        )
        self.cascade_aggregator = self._cascades[asked] = aggregator
        return aggregator

    def _chosen(self, answer: HiveMessage) -> None:
        self.handle_bus(answer.payload)

    def _known(self) -> int | None:
        """How many nodes that may answer the application's map knows; None where there is none to go by."""
        mapper = self.hive_mapper
        return answering(mapper.nodes) or None if mapper is not None and mapper is not self._own_map else None


_DONE_BY_CLIENT = frozenset({HiveMessageType.HELLO, HiveMessageType.HANDSHAKE, HiveMessageType.BUS})


def _inner(message: HiveMessage) -> HiveMessage | None:
    """The message inside another; None, and a line in the log, if there is none."""
    try:
        found: HiveMessage = message.payload
    except ValueError as error:
        LOG.warning("a %s message carries no message and is dropped: %s", message.msg_type, error)
        return None
    return found


def _ovos_sessions() -> Any:
    """The session module of ovos_bus_client, where the application has imported it."""
    return sys.modules.get("ovos_bus_client.session")


def _language() -> str | None:
    sessions = _ovos_sessions()
    default = sessions.SessionManager.default_session if sessions is not None else None
    return str(default.lang) if default is not None else None


def _note_session(message: Any) -> None:
    """Let ovos_bus_client know the session of a message, where the application uses that."""
    sessions = _ovos_sessions()
    if sessions is None or not message.context.get("session"):
        return
    try:
        sessions.SessionManager.update(sessions.Session.from_message(message))
    except Exception:
        LOG.exception("the session of a message cannot be noted")


def _ovos_bus() -> Any:
    """Connect to this machine's OVOS bus and wait until that is done. Raises RuntimeError without the package."""
    try:
        from ovos_bus_client import MessageBusClient
    except ImportError:
        raise RuntimeError("no bus was given: give one, or install hivemind-mesh[ovos] for the OVOS bus") from None
    bus = MessageBusClient()
    bus.run_in_thread()
    bus.connected_event.wait()
    return bus
