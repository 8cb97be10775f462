"""What the asyncio client and the client for threads have in common: who they are, who listens to them, and
what becomes of a message on its way out and in. Nothing here waits.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol
from uuid import uuid4

from .address import Address, authorization, check_useragent, parse_address
from .bus_context import Speaker, session_state, stamp
from .delivery import BinaryDataCallbacks, Delivery, bus_calls
from .dispatch import Dispatcher, event_key
from .driver import NEWEST_PROTOCOL, Driver, Hooks, NotStarted, Settings
from .fakebus import FakeBus
from .identity import NodeIdentity
from .keepalive import websocket_keepalive_options
from .keyring import Keyring
from .listening import Listening
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, as_message

DEFAULT_USERAGENT = "HiveMessageBusClientV0.0.1"
UNKNOWN_SITE = "unknown"
RETRY_S = 5.0
"""What one of `handshake_max_retries` is worth."""
FIRST_CONNECTION_S = 10.0
"""How long `emit` waits while the very first connection is being made."""

_BUS = HiveMessageType.BUS.value
_BINARY = HiveMessageType.BINARY.value


@dataclass
class Session:
    """The conversation this satellite takes part in, as HELLO announces it (docs/protocol.md 3.4)."""

    session_id: str
    site_id: str = UNKNOWN_SITE

    def serialize(self) -> dict[str, Any]:
        """Return the session as it is sent."""
        return {"session_id": self.session_id, "site_id": self.site_id}


class Flag(Protocol):
    """What an event of `threading` and one of `asyncio` have in common."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...


class ClientBase(Listening, ABC):
    """Identity, listeners and messages of one satellite; see the two clients for how to connect it.

    Credentials not given come from ``identity``, which is the user's own unless given. RuntimeError if access
    key, password or host are found nowhere; ValueError for a host, port or useragent that cannot be used.

    ``websocket_connect_timeout``, ``websocket_ping_*`` and ``emit_timeout`` are in seconds; ``emit_timeout``
    is how long `emit` waits for a connection once there has been one (0: it fails at once). ``compress`` None
    sends what is shorter. ``self_signed`` accepts any TLS certificate, since Noise proves who the hub is.
    """

    AUTH_REJECTED_CLOSE_CODE = 1008

    def __init__(
        self,
        key: str | None = None,
        password: str | None = None,
        crypto_key: str | bytes | None = None,
        host: str | None = None,
        port: int | str | None = None,
        useragent: str = "",
        self_signed: bool = True,
        share_bus: bool = False,
        compress: bool | None = True,
        binarize: bool = True,
        identity: NodeIdentity | None = None,
        internal_bus: Any = None,
        bin_callbacks: BinaryDataCallbacks | None = None,
        websocket_ping_interval: float | None = None,
        websocket_ping_timeout: float | None = None,
        max_protocol_version: int = NEWEST_PROTOCOL,
        websocket_connect_timeout: float = 30.0,
        *,
        min_protocol_version: int = NEWEST_PROTOCOL,
        emit_timeout: float = 0.0,
    ) -> None:
        self.session = Session(_own_session_id(internal_bus))
        super().__init__(internal_bus if internal_bus is not None else FakeBus(self.session.session_id))
        self.identity = identity if identity is not None else NodeIdentity()
        self._access_key = key
        self._password = password
        self._host = host
        self._port = port
        self._useragent = check_useragent(useragent or DEFAULT_USERAGENT)
        self.crypto_key = crypto_key
        self.allow_self_signed = self_signed
        self.share_bus = share_bus
        self.compress = compress
        self.binarize = binarize
        self.bin_callbacks = bin_callbacks if bin_callbacks is not None else BinaryDataCallbacks()
        self.websocket_ping_interval = websocket_ping_interval
        self.websocket_ping_timeout = websocket_ping_timeout
        self.websocket_connect_timeout = websocket_connect_timeout
        self.max_protocol_version = max_protocol_version
        self.min_protocol_version = min_protocol_version
        self.emit_timeout = emit_timeout
        self.started_running = False
        self.protocol: Any = None
        """Always None; here for programs that look."""
        self.hub_session: dict[str, Any] = {}
        self._agent_bus: Any = None
        self._delivery = Delivery(self.emitter, self._local_buses, self._speaker, lambda: self.bin_callbacks)
        self._driver: Driver | None = None
        self._was_connected = False
        self.init_identity()
        self._dispatcher, self.connected_event, self.handshake_event = self._equipment()

    @abstractmethod
    def _equipment(self) -> tuple[Dispatcher, Flag, Flag]:
        """Return what calls the handlers, and the two events that say that the hub has admitted us."""

    def init_identity(self, site_id: str | None = None) -> None:
        """Fill in from the identity what was not given, and check it; ``site_id`` goes before the identity's."""
        identity = self.identity
        self._access_key = self._access_key or identity.access_key
        self._password = self._password or identity.password
        if not self._access_key or not self._password:
            raise RuntimeError(
                "NodeIdentity not set, please pass key and password or call 'hivemind-client set-identity'"
            )
        host = self._host or identity.default_master
        if not host:
            raise RuntimeError("host not set, please pass host and port or call 'hivemind-client set-identity'")
        self.address: Address = parse_address(host, self._port, identity.default_port)
        self.site_id = site_id or identity.site_id or UNKNOWN_SITE
        self.config = SimpleNamespace(
            host=self.address.host, port=self.address.port, ssl=self.address.secure, route="/"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address.origin!r})"

    @staticmethod
    def build_url(
        key: str, host: str = "127.0.0.1", port: int = 5678, useragent: str = DEFAULT_USERAGENT, ssl: bool = True
    ) -> str:
        """Return what to dial; it holds the access key."""
        address = Address(parse_address(host).host, port, ssl)
        return address.url(authorization(check_useragent(useragent), key))

    @property
    def useragent(self) -> str:
        """The name under which this satellite introduces itself."""
        return self._useragent

    @useragent.setter
    def useragent(self, value: str) -> None:
        self._useragent = check_useragent(value)

    @property
    def password(self) -> str | None:
        """The secret shared with the hub."""
        return self._password

    @password.setter
    def password(self, value: str) -> None:
        self._password = value

    @property
    def key(self) -> str | None:
        """The access key."""
        return self._access_key

    @key.setter
    def key(self, value: str) -> None:
        self._access_key = value

    @property
    def session_id(self) -> str:
        """The session of messages that name none of their own; may be assigned at any time."""
        return self.session.session_id

    @session_id.setter
    def session_id(self, value: str) -> None:
        self.session.session_id = value
        self.hub_session = {}

    @property
    def site_id(self) -> str:
        """Where this satellite stands."""
        return self.session.site_id

    @site_id.setter
    def site_id(self, value: str) -> None:
        self.session.site_id = value

    @property
    def connected(self) -> bool:
        """The hub has admitted this satellite and the connection stands."""
        return self._driver is not None and self._driver.connected

    @property
    def stopping(self) -> bool:
        """It neither is connected nor tries to be: closed, refused for good, or never started."""
        return self._driver is None or not self._driver.running

    @property
    def problem(self) -> str:
        """What stands in the way of a connection and what to do about it; empty if nothing is known to."""
        return self._driver.explain() if self._driver is not None else ""

    def _speaker(self) -> Speaker:
        return Speaker(self._useragent, self.session.session_id, self.session.site_id)

    def _outgoing(self, given: Any, binary_type: HiveMindBinaryPayloadType) -> HiveMessage:
        """Return the envelope to send; what the caller gave is not changed."""
        message = given if isinstance(given, HiveMessage) else HiveMessage(HiveMessageType.BUS, as_message(given))
        kind = event_key(message.msg_type)
        if kind == _BUS:
            stamped = stamp(as_message(message.payload), self._speaker(), self.hub_session, time.time())
            return message.forward(payload=stamped)
        if kind == _BINARY and binary_type != HiveMindBinaryPayloadType.UNDEFINED:
            return message.forward(bin_type=binary_type)
        return message

    def _wait_budget(self, timeout: float | None) -> float:
        """How many seconds `emit` may wait for a connection."""
        if self._driver is None:
            raise NotStarted("You must execute run_forever() before emitting messages")
        if timeout is not None:
            return timeout
        return self.emit_timeout if self._was_connected else max(FIRST_CONNECTION_S, self.emit_timeout)

    def _echo(self, sent: HiveMessage) -> None:
        """Let local handlers see a bus message that was sent."""
        if event_key(sent.msg_type) == _BUS:
            self._dispatcher.put(partial(bus_calls, self.internal_bus, as_message(sent.payload)))

    def _new_driver(self) -> Driver:
        if not self._access_key or not self._password:
            raise RuntimeError("access key and password are needed")
        settings = Settings(
            address=self.address,
            access_key=self._access_key,
            has_password=bool(self._password),
            useragent=self._useragent,
            allow_self_signed=self.allow_self_signed,
            binarize=self.binarize,
            compress=self.compress,
            keepalive=websocket_keepalive_options(self.websocket_ping_interval, self.websocket_ping_timeout),
            connect_timeout_s=self.websocket_connect_timeout,
            min_version=self.min_protocol_version,
            max_version=self.max_protocol_version,
        )
        keyring = Keyring(self.identity, self.address.pin_id, self._access_key, self._password)
        return Driver(settings, keyring, Hooks(self._hello, self._received, self._changed))

    def _bind(self, bus: Any, protocol: Any, site_id: str | None) -> None:
        """Take what `connect` was given."""
        if protocol is not None:
            raise TypeError("connect() takes no protocol object: this client binds its own protocol")
        if site_id:
            self.site_id = site_id
        if bus is not None:
            self._agent_bus = bus

    def _changed(self, event: str, args: tuple[Any, ...]) -> None:
        """Note a change of the connection, on the loop; handlers hear of it when their turn comes."""
        if event == "open":
            self._was_connected = True
            self.connected_event.set()
            self.handshake_event.set()
        elif event == "close":
            self.connected_event.clear()
            self.handshake_event.clear()
        self._dispatcher.put(lambda: [partial(func, *args) for func in self.emitter.take(event)], may_drop=False)

    def _hello(self) -> dict[str, Any]:
        return {"session": self.session.serialize(), "site_id": self.session.site_id}

    def _received(self, message: HiveMessage, size: int) -> None:
        """Take in a message, on the loop: waiters at once, handlers when their turn comes."""
        body = message.body
        if event_key(message.msg_type) == _BUS and isinstance(body, dict):
            self._note_session(body.get("context"))
        self.show_taps(message)
        self._dispatcher.put(partial(self._delivery.received, message), size)

    def _note_session(self, context: Any) -> None:
        state = session_state(context, self.session.session_id) if isinstance(context, dict) else None
        if state is not None:
            self.hub_session = state

    def _local_buses(self) -> list[Any]:
        agent = self._agent_bus
        return [self.internal_bus] if agent is None or agent is self.internal_bus else [agent, self.internal_bus]


def _own_session_id(bus: Any) -> str:
    """The session of the bus given; a fresh one if it has none of its own, so that no two satellites share
    it.
    """
    found = getattr(bus, "session_id", None)
    return found if isinstance(found, str) and found not in ("", "default") else str(uuid4())


def handshake_budget(retries: int | None, timeout_s: float | None) -> float | None:
    """Return how many seconds `connect` may take; None for as long as it takes."""
    return timeout_s if retries is None else retries * RETRY_S
