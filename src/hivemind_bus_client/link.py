"""Link: one connection of the hive, either side, any transport; no I/O and no clock.

Three calls drive it: `Link.receive` takes a WebSocket message and returns events, `Link.send` takes a message, and
`Link.frames_to_send` is drained after either. Time is the argument ``now`` (seconds, any monotonic clock); slow
work leaves as `KeyNeeded` and comes back through `Link.key_derived`; `Link.deadline` says when `Link.tick` wants
to be called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import codec, legacy
from .exceptions import DecodingError, HiveMindException, InvalidJson, MalformedWirePayload, NotOpen
from .exchange import ClearFrame, Established, Exchange, Refuse, Session, Step
from .message import HiveMessage, HiveMessageType
from .noise import PROTOCOL_V3
from .outgoing import Outgoing
from .refusals import REFUSALS
from .serialization import INFLATE_FREE, INFLATE_RATIO, MAX_FRAME_OUTPUT, unpack_frame
from .sides import HANDSHAKE_TIMEOUT_S, ClientSide, ClientTerms, HubSide, HubTerms, Side, hub_offer

__all__ = [
    "HANDSHAKE_TIMEOUT_S",
    "ClientTerms",
    "Event",
    "HubTerms",
    "KeyNeeded",
    "Link",
    "Malformed",
    "Opened",
    "Received",
    "Refused",
    "hub_offer",
]

MAX_RESTARTS = 4
"""How often one connection may begin an older handshake anew, each of which costs a key."""
PARTS_TIMEOUT_S = 120.0
"""From the first part of a message to its last."""
MAX_CLEAR_FRAME = 65_536
"""Characters of a frame before the session exists."""


# --- events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyNeeded:
    """Make a key off the loop, then call `Link.key_derived` with it.

    `compute` says how; where it is None, it is the pre-shared key for `node_id` (noise.derive_psk).
    """

    node_id: str
    compute: Callable[[], bytes] | None = None
    previous: bool = False
    """Hub only: it is a key of the client's previous password."""


@dataclass(frozen=True)
class Opened:
    """The session is up. The satellite's HELLO is already queued."""

    version: int
    pattern: str
    """Noise pattern, or `password`, `rsa` or `preshared`."""
    remote_key: bytes
    """The other side's static public key, 32 raw bytes, to pin; empty below v3."""
    binarize: bool
    hub: Mapping[str, Any] = field(default_factory=dict)
    """The hub's HELLO payload, on the satellite's side."""
    cipher: str = ""
    """Below v3: what the messages are sealed with, and how that is written as text."""
    encoding: str = ""
    key: bytes = field(default=b"", repr=False)
    """Below v3: the session key."""
    previous: bool = False
    """Hub only: the client used its previous password."""


@dataclass(frozen=True)
class Received:
    """A whole message came through the session."""

    message: HiveMessage
    weight: int = field(default=0, compare=False)
    """Satellite only: roughly how many bytes it takes."""


@dataclass(frozen=True)
class Malformed:
    """Satellite only: a frame verified but was not a message. The link lives on."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """The link is dead: close the transport with the code of refusals.REFUSALS[code] and `reason`."""

    code: str
    reason: str

    @property
    def close_code(self) -> int:
        """WebSocket close code for this refusal."""
        return REFUSALS[self.code].close_code


Event = KeyNeeded | Opened | Received | Malformed | Refused


# --- the link -----------------------------------------------------------------------------------------------


class Link:
    """One connection, either side; see the module. Make it with `Link.hub` or `Link.client`."""

    __slots__ = (
        "_binarize",
        "_dead",
        "_deadline",
        "_exchange",
        "_key_asked_at",
        "_newer",
        "_node_id",
        "_out",
        "_pattern",
        "_restarts",
        "_session",
        "_side",
        "_unproven",
        "_version",
    )

    def __init__(self, side: Side, now: float) -> None:
        self._side = side
        self._exchange: Exchange | None = None
        self._pattern = ""
        self._session: Session | None = None
        self._version = PROTOCOL_V3
        self._restarts = 0
        self._newer: Any = None
        self._unproven = side.given()
        """A session that is not used before the other end has shown that it holds its key."""
        self._out: list[bytes | str] = [message.serialize() for message in side.first()]
        self._binarize = False
        self._dead = False
        self._node_id = ""
        self._deadline: float | None = now + side.timeout_s
        self._key_asked_at: float | None = None

    @classmethod
    def hub(cls, terms: HubTerms, now: float) -> Link:
        """Return the hub's side of a link; HELLO and the offer are queued at once."""
        return cls(HubSide(terms), now)

    @classmethod
    def client(cls, terms: ClientTerms, now: float) -> Link:
        """Return the satellite's side of a link; it waits for the hub to speak."""
        return cls(ClientSide(terms), now)

    @property
    def is_open(self) -> bool:
        """A session exists and messages can be sent."""
        return self._session is not None

    @property
    def is_waiting(self) -> bool:
        """A message has begun to come in parts and is not complete."""
        return self._session is not None and self._session.is_waiting

    @property
    def is_greeted(self) -> bool:
        """Satellite only: the hub's HELLO has come."""
        return self._side.hub_hello is not None

    @property
    def pattern(self) -> str:
        """What the exchange under way (or ended) is called, for example ``KKpsk0``; empty before."""
        return self._exchange.pattern if self._exchange else self._pattern

    def frames_to_send(self) -> list[bytes | str]:
        """Return and forget the frames waiting for the transport: str as text, bytes as binary messages."""
        out, self._out = self._out, []
        return out

    def send(self, message: HiveMessage | Outgoing) -> None:
        """Queue a message (docs/protocol.md 4); then drain `frames_to_send`. Raises NotOpen without a session."""
        if self._session is None or self._dead:
            raise NotOpen("there is no session on this link")
        outgoing = message if isinstance(message, Outgoing) else Outgoing(message)
        frame = None
        if self._binarize or outgoing.message.msg_type == HiveMessageType.BINARY:
            # The oldest clients and hubs inflate every binary frame, whatever it says (docs/protocol.md 4.2).
            compress = self._side.compress if self._version >= PROTOCOL_V3 else True
            frame = outgoing.frame(compress, to_hub=not self._side.strict)
        sealed = self._session.seal(outgoing.text, False) if frame is None else self._session.seal(frame, True)
        self._out.extend(sealed)

    def close(self) -> None:
        """Note that the transport has ended; nothing more is received or sent."""
        if self._session is not None:
            self._session.drop()
        self._dead, self._session, self._exchange, self._unproven = True, None, None, None

    def rest(self) -> None:
        """Give back memory that an idle link can do without; it comes back by itself."""
        if self._session is not None:
            self._session.rest()

    # receiving

    def receive(self, frame: bytes | str, now: float) -> list[Event]:
        """Take one WebSocket message and return what it means; then drain `frames_to_send`.

        Never raises on what a peer sends.
        """
        if self._dead:
            return []
        try:
            if self._session is None:
                return self._receive_clear(frame, now)
            return self._receive_sealed(self._session, frame, now)
        except Refuse as error:
            return [self._refuse(error.code, error.reason)]

    def _receive_clear(self, frame: bytes | str, now: float) -> list[Event]:
        if self._unproven is not None:
            proof = self._prove(self._unproven, frame)
            if proof is not None:
                return proof
        if not isinstance(frame, str) or len(frame) > MAX_CLEAR_FRAME:
            raise Refuse("unencrypted_frame", "invalid message")
        try:
            message = HiveMessage.from_wire(codec.loads(frame))
        except (InvalidJson, MalformedWirePayload, ValueError):
            raise Refuse("unencrypted_frame", "invalid message") from None
        if self._exchange is not None and message.msg_type == HiveMessageType.HANDSHAKE:
            return self._again(self._exchange, message, now)
        begun, node_id = self._side.clear(message)
        if begun is None or self._exchange is not None:
            return []
        if isinstance(begun, Established):
            return [self._open(begun)]
        self._exchange, self._node_id = begun, node_id
        step = begun.receive(message.body) if self._side.strict else begun.start()
        return self._follow(step, now)

    def _again(self, begun: Exchange, message: HiveMessage, now: float) -> list[Event]:
        """Take a further message of a handshake; an older client that is kept waiting begins anew."""
        if self._side.strict and begun.pattern in legacy.VERSIONS:
            self._restarts += 1
            if self._restarts > MAX_RESTARTS:
                raise Refuse("malformed_handshake", "invalid or unrecognized handshake")
            self._unproven = None
            if self._key_asked_at is not None:
                self._newer = message.body  # its answer must fit this one, not the one before
                return []
        return self._follow(begun.receive(message.body), now)

    def _prove(self, unproven: Established, frame: bytes | str) -> list[Event] | None:
        """Open the session if the frame belongs to it; None for a frame that is not sealed."""
        try:
            whole = unproven.session.open(frame)
        except ClearFrame:
            return None
        except HiveMindException:
            raise Refuse("handshake_failed", "handshake failure: ") from None
        opened = self._open(unproven)
        return [opened] if whole is None else [opened, *self._decoded(*whole)]

    def _receive_sealed(self, session: Session, frame: bytes | str, now: float) -> list[Event]:
        try:
            whole = session.open(frame)
        except ClearFrame as error:
            return self._unsealed(error)
        except HiveMindException:
            raise Refuse("invalid_frame", "invalid message") from None
        if whole is None:
            self._deadline = self._deadline or now + PARTS_TIMEOUT_S
            return []
        self._deadline = None
        return self._decoded(*whole)

    def _unsealed(self, error: ClearFrame) -> list[Event]:
        """A satellite drops a clear frame; the hub ends the link, but for an older handshake that comes late."""
        if not self._side.strict:
            return [Malformed(str(error))]
        if self._version < PROTOCOL_V3 and error.msg_type == HiveMessageType.HANDSHAKE:
            return []
        raise Refuse("invalid_frame", "invalid message")

    def _decoded(self, body: bytes, binary: bool) -> list[Event]:
        try:
            message, text = self._unpack(body) if binary else (HiveMessage.from_wire(codec.loads(body)), body)
        except (DecodingError, ValueError) as error:
            if self._side.strict:
                raise Refuse("invalid_frame", "invalid message") from None
            return [Malformed(str(error)[:200])]
        if message.msg_type == HiveMessageType.HANDSHAKE:
            return self._late_handshake(message)
        if message.msg_type == HiveMessageType.HELLO and not self._side.strict:
            return []
        return [Received(message, 0 if self._side.strict else codec.weight(text))]

    def _unpack(self, body: bytes) -> tuple[HiveMessage, bytes]:
        """Read a binary frame; what a satellite sends may inflate only in proportion to what it sent."""
        limit = min(MAX_FRAME_OUTPUT, INFLATE_FREE + INFLATE_RATIO * len(body))
        return unpack_frame(body, limit if self._side.strict else MAX_FRAME_OUTPUT)

    def _late_handshake(self, message: HiveMessage) -> list[Event]:
        """Ignore a handshake message inside a session, unless it asks for an older one (docs/protocol.md 7.5)."""
        if self._side.strict and self._version == PROTOCOL_V3 and "noise" not in message.body:
            raise Refuse("protocol_too_old", REFUSALS["protocol_too_old"].wire_reason)
        return []

    # the exchange

    def _follow(self, step: Step, now: float) -> list[Event]:
        for payload in step.send:
            self._out.append(HiveMessage(HiveMessageType.HANDSHAKE, payload).serialize())
        if step.key_needed:
            self._key_asked_at = now
            return [KeyNeeded(self._node_id, step.compute, step.previous)]
        if step.established is None:
            return []
        if not step.established.proven:
            self._unproven = step.established
            return []
        return [self._open(step.established)]

    def _open(self, done: Established) -> Opened:
        self._session, self._binarize, self._deadline = done.session, done.binarize, None
        self._pattern, self._exchange, self._unproven = done.pattern, None, None
        self._version = done.version
        self._side.opened()
        hello = self._side.hello
        if hello is not None:
            self.send(HiveMessage(HiveMessageType.HELLO, dict(hello)))
        return Opened(
            done.version,
            done.pattern,
            done.remote_key,
            done.binarize,
            self._side.hub_hello or {},
            done.cipher,
            done.encoding,
            done.key,
            done.previous,
        )

    def key_derived(self, psk: bytes | None, now: float) -> list[Event]:
        """Answer `KeyNeeded`; None says that the key could not be derived. Then drain `frames_to_send`."""
        if self._key_asked_at is None or self._dead or self._exchange is None:
            return []
        if self._deadline is not None:
            self._deadline += now - self._key_asked_at
        self._key_asked_at = None
        if psk is None:
            reason = "handshake failure: the Noise pre-shared key could not be derived"
            return [self._refuse("internal_error", reason)]
        newer, self._newer = self._newer, None
        try:
            if newer is not None:
                return self._follow(self._exchange.receive(newer), now)
            return self._follow(self._exchange.key_derived(psk), now)
        except Refuse as error:
            return [self._refuse(error.code, error.reason)]

    # time

    def deadline(self) -> float | None:
        """Return when `tick` wants to be called, or None. Time spent waiting for a key does not count."""
        return None if self._dead or self._key_asked_at is not None else self._deadline

    def tick(self, now: float) -> list[Event]:
        """End a handshake, or a message in parts, that was not finished in time."""
        due = self.deadline()
        if due is None or now < due:
            return []
        if self._session is not None:
            return [self._refuse("invalid_frame", "invalid message")]
        return [self._refuse("handshake_timeout", REFUSALS["handshake_timeout"].wire_reason)]

    def _refuse(self, code: str, reason: str) -> Refused:
        self._pattern = self.pattern
        self.close()
        return Refused(code, reason)
