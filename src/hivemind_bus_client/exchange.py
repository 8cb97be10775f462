"""Key exchanges: from the hub's offer to a session, one object a side and protocol family.

An exchange is fed the payloads of HANDSHAKE messages and answers with a `Step`: payloads to send, a key that is
needed, or the finished session. It raises `Refuse` when the link must end. Here stand the two sides of protocol v3
(docs/protocol.md 7); an older family is another pair of classes of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import codec
from .exceptions import HiveMindException, InvalidJson, NoiseHandshakeFailed
from .noise import (
    NOISE_PATTERN_KK,
    PROTOCOL_V3,
    Handshake,
    HandshakeKeys,
    Transport,
    build_prologue,
    canonical_json,
    noise_protocol_name,
    select_noise_options,
)
from .parts import PartsBudget, Reassembler
from .text_encodings import SupportedEncodings

ENCODINGS = tuple(encoding.value for encoding in SupportedEncodings)
"""Names in the order a satellite offers them."""
DEFAULT_ENCODING = SupportedEncodings.JSON_HEX.value
MAX_ECHO = 64


class Refuse(HiveMindException):
    """The link must end; `code` is a row of refusals.REFUSALS, `reason` the text for the close frame."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ClearFrame(HiveMindException):
    """A text frame inside a session that is not sealed."""

    def __init__(self, msg_type: object = None) -> None:
        super().__init__("a frame inside a session is not encrypted")
        self.msg_type = msg_type


class Session(Protocol):
    """What a finished exchange becomes: it seals whole messages into frames and opens frames."""

    def seal(self, body: bytes, binary: bool) -> Sequence[bytes | str]:
        """Return the frames that carry one serialised message."""

    def open(self, frame: bytes | str) -> tuple[bytes, bool] | None:
        """Take one frame; return (body, is binary) of a whole message or None. Raises HiveMindException."""

    @property
    def is_waiting(self) -> bool:
        """A message has begun to come in and is not complete."""

    def rest(self) -> None:
        """Give back the memory an idle link can do without."""

    def drop(self) -> None:
        """Let go of everything: the link has ended."""


@dataclass(frozen=True)
class Established:
    """A finished exchange."""

    session: Session
    version: int
    pattern: str
    remote_key: bytes
    binarize: bool
    proven: bool = True
    """False while the other side has not shown that it holds the key: its first frame must decrypt."""
    cipher: str = ""
    encoding: str = ""
    key: bytes = field(default=b"", repr=False)
    previous: bool = False
    """Hub only: the client used its previous password."""


@dataclass(frozen=True)
class Step:
    """What one side does after a message."""

    send: tuple[dict[str, Any], ...] = ()
    key_needed: bool = False
    established: Established | None = None
    compute: Callable[[], bytes] | None = None
    """How to make the needed key where that is not the pre-shared key of v3; empty says that it failed."""
    previous: bool = False
    """The needed key is one of the client's previous password."""


class Exchange(Protocol):
    """One side of a key exchange."""

    pattern: str
    """Name of what was chosen, empty before."""

    def start(self) -> Step:
        """Begin, when this side speaks first."""

    def receive(self, payload: Mapping[str, Any]) -> Step:
        """Take the payload of a HANDSHAKE message."""

    def key_derived(self, psk: bytes) -> Step:
        """Take the key that a step said was needed."""


class NoiseSession:
    """A protocol v3 session (docs/protocol.md 7.6)."""

    __slots__ = ("_parts", "_transport")

    def __init__(self, transport: Transport, budget: PartsBudget | None = None) -> None:
        self._transport = transport
        self._parts = Reassembler(budget=budget)

    def seal(self, body: bytes, binary: bool) -> Sequence[bytes | str]:
        return self._transport.seal(body, binary)

    def open(self, frame: bytes | str) -> tuple[bytes, bool] | None:
        if isinstance(frame, str):
            raise ClearFrame
        return self._parts.feed(self._transport.receiving.decrypt(frame))

    @property
    def is_waiting(self) -> bool:
        return self._parts.is_waiting

    def rest(self) -> None:
        self._transport.rest()

    def drop(self) -> None:
        self._parts.drop()


@dataclass(frozen=True)
class Previous:
    """The password that a client had before its new one, while the hub takes both."""

    password: str = field(repr=False)
    psk: bytes | None = field(default=None, repr=False)
    """The key derived from it, where that is known already."""
    first: bool = False
    """XXpsk2, in which a hub cannot try both, goes by this one."""


@dataclass(frozen=True)
class NoiseTerms:
    """What both sides of a v3 exchange start from."""

    hello: Mapping[str, Any]
    offer: Mapping[str, Any]
    static_key: bytes = field(repr=False)
    pinned_key: bytes | None = None
    psk: bytes | None = field(default=None, repr=False)
    ephemeral_for_testing_only: bytes | None = field(default=None, repr=False)
    budget: PartsBudget | None = None
    previous: Previous | None = None
    """Hub only."""

    def handshake(self, pattern: str, suite: str, *, initiator: bool) -> Handshake:
        """Return the Noise state both sides begin with."""
        keys = HandshakeKeys(
            self.static_key,
            self.psk,
            self.pinned_key if pattern == NOISE_PATTERN_KK else None,
            self.ephemeral_for_testing_only,
        )
        name = noise_protocol_name(pattern, suite)
        prologue = build_prologue(dict(self.hello), dict(self.offer), name)
        return Handshake(pattern, suite, initiator=initiator, prologue=prologue, keys=keys)


def _noise_message(payload: Mapping[str, Any]) -> bytes:
    noise = payload.get("noise")
    text = noise.get("msg") if isinstance(noise, dict) else None
    if not isinstance(text, str):
        raise Refuse("malformed_handshake", "malformed Noise envelope")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refuse("malformed_handshake", "malformed Noise envelope") from None


def _inner(payload: bytes) -> dict[str, Any]:
    """Read the JSON inside a handshake message; nothing reads as an empty object."""
    if not payload:
        return {}
    try:
        value = codec.loads(payload)
    except InvalidJson:
        raise Refuse("handshake_failed", "handshake failure: its payload is not JSON") from None
    return value if isinstance(value, dict) else {}


def _echo(value: object) -> str:
    return value[:MAX_ECHO] if isinstance(value, str) and value.isprintable() else "?"


def _chosen_encoding(inner: Mapping[str, Any]) -> str:
    """Return the first encoding we know of the client's list; it has no effect on a v3 session."""
    wanted = inner.get("encodings")
    known = [name for name in wanted if name in ENCODINGS] if isinstance(wanted, list) else []
    return known[0] if known else DEFAULT_ENCODING


class HubNoise:
    """The hub's side of protocol v3: the responder."""

    def __init__(self, terms: NoiseTerms) -> None:
        self.pattern = ""
        self._terms = terms
        self._handshake: Handshake | None = None
        self._waiting: bytes | None = None
        self._inner: dict[str, Any] = {}
        self._psks: dict[bool, bytes | None] = {False: terms.psk}
        """The keys that may fit, by whether they are the previous one; None while one is not derived."""
        if terms.previous is not None:
            self._psks[True] = terms.previous.psk
        self._previous = False
        """Which of them is in use, or is being derived."""

    def start(self) -> Step:
        return Step()

    def receive(self, payload: Mapping[str, Any]) -> Step:
        if self._waiting is not None:
            return Step()  # repeated while the key is being derived (docs/protocol.md 7.4)
        if self._handshake is None:
            return self._first(payload)
        return self._third(self._handshake, _noise_message(payload))

    def key_derived(self, psk: bytes) -> Step:
        if self._handshake is None or self._waiting is None:
            return Step()
        self._psks[self._previous] = psk
        message, self._waiting = self._waiting, None
        return self._answer(self._handshake, message)

    def _first(self, payload: Mapping[str, Any]) -> Step:
        noise = payload["noise"]
        self._check_offered(noise.get("pattern"), noise.get("suite"))
        message = _noise_message(payload)
        self.pattern = noise["pattern"]
        handshake = self._handshake = self._terms.handshake(self.pattern, noise["suite"], initiator=False)
        if self.pattern != NOISE_PATTERN_KK:
            self._inner = _inner(_read(handshake, message))  # a stranger's garbage costs no key derivation
        return self._answer(handshake, message)

    def _check_offered(self, pattern: object, suite: object) -> None:
        noise = self._terms.offer.get("noise", {})
        if pattern not in noise.get("patterns", ()) or suite not in noise.get("suites", ()):
            raise Refuse("not_offered", f"pattern/suite not offered: {_echo(pattern)}/{_echo(suite)}")

    def _answer(self, handshake: Handshake, message: bytes) -> Step:
        is_ready = self._opens(handshake, message) if self.pattern == NOISE_PATTERN_KK else self._goes_by(handshake)
        if not is_ready:
            self._waiting = message
            return Step(key_needed=True, previous=self._previous)
        reply = handshake.write(canonical_json({"encoding": _chosen_encoding(self._inner)}))
        send = ({"noise": {"msg": reply.hex()}},)
        return Step(send, established=self._established(handshake) if handshake.finished else None)

    def _opens(self, handshake: Handshake, message: bytes) -> bool:
        """Read message 1 of KKpsk0 with the key that it fits; False where one has to be derived first."""
        for previous in [previous for previous, psk in self._psks.items() if psk is not None]:
            handshake.keys.psk, self._previous = self._psks.pop(previous), previous
            try:
                text = handshake.read(message)
            except NoiseHandshakeFailed:
                continue
            self._inner = _inner(text)
            return True
        if not self._psks:
            raise Refuse("handshake_failed", "handshake failure: ")
        self._previous = next(iter(self._psks))
        return False

    def _goes_by(self, handshake: Handshake) -> bool:
        """Choose the key of XXpsk2, of whose password message 1 says nothing; False where it has to be derived."""
        self._previous = self._terms.previous is not None and self._terms.previous.first
        handshake.keys.psk = self._psks[self._previous]
        return handshake.keys.psk is not None

    def _third(self, handshake: Handshake, message: bytes) -> Step:
        _read(handshake, message)
        pinned = self._terms.pinned_key
        if pinned is not None and handshake.keys.remote_static != pinned:
            raise Refuse("client_key_mismatch", "client Noise static key contradicts the pinned key")
        return Step(established=self._established(handshake))

    def _established(self, handshake: Handshake) -> Established:
        transport = handshake.transport()
        binarize = self._inner.get("binarize") is True
        return Established(
            NoiseSession(transport, self._terms.budget),
            PROTOCOL_V3,
            self.pattern,
            transport.remote_static,
            binarize,
            previous=self._previous,
        )


def _read(handshake: Handshake, message: bytes, code: str = "handshake_failed") -> bytes:
    try:
        return handshake.read(message)
    except NoiseHandshakeFailed:
        raise Refuse(code, "handshake failure: ") from None


class ClientNoise:
    """The satellite's side of protocol v3: the initiator."""

    def __init__(self, terms: NoiseTerms, options: tuple[str, str], inner: Mapping[str, Any]) -> None:
        self.pattern, self._suite = options
        self._terms = terms
        self._inner = dict(inner)
        self._handshake: Handshake | None = None

    def start(self) -> Step:
        return Step(key_needed=True)

    def key_derived(self, psk: bytes) -> Step:
        if self._handshake is not None:
            return Step()
        self._handshake = self._terms.handshake(self.pattern, self._suite, initiator=True)
        self._handshake.keys.psk = psk
        message = self._handshake.write(canonical_json(self._inner))
        return Step(({"noise": {"pattern": self.pattern, "suite": self._suite, "msg": message.hex()}},))

    def receive(self, payload: Mapping[str, Any]) -> Step:
        if self._handshake is None or _is_offer(payload):
            return Step()  # a repeated offer (docs/protocol.md 7.9)
        is_kk = self.pattern == NOISE_PATTERN_KK
        # With XXpsk2 the second message is the first to mix the password in, and all before it verified.
        told = _read(self._handshake, _noise_message(payload), "handshake_failed" if is_kk else "wrong_password")
        pinned = self._terms.pinned_key
        if pinned is not None and self._handshake.keys.remote_static != pinned:
            raise Refuse("key_mismatch", "hub Noise static key contradicts the pinned key")
        send = () if is_kk else ({"noise": {"msg": self._handshake.write().hex()}},)
        transport = self._handshake.transport()
        binarize = self._inner.get("binarize") is True
        done = Established(
            NoiseSession(transport),
            PROTOCOL_V3,
            self.pattern,
            transport.remote_static,
            binarize,
            encoding=_named_encoding(told),
        )
        return Step(send, established=done)


def _named_encoding(told: bytes) -> str:
    """Return the encoding that a hub names. It has no effect on a v3 session, so what cannot be read is none."""
    try:
        name = _inner(told).get("encoding")
    except Refuse:
        return ""
    return name if isinstance(name, str) and name in ENCODINGS else ""


def _is_offer(payload: Mapping[str, Any]) -> bool:
    noise = payload.get("noise")
    return "noise" not in payload or (isinstance(noise, dict) and "patterns" in noise)


def choose_noise(offer: Mapping[str, Any], pinned: bytes | None) -> tuple[str, str] | None:
    """Return the pattern and suite to use with an offer, or None when it has no v3 we can do."""
    version, noise = offer.get("max_protocol_version"), offer.get("noise")
    if not isinstance(version, int) or version < PROTOCOL_V3 or not isinstance(noise, dict):
        return None
    patterns, suites = noise.get("patterns"), noise.get("suites")
    if not isinstance(patterns, list) or not isinstance(suites, list):
        return None
    return select_noise_options(patterns, suites, pinned)
