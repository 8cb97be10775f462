"""What the asyncio client and the client for threads have in common: who they are, who listens to them, and
what becomes of a message on its way out and in. Nothing here waits.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from .acknowledging import Acknowledger
from .address import check_useragent
from .bus_context import OtherSessions, Speaker, session_of, session_state, stamp
from .credentials import Credentials
from .delivery import BinaryDataCallbacks, Delivery, bus_calls, takes_speech
from .dispatch import Dispatcher, event_key
from .driver import NEWEST_PROTOCOL, PASSWORD_PROTOCOL, Driver, Hooks, NotStarted, Settings
from .exceptions import NotConnected
from .fakebus import FakeBus
from .identity import NodeIdentity
from .keepalive import websocket_keepalive_options
from .keyring import Keyring
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message, as_message
from .open_questions import OpenQuestions
from .playback import ACKNOWLEDGEMENTS
from .protocol_binding import Binding, default_protocol
from .refusals import REFUSALS, HiveMindRefused, Refusal
from .session import NoiseSession, Session, own_session_id
from .socket_callbacks import SocketCallbacks
from .wire import Polling

if TYPE_CHECKING:
    from .link import Opened

WEBSOCKET_CONNECT_TIMEOUT = 30.0
"""How many seconds the TCP, TLS and WebSocket handshakes may take together."""
RETRY_S = 5.0
"""What one of `handshake_max_retries` is worth."""
FIRST_CONNECTION_S = 10.0
"""How long `emit` waits while the very first connection is being made."""

_BUS = HiveMessageType.BUS.value
_BINARY = HiveMessageType.BINARY.value


class ClientBase(Credentials, SocketCallbacks, ABC):
    """Identity, listeners and messages of one satellite; see the two clients for how to connect it.

    Credentials not given come from ``identity``, which is the user's own unless given. RuntimeError if access
    key, password or host are found nowhere; ValueError for a host, port or useragent that cannot be used. It
    touches neither the network nor the disk, but for reading the identity.

    The newest protocol version that both ends speak is used, from ``max_protocol_version`` down to
    ``min_protocol_version`` (docs/protocol.md 0); v0 needs ``crypto_key``, its pre-shared key. A hub that was once
    met at v3 is never spoken to below it. ``share_bus`` sends the hub a copy of all that is said on the bus given
    to `connect`.

    ``websocket_connect_timeout``, ``websocket_ping_*`` and ``emit_timeout`` are in seconds; ``emit_timeout``
    is how long `emit` waits for a connection once there has been one (0: it fails at once). ``compress`` None
    sends what is shorter. ``self_signed`` accepts any TLS certificate, since Noise proves who the hub is.

    A skill may wait until its words are spoken. ``acknowledge_playback`` tells it so, in the session of the words, as
    soon as their handlers have returned: a satellite that shows the words, or speaks them in a handler, needs nothing
    else. None does it unless the program has a bus of its own or handles speech from the hub, on which something may
    play, or has itself sent such a message; a hub that denies it gets no more on this connection.
    """

    AUTH_REJECTED_CLOSE_CODE = 1008
    retry = RETRY_S
    """Here for programs that look; how long is waited before connecting again grows with every failure."""
    started_running = False
    emit_timeout = 0.0
    polling = Polling()
    """Only over HTTP: how the hub is asked for messages."""
    keyring_type: type[Keyring] = Keyring
    """What reads and keeps its keys."""
    _driver: Driver | None = None
    _binding: Binding | None = None
    _agent_bus: Any = None
    _was_connected = False
    _plays = False
    """The program has parts that may play, or has acknowledged playback itself."""
    _latched: HiveMindRefused | None = None
    """The refusal that ended a connection which the program runs."""

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
        websocket_connect_timeout: float = WEBSOCKET_CONNECT_TIMEOUT,
        *,
        min_protocol_version: int = PASSWORD_PROTOCOL,
        emit_timeout: float = 0.0,
        acknowledge_playback: bool | None = None,
    ) -> None:
        self.acknowledge_playback = acknowledge_playback
        self._plays = internal_bus is not None
        self.session = Session(own_session_id(internal_bus))
        self.internal_bus = internal_bus if internal_bus is not None else FakeBus(self.session.session_id)
        self.identity = identity if identity is not None else NodeIdentity()
        self._access_key = key
        self._password = password
        self._host = host
        self._port = port
        self._name = check_useragent(useragent or self.DEFAULT_USERAGENT)
        self.crypto_key = self._pre_shared_key = crypto_key
        self.allow_self_signed = self_signed
        self.share_bus = share_bus
        self.compress = compress
        self.binarize = binarize
        if bin_callbacks is not None:
            self.bin_callbacks = bin_callbacks
        self.websocket_ping_interval = websocket_ping_interval
        self.websocket_ping_timeout = websocket_ping_timeout
        self.websocket_connect_timeout = websocket_connect_timeout
        self.max_protocol_version = max_protocol_version
        self.min_protocol_version = min_protocol_version
        self.emit_timeout = emit_timeout
        self._delivery = Delivery(self.emitter, self._local_buses, self._speaker, lambda: self.bin_callbacks)
        self.init_identity()
        self._dispatcher = self._equipment()

    @cached_property
    def _acknowledger(self) -> Acknowledger:
        return Acknowledger(self._acknowledge, lambda: self._acknowledges)

    @cached_property
    def _open_questions(self) -> OpenQuestions:
        return OpenQuestions()

    @cached_property
    def _other_sessions(self) -> OtherSessions:
        return OtherSessions()

    @abstractmethod
    def _equipment(self) -> Dispatcher:
        """Return what calls the handlers."""

    @property
    def handles_exchange(self) -> bool:
        """The slave protocol need not exchange keys: the connection does, and hands out BUS messages."""
        return self.client is None

    @property
    def connected(self) -> bool:
        """The hub has admitted this satellite and the connection stands."""
        return self._driver is not None and self._driver.connected

    @property
    def stopping(self) -> bool:
        """It was started and neither is connected nor tries to be any more: closed, or refused for good."""
        return not self._driver.running if self._driver is not None else self._latched is not None

    @property
    def problem(self) -> str:
        """What stands in the way of a connection and what to do about it; empty if nothing is known to."""
        return self._driver.explain() if self._driver is not None else ""

    def _speaker(self) -> Speaker:
        return Speaker(self.useragent, self.session_id, self.site_id)

    def _outgoing(self, given: Any, binary_type: HiveMindBinaryPayloadType) -> HiveMessage:
        """Return the envelope to send; what the caller gave is not changed."""
        message = given if isinstance(given, HiveMessage) else HiveMessage(HiveMessageType.BUS, as_message(given))
        kind = event_key(message.msg_type)
        if self._binding is not None:
            self._binding.sending(message)
        if kind == _BUS:
            stamped = self._stamped(message)
            if stamped.msg_type in ACKNOWLEDGEMENTS:
                self._plays = True
                self._acknowledger.left_to_program()
            return message.forward(payload=stamped)
        if kind == _BINARY and binary_type != HiveMindBinaryPayloadType.UNDEFINED:
            return message.forward(bin_type=binary_type)
        return message

    def _in_order(self, outgoing: HiveMessage) -> list[HiveMessage]:
        """Return what to send for a message: itself, after what the protocol wants ahead of it."""
        ahead = self._binding.ahead_of(outgoing) if self._binding is not None else None
        return [outgoing] if ahead is None else [self._outgoing(ahead, HiveMindBinaryPayloadType.UNDEFINED), outgoing]

    def _latch(self, error: HiveMindRefused) -> None:
        """Note a refusal where there is no driver to give up; handlers hear of it here and now."""
        self._latched = error
        self.emitter.emit("auth_rejected", str(error.refusal))

    def _not_sent(self, message: HiveMessage) -> None:
        """Take back what `_outgoing` told the protocol."""
        if self._binding is not None:
            self._binding.not_sent(message)

    def _stamped(self, message: HiveMessage) -> Message:
        bus_message, speaker, state = as_message(message.payload), self._speaker(), self.hub_session or {}
        named = session_of(bus_message.context).get("session_id")
        if isinstance(named, str) and named not in ("", speaker.session_id):
            speaker, state = replace(speaker, session_id=named), self._other_sessions.state(named)
        asked = self._open_questions.state(speaker.session_id, time.monotonic())
        return stamp(bus_message, speaker, {**asked, **state}, time.time())

    def _emit_by_socket(self, given: Any, binary_type: HiveMindBinaryPayloadType) -> Any:
        """Send by the socket that the program brought; as released packages do, into the caller's own context."""
        message = given if isinstance(given, HiveMessage) else HiveMessage(HiveMessageType.BUS, as_message(given))
        if event_key(message.msg_type) == _BUS:
            message.payload.context.update(self._stamped(message).context)
        if not self.connected_event.is_set():
            raise self._unsendable(message)
        sending = getattr(self.protocol, "sending", None)
        if sending is not None:
            sending(message)
        return self._emit_frame(message, binary_type)

    def _unsendable(self, message: HiveMessage | None = None) -> NotConnected:
        """Why a message cannot be sent while there is no connection."""
        if not self.started_running:
            return NotStarted("You must execute run_forever() before emitting messages")
        failed = f" Failed to emit : {message}" if message is not None else ""
        return NotConnected(f"Can not send messages before opening the websocket connection.{failed}")

    @property
    def _by_socket(self) -> bool:
        """The program runs the socket, not the driver."""
        return self._driver is None and self.client is not None

    def _wait_budget(self, timeout: float | None) -> float:
        """How many seconds `emit` may wait for a connection."""
        if self._driver is None:
            raise self._unsendable()
        if timeout is not None:
            return timeout
        return self.emit_timeout if self._was_connected else max(FIRST_CONNECTION_S, self.emit_timeout)

    def _echo(self, sent: HiveMessage) -> None:
        """Let local handlers see a bus message that was sent."""
        if event_key(sent.msg_type) == _BUS:
            self._dispatcher.put(partial(bus_calls, self.internal_bus, as_message(sent.payload)))

    def _new_driver(self) -> Driver:
        if not self._access_key or not (self._password or self._pre_shared_key):
            raise RuntimeError("access key and password are needed")
        pre_shared = self._pre_shared_key
        settings = Settings(
            address=self.address,
            access_key=self._access_key,
            has_password=bool(self._password),
            useragent=self.useragent,
            allow_self_signed=self.allow_self_signed,
            binarize=self.binarize,
            compress=self.compress,
            keepalive=websocket_keepalive_options(self.websocket_ping_interval, self.websocket_ping_timeout),
            connect_timeout_s=self.websocket_connect_timeout,
            min_version=self.min_protocol_version,
            max_version=self.max_protocol_version,
            password=self._password,
            crypto_key=pre_shared.decode("utf-8", "replace") if isinstance(pre_shared, bytes) else pre_shared,
            polling=self.polling,
        )
        keyring = self.keyring_type(self.identity, self.address.pin_id, self._access_key, self._password)
        return Driver(settings, keyring, Hooks(self._hello, self._heard, self._changed, self._agreed))

    def _bind(self, bus: Any = None, protocol: Any = None, site_id: str | None = None) -> None:
        """Take what `connect` was given; the protocol hears everything from the first message on."""
        if site_id:
            self.site_id = site_id
        bound = self._binding
        if bound is not None:
            if protocol in (None, bound.protocol) and bus in (None, bound.bus):
                return
            bound.undo()
        if bus is not None:
            self._agent_bus, self._plays = bus, True
        self.protocol = protocol if protocol is not None else default_protocol(self)
        self.protocol.identity = self.identity
        self.protocol.site_id = self.site_id
        self.protocol.shared_bus = self.share_bus
        self._binding = Binding(self, self.protocol, self._agent_bus if self._agent_bus is not None else FakeBus())

    def deliver(self, message: Message) -> None:
        """Bring an OVOS message that came inside another envelope onto the local buses (for the protocol)."""
        self._dispatcher.put(partial(self._delivery.injected, message))

    def _agreed(self, opened: Opened) -> None:
        """Note what the two ends have agreed on, on the loop."""
        if opened.version == NEWEST_PROTOCOL:
            self.noise_transport = NoiseSession(opened.pattern, opened.remote_key)
        else:
            from .encryption import SupportedCiphers, SupportedEncodings

            self.crypto_key = opened.key or None
            self.cipher = SupportedCiphers(opened.cipher)
            self.json_encoding = SupportedEncodings(opened.encoding)
        if self._binding is not None:
            self._binding.opened(opened.hub, opened.binarize)

    def _changed(self, event: str, args: tuple[Any, ...]) -> None:
        """Note a change of the connection, on the loop; handlers hear of it when their turn comes."""
        if event == "open":
            self._was_connected = True
            self._acknowledger.opened()
            self.connected_event.set()
            self.handshake_event.set()
        elif event == "close":
            self.connected_event.clear()
            self.handshake_event.clear()
            self.crypto_key, self.noise_transport = self._pre_shared_key, None
            self._acknowledger.stop()
            if self._binding is not None:
                lost = self._binding.lost
                self._dispatcher.put(lambda: [lost], may_drop=False)
        self._dispatcher.put(lambda: [partial(func, *args) for func in self.emitter.take(event)], may_drop=False)

    def _hello(self) -> dict[str, Any]:
        return {"session": self.session.serialize(), "site_id": self.session.site_id}

    def _heard(self, message: HiveMessage, size: int) -> None:
        """Take in what comes from the hub, on the loop, but for what it says of acknowledgements."""
        body = message.body if event_key(message.msg_type) == _BUS else None
        if self._acknowledger.is_own_denial(body):
            return
        self._received(message, size)
        shown = self._acknowledger.told(body, self.session_id) if self._acknowledges else None
        if shown is not None:
            self._dispatcher.put(lambda: [shown])

    @property
    def _acknowledges(self) -> bool:
        if self.acknowledge_playback is not None:
            return self.acknowledge_playback
        return not self._plays and not takes_speech(self.bin_callbacks)

    async def _acknowledge(self, msg_type: str, session: Mapping[str, Any]) -> None:
        """Send an acknowledgement in a session; the program does not see it."""
        if self._driver is not None:
            about = HiveMessage(HiveMessageType.BUS, Message(msg_type, {}, {"session": dict(session)}))
            await self._driver.send(about.forward(payload=self._stamped(about)))

    def _received(self, message: HiveMessage, size: int) -> None:
        """Take in a message, on the loop: waiters at once, handlers when their turn comes."""
        self._see(message)
        self._dispatcher.put(partial(self._delivery.received, message), size)

    def _see(self, message: HiveMessage) -> None:
        if event_key(message.msg_type) == _BUS and isinstance(message.body, dict):
            self._note_session(message.body.get("type"), message.body.get("context"))
        super()._see(message)

    def _note_session(self, topic: object, context: Any) -> None:
        if not isinstance(context, dict):
            return
        self._open_questions.note(topic, context, time.monotonic())
        state = session_state(context, self.session_id)
        if state is not None:
            self.hub_session = state
        else:
            self._other_sessions.note(context)

    def _local_buses(self) -> list[Any]:
        agent = self._agent_bus
        return [self.internal_bus] if agent is None or agent is self.internal_bus else [agent, self.internal_bus]


def refused(reason: str) -> HiveMindRefused:
    """Return the refusal that a hub words so, or one of this wording."""
    row = next((row for row in REFUSALS.values() if reason in (row.wire_reason, str(row))), None)
    return HiveMindRefused(row or Refusal("refused", reason, ""))


def within(timeout_s: float | None) -> dict[str, Any]:
    """Return the keyword for `emit` where a time is given: a program's own `emit` may not know it."""
    return {} if timeout_s is None else {"timeout": timeout_s}


async def refuse(driver: Driver, error: HiveMindRefused) -> None:
    """Let a driver give up for good."""
    driver.failure = error
    await driver.close()


def handshake_budget(retries: int | None, timeout_s: float | None) -> float | None:
    """Return how many seconds `connect` may take; None for as long as it takes."""
    return timeout_s if retries is None else retries * RETRY_S
