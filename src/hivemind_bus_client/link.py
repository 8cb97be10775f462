"""Link: one connection of the hive, either side, any transport; no I/O and no clock.

Three calls drive it: `Link.receive` takes a WebSocket message and returns events, `Link.send` takes a message, and
`Link.frames_to_send` is drained after either. Time is the argument ``now`` (seconds, any monotonic clock); slow
work leaves as `KeyNeeded` and comes back through `Link.key_derived`; `Link.deadline` says when `Link.tick` wants
to be called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import codec, exchange
from .exceptions import DecodingError, HiveMindException, InvalidJson, MalformedWirePayload, NotOpen
from .exchange import Exchange, Refuse, Session, Step
from .message import HiveMessage, HiveMessageType
from .noise import NOISE_PATTERN_KK, NOISE_PATTERN_XX, NOISE_SUITES, PROTOCOL_V3
from .parts import PartsBudget
from .refusals import REFUSALS
from .serialization import MAX_FRAME_OUTPUT, decode_frame, encode_frame, is_binary_encodable

HANDSHAKE_TIMEOUT_S = 30.0
PARTS_TIMEOUT_S = 120.0
"""From the first part of a message to its last."""
INFLATE_FREE, INFLATE_RATIO = 64 * 1024, 32
"""What a compressed frame from a satellite may become: so many bytes, and so many for each of its own."""
MAX_CLEAR_FRAME = 65_536
"""Characters of a frame before the session exists."""


# --- events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyNeeded:
    """Derive the pre-shared key for `node_id` (noise.derive_psk) off the loop, then call `Link.key_derived`."""

    node_id: str


@dataclass(frozen=True)
class Opened:
    """The session is up. The satellite's HELLO is already queued."""

    version: int
    pattern: str
    """Noise pattern, or the name of an older exchange."""
    remote_key: bytes
    """The other side's static public key, 32 raw bytes, to pin."""
    binarize: bool
    hub: Mapping[str, Any] = field(default_factory=dict)
    """The hub's HELLO payload, on the satellite's side."""


@dataclass(frozen=True)
class Received:
    """A whole message came through the session."""

    message: HiveMessage


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


# --- terms --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HubTerms:
    """What the hub's side of one link starts from."""

    hello: Mapping[str, Any]
    """Payload of the hub's HELLO: pubkey, peer, node_id (docs/protocol.md 7.1)."""
    offer: Mapping[str, Any]
    """Payload of the offer; see `hub_offer`."""
    static_key: bytes = field(repr=False)
    pinned_key: bytes | None = None
    psk: bytes | None = field(default=None, repr=False)
    """The pre-shared key where it is known already; otherwise `KeyNeeded` asks for it."""
    compress: bool | None = None
    """True, False, or None for whichever is smaller; binary frames only."""
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    ephemeral_for_testing_only: bytes | None = field(default=None, repr=False)
    budget: PartsBudget | None = None
    """What unfinished messages of all the hub's links may hold together."""


@dataclass(frozen=True)
class ClientTerms:
    """What the satellite's side of one link starts from."""

    static_key: bytes = field(repr=False)
    hello: Mapping[str, Any]
    """Payload of the satellite's HELLO: pubkey, session, site_id (docs/protocol.md 10)."""
    has_password: bool = True
    pinned_key: bytes | None = None
    allow_kk: bool = True
    """False for the one retry after a failed KKpsk0; the pin still counts."""
    encodings: tuple[str, ...] = exchange.ENCODINGS
    binarize: bool = True
    """Our wish; the link is binarized only when the hub offers it too (docs/protocol.md 4.5)."""
    compress: bool | None = True
    min_version: int = PROTOCOL_V3
    max_version: int = PROTOCOL_V3
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    ephemeral_for_testing_only: bytes | None = field(default=None, repr=False)


def hub_offer(
    *, binarize: bool, encodings: tuple[str, ...], ciphers: tuple[str, ...], pinned: bool
) -> dict[str, Any]:
    """Return the payload of the hub's offer (docs/protocol.md 7.1)."""
    return {
        "max_protocol_version": PROTOCOL_V3,
        "binarize": binarize,
        "encodings": list(encodings),
        "ciphers": list(ciphers),
        "noise": {
            "patterns": [NOISE_PATTERN_KK, NOISE_PATTERN_XX] if pinned else [NOISE_PATTERN_XX],
            "suites": list(NOISE_SUITES),
        },
    }


# --- the link -----------------------------------------------------------------------------------------------


class _Side(ABC):
    """What differs between the two ends before the session exists."""

    strict = True
    """A frame that is no message ends the link."""
    timeout_s = HANDSHAKE_TIMEOUT_S
    compress: bool | None = None
    hello: Mapping[str, Any] | None = None
    """Payload to send as soon as the session is up."""

    def first(self) -> list[HiveMessage]:
        return []

    @abstractmethod
    def clear(self, message: HiveMessage) -> tuple[Exchange | None, str]:
        """Take a clear message; return the exchange it begins (if it does) and the hub's node id."""


class _HubSide(_Side):
    def __init__(self, terms: HubTerms) -> None:
        self._terms = terms
        self.timeout_s = terms.handshake_timeout_s
        self.compress = terms.compress

    def first(self) -> list[HiveMessage]:
        return [
            HiveMessage(HiveMessageType.HELLO, dict(self._terms.hello)),
            HiveMessage(HiveMessageType.HANDSHAKE, dict(self._terms.offer)),
        ]

    def clear(self, message: HiveMessage) -> tuple[Exchange | None, str]:
        if message.msg_type != HiveMessageType.HANDSHAKE:
            raise Refuse("unencrypted_frame", "invalid message")
        if not isinstance(message.body.get("noise"), dict):
            raise Refuse("protocol_too_old", REFUSALS["protocol_too_old"].wire_reason)
        t = self._terms
        noise = exchange.NoiseTerms(
            t.hello, t.offer, t.static_key, t.pinned_key, t.psk, t.ephemeral_for_testing_only, t.budget
        )
        return exchange.HubNoise(noise), str(t.hello.get("node_id") or "")


class _ClientSide(_Side):
    strict = False

    def __init__(self, terms: ClientTerms) -> None:
        self._terms = terms
        self.timeout_s = terms.handshake_timeout_s
        self.compress = terms.compress
        self.hello = terms.hello
        self.hub_hello: Mapping[str, Any] | None = None

    def clear(self, message: HiveMessage) -> tuple[Exchange | None, str]:
        if message.msg_type == HiveMessageType.HELLO:
            if self.hub_hello is None:
                self.hub_hello = message.body
            return None, ""
        if message.msg_type != HiveMessageType.HANDSHAKE or self.hub_hello is None:
            return None, ""  # docs/protocol.md 7.1: HELLO comes before the offer
        return self._choose(self.hub_hello, message.body)

    def _choose(self, hello: Mapping[str, Any], offer: Mapping[str, Any]) -> tuple[Exchange, str]:
        t = self._terms
        if not t.has_password:
            raise Refuse("no_password", "no password is set")
        node_id = hello.get("node_id")
        options = exchange.choose_noise(offer, t.pinned_key if t.allow_kk else None)
        agreed = t.min_version <= PROTOCOL_V3 <= t.max_version
        if options is None or not isinstance(node_id, str) or not agreed:
            raise Refuse("protocol_too_old", "the hub does not offer protocol v3")
        noise = exchange.NoiseTerms(
            hello, offer, t.static_key, t.pinned_key, None, t.ephemeral_for_testing_only
        )
        # The hub's own value is echoed, ours decides what we send (docs/protocol.md 4.5).
        inner = {"binarize": offer.get("binarize") is True and t.binarize, "encodings": list(t.encodings)}
        return exchange.ClientNoise(noise, options, inner), node_id


class Link:
    """One connection, either side; see the module. Make it with `Link.hub` or `Link.client`."""

    __slots__ = (
        "_binarize",
        "_dead",
        "_deadline",
        "_exchange",
        "_key_asked_at",
        "_node_id",
        "_out",
        "_pattern",
        "_session",
        "_side",
    )

    def __init__(self, side: _Side, now: float) -> None:
        self._side = side
        self._exchange: Exchange | None = None
        self._pattern = ""
        self._session: Session | None = None
        self._out: list[bytes | str] = [message.serialize() for message in side.first()]
        self._binarize = False
        self._dead = False
        self._node_id = ""
        self._deadline: float | None = now + side.timeout_s
        self._key_asked_at: float | None = None

    @classmethod
    def hub(cls, terms: HubTerms, now: float) -> Link:
        """Return the hub's side of a link; HELLO and the offer are queued at once."""
        return cls(_HubSide(terms), now)

    @classmethod
    def client(cls, terms: ClientTerms, now: float) -> Link:
        """Return the satellite's side of a link; it waits for the hub to speak."""
        return cls(_ClientSide(terms), now)

    @property
    def is_open(self) -> bool:
        """A session exists and messages can be sent."""
        return self._session is not None

    @property
    def pattern(self) -> str:
        """What the exchange under way (or ended) is called, for example ``KKpsk0``; empty before."""
        return self._exchange.pattern if self._exchange else self._pattern

    def frames_to_send(self) -> list[bytes | str]:
        """Return and forget the frames waiting for the transport: str as text, bytes as binary messages."""
        out, self._out = self._out, []
        return out

    def send(self, message: HiveMessage) -> None:
        """Queue a message (docs/protocol.md 4); then drain `frames_to_send`. Raises NotOpen without a session."""
        if self._session is None or self._dead:
            raise NotOpen("there is no session on this link")
        binary = message.msg_type == HiveMessageType.BINARY
        if binary or (self._binarize and is_binary_encodable(message)):
            self._out.extend(self._session.seal(encode_frame(message, self._side.compress), True))
        else:
            self._out.extend(self._session.seal(codec.dumps_bytes(message.as_dict), False))

    def close(self) -> None:
        """Note that the transport has ended; nothing more is received or sent."""
        if self._session is not None:
            self._session.drop()
        self._dead, self._session, self._exchange = True, None, None

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
        if not isinstance(frame, str) or len(frame) > MAX_CLEAR_FRAME:
            raise Refuse("unencrypted_frame", "invalid message")
        try:
            message = HiveMessage.from_wire(codec.loads(frame))
        except (InvalidJson, MalformedWirePayload, ValueError):
            raise Refuse("unencrypted_frame", "invalid message") from None
        if self._exchange is not None and message.msg_type == HiveMessageType.HANDSHAKE:
            return self._follow(self._exchange.receive(message.body), now)
        begun, node_id = self._side.clear(message)
        if begun is None or self._exchange is not None:
            return []
        self._exchange, self._node_id = begun, node_id
        step = begun.receive(message.body) if self._side.strict else begun.start()
        return self._follow(step, now)

    def _receive_sealed(self, session: Session, frame: bytes | str, now: float) -> list[Event]:
        if isinstance(frame, str) and not self._side.strict:
            return [Malformed("a text frame inside a session")]
        try:
            whole = session.open(frame)
        except HiveMindException:
            raise Refuse("invalid_frame", "invalid message") from None
        if whole is None:
            self._deadline = self._deadline or now + PARTS_TIMEOUT_S
            return []
        self._deadline = None
        return self._decoded(*whole)

    def _decoded(self, body: bytes, binary: bool) -> list[Event]:
        try:
            message = self._decode_frame(body) if binary else HiveMessage.from_wire(codec.loads(body))
        except (DecodingError, ValueError) as error:
            if self._side.strict:
                raise Refuse("invalid_frame", "invalid message") from None
            return [Malformed(str(error)[:200])]
        if message.msg_type == HiveMessageType.HANDSHAKE:
            return self._late_handshake(message)
        if message.msg_type == HiveMessageType.HELLO and not self._side.strict:
            return []
        return [Received(message)]

    def _decode_frame(self, body: bytes) -> HiveMessage:
        """Read a binary frame; what a satellite sends may inflate only in proportion to what it sent."""
        limit = min(MAX_FRAME_OUTPUT, INFLATE_FREE + INFLATE_RATIO * len(body))
        return decode_frame(body, limit if self._side.strict else MAX_FRAME_OUTPUT)

    def _late_handshake(self, message: HiveMessage) -> list[Event]:
        """Ignore a handshake message inside a session, unless it asks for an older one (docs/protocol.md 7.5)."""
        if self._side.strict and "noise" not in message.body:
            raise Refuse("protocol_too_old", REFUSALS["protocol_too_old"].wire_reason)
        return []

    # the exchange

    def _follow(self, step: Step, now: float) -> list[Event]:
        for payload in step.send:
            self._out.append(HiveMessage(HiveMessageType.HANDSHAKE, payload).serialize())
        if step.key_needed:
            self._key_asked_at = now
            return [KeyNeeded(self._node_id)]
        return [] if step.established is None else [self._open(step.established)]

    def _open(self, done: exchange.Established) -> Opened:
        self._session, self._binarize, self._deadline = done.session, done.binarize, None
        self._pattern, self._exchange = done.pattern, None
        hub: Mapping[str, Any] = {}
        if isinstance(self._side, _ClientSide):
            hub = self._side.hub_hello or {}
            self.send(HiveMessage(HiveMessageType.HELLO, dict(self._side.hello or {})))
        return Opened(done.version, done.pattern, done.remote_key, done.binarize, hub)

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
        try:
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
