"""The two ends of a link before the session exists: what each starts from, and which key exchange it takes part in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import exchange, legacy
from .exchange import Established, Exchange, Refuse
from .legacy import ClientLegacyTerms, ClientPassword, ClientRsa, HubLegacyTerms, OlderOffer
from .message import HiveMessage, HiveMessageType
from .noise import NOISE_PATTERN_KK, NOISE_PATTERN_XX, NOISE_SUITES, PROTOCOL_V3
from .parts import PartsBudget
from .refusals import REFUSALS

HANDSHAKE_TIMEOUT_S = 30.0


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
    floor: int = PROTOCOL_V3
    """The oldest protocol version that is accepted."""
    legacy: HubLegacyTerms | None = field(default=None, repr=False)
    """What older handshakes start from; None where there are none."""
    crypto_key: str | None = field(default=None, repr=False)
    """The pre-shared key of protocol v0, where the row has one and the floor allows it."""
    previous: exchange.Previous | None = None
    """The password before the client's new one, while both are valid (docs/protocol.md 7.5)."""


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
    """The oldest protocol version to accept. Below 3 somebody between the two can make them speak it."""
    max_version: int = PROTOCOL_V3
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    ephemeral_for_testing_only: bytes | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    """Needed below v3 only; a v3 session asks for the key derived from it."""
    rsa_key: Any = field(default=None, repr=False)
    """The own RSA private key, as PEM, for protocol v1."""
    crypto_key: str | None = field(default=None, repr=False)
    """The pre-shared key of protocol v0."""


def hub_offer(
    *,
    binarize: bool,
    encodings: tuple[str, ...],
    ciphers: tuple[str, ...],
    pinned: bool,
    older: OlderOffer | None = None,
) -> dict[str, Any]:
    """Return the payload of the hub's offer (docs/protocol.md 7.1); `older` adds what earlier versions need."""
    offer: dict[str, Any] = {
        "max_protocol_version": PROTOCOL_V3,
        "binarize": binarize,
        "encodings": list(encodings),
        "ciphers": list(ciphers),
    }
    if older is None or older.password:
        offer["noise"] = {
            "patterns": [NOISE_PATTERN_KK, NOISE_PATTERN_XX] if pinned else [NOISE_PATTERN_XX],
            "suites": list(NOISE_SUITES),
        }
    return offer if older is None else {**offer, **older.fields(binarize=binarize)}


class Side(ABC):
    """What differs between the two ends before the session exists."""

    strict = True
    """A frame that is no message ends the link."""
    timeout_s = HANDSHAKE_TIMEOUT_S
    compress: bool | None = None
    hello: Mapping[str, Any] | None = None
    """Payload to send as soon as the session is up."""
    hub_hello: Mapping[str, Any] | None = None
    """The hub's HELLO, on the satellite's side."""

    def first(self) -> list[HiveMessage]:
        """Return what to send before the other end has said anything."""
        return []

    def opened(self) -> None:
        """Let go of what was needed up to the session only."""
        return

    def given(self) -> Established | None:
        """Return the session there is without any exchange."""
        return None

    @abstractmethod
    def clear(self, message: HiveMessage) -> tuple[Exchange | Established | None, str]:
        """Take a clear message; return what it begins (if anything) and the hub's node id. Raises Refuse."""


class HubSide(Side):
    """The hub: it speaks first, and chooses by the first message of a handshake."""

    def __init__(self, terms: HubTerms) -> None:
        self._terms = terms
        self.timeout_s = terms.handshake_timeout_s
        self.compress = terms.compress

    def first(self) -> list[HiveMessage]:
        return [
            HiveMessage(HiveMessageType.HELLO, dict(self._terms.hello)),
            HiveMessage(HiveMessageType.HANDSHAKE, dict(self._terms.offer)),
        ]

    def opened(self) -> None:
        del self._terms  # a kilobyte with each connection of a hub

    def given(self) -> Established | None:
        key = self._terms.crypto_key
        return legacy.pre_shared(key, binarize=False, proven=False) if key is not None else None

    def clear(self, message: HiveMessage) -> tuple[Exchange | Established | None, str]:
        if message.msg_type != HiveMessageType.HANDSHAKE:
            raise Refuse("unencrypted_frame", "invalid message")
        t = self._terms
        if not isinstance(message.body.get("noise"), dict):
            if t.legacy is None:
                raise Refuse("protocol_too_old", REFUSALS["protocol_too_old"].wire_reason)
            return legacy.hub_exchange(message.body, t.legacy, t.floor), ""
        if "noise" not in t.offer:
            raise Refuse("not_offered", "protocol v3 not offered")
        noise = exchange.NoiseTerms(
            t.hello, t.offer, t.static_key, t.pinned_key, t.psk, t.ephemeral_for_testing_only, t.budget, t.previous
        )
        return exchange.HubNoise(noise), str(t.hello.get("node_id") or "")


class ClientSide(Side):
    """The satellite: it waits for HELLO and the offer, and takes the best of it that its floor allows."""

    strict = False

    def __init__(self, terms: ClientTerms) -> None:
        self._terms = terms
        self.timeout_s = terms.handshake_timeout_s
        self.compress = terms.compress
        self.hello = terms.hello

    def clear(self, message: HiveMessage) -> tuple[Exchange | Established | None, str]:
        if message.msg_type == HiveMessageType.HELLO:
            if self.hub_hello is None:
                self.hub_hello = message.body
            return None, ""
        if message.msg_type != HiveMessageType.HANDSHAKE or self.hub_hello is None:
            return None, ""  # docs/protocol.md 7.1: HELLO comes before the offer
        return self._choose(self.hub_hello, message.body)

    def _choose(self, hello: Mapping[str, Any], offer: Mapping[str, Any]) -> tuple[Exchange | Established, str]:
        t = self._terms
        node_id = hello.get("node_id")
        options = exchange.choose_noise(offer, t.pinned_key if t.allow_kk else None)
        # The hub's own value is echoed, ours decides what we send (docs/protocol.md 4.5).
        binarize = offer.get("binarize") is True and t.binarize
        if options and t.has_password and isinstance(node_id, str) and t.max_version >= PROTOCOL_V3:
            noise = exchange.NoiseTerms(hello, offer, t.static_key, t.pinned_key, None, t.ephemeral_for_testing_only)
            return exchange.ClientNoise(noise, options, {"binarize": binarize, "encodings": list(t.encodings)}), node_id
        for kind in legacy.VERSIONS:
            if t.min_version <= legacy.VERSIONS[kind] <= t.max_version:
                begun = self._older(kind, hello, offer, binarize=binarize)
                if begun is not None:
                    return begun, ""
        if not t.has_password and t.crypto_key is None and t.min_version > legacy.VERSIONS[legacy.RSA]:
            raise Refuse("no_password", "no password is set")
        raise Refuse("protocol_too_old", self._why_not(offer))

    def _older(
        self, kind: str, hello: Mapping[str, Any], offer: Mapping[str, Any], *, binarize: bool
    ) -> Exchange | Established | None:
        """Begin an exchange of an older version, where the hub offers it and we have what it needs."""
        t, with_password = self._terms, offer.get("password") is True
        if kind == legacy.PRE_SHARED and offer.get("preshared_key") is True and legacy.is_crypto_key(t.crypto_key):
            return legacy.pre_shared(t.crypto_key or "", binarize=binarize, proven=True)
        terms = ClientLegacyTerms(
            str(hello.get("pubkey") or ""), binarize, password=t.password or "", rsa_key=t.rsa_key
        )
        if kind == legacy.PASSWORD and with_password and t.password:
            return ClientPassword(terms)
        if kind == legacy.RSA and not with_password and t.rsa_key is not None:
            return ClientRsa(terms)
        return None

    def _why_not(self, offer: Mapping[str, Any]) -> str:
        least = self._terms.min_version
        return f"the hub offers no protocol from v{least} on that this satellite can speak"
