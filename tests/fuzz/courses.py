"""Both ends of a link in every way that they can come together, and what must hold of either at any time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from helpers import vectors
from helpers.link_pair import CLIENT_KEY, CLIENT_PUBLIC, HUB_KEY, HUB_PUBLIC, PASSWORD, quick_psk
from hivemind_bus_client.exchange import Previous
from hivemind_bus_client.legacy_crypto import session_key
from hivemind_bus_client.link import ClientTerms, Event, HubTerms, KeyNeeded, Link, Malformed, Opened, Received, Refused
from hivemind_bus_client.message import HiveMessage
from hivemind_bus_client.rsa_keys import load_private
from hivemind_core import greeting
from hivemind_core.clients import Client
from hivemind_core.config import Config

CRYPTO_KEY = "0123456789abcdef"
OLD_PASSWORD = "velvet quasar mango thicket"
RSA = vectors.load("rsa_handshake")
NODE_ID = RSA["server_public_pem"]
CLIENT_HELLO = {"pubkey": None, "session": {"session_id": "s"}, "site_id": "a secret place"}
SECRETS = (PASSWORD, OLD_PASSWORD, CRYPTO_KEY, CLIENT_HELLO["site_id"])

Frame = bytes | str


@cache
def _hub_rsa() -> Any:
    return load_private(RSA["server_private_pem"])


@cache
def _client_rsa() -> Any:
    return load_private(RSA["client_private_pem"])


@dataclass(frozen=True)
class Scenario:
    """How the two ends come together."""

    name: str
    version: int = 3
    pinned: bool = False
    binarize: bool = False
    knows_psk: bool = False
    row: dict[str, Any] = field(default_factory=lambda: {"password": PASSWORD})
    password: str = PASSWORD
    """The client's."""
    previous: Previous | None = None

    def hub(self) -> HubTerms:
        row = Client(1, "key", "kitchen", **self.row)
        pinned = CLIENT_PUBLIC if self.pinned else None
        psk = quick_psk(PASSWORD, NODE_ID) if self.knows_psk else None
        hello = {"pubkey": NODE_ID, "peer": str(uuid4()), "node_id": NODE_ID}  # else a KKpsk0 fits again
        terms = HubTerms(hello, {}, HUB_KEY, pinned, psk, previous=self.previous)
        config = Config(path=Path("server.json"), binarize=self.binarize, min_protocol_version=0)
        return greeting.offered(terms, config, row, _hub_rsa())

    def client(self) -> ClientTerms:
        terms = ClientTerms(CLIENT_KEY, CLIENT_HELLO, pinned_key=HUB_PUBLIC if self.pinned else None)
        key = CRYPTO_KEY if self.has_crypto_key else None
        older = {"password": self.password, "rsa_key": _client_rsa(), "crypto_key": key}
        least = 0 if self.has_crypto_key else self.version
        return replace(terms, binarize=self.binarize, min_version=least, max_version=self.version, **older)

    @property
    def has_crypto_key(self) -> bool:
        """Its client takes a hub that offers the pre-shared key at its word, until something has to be opened."""
        return "metadata" in self.row


SCENARIOS = (
    Scenario("XXpsk2"),
    Scenario("XXpsk2 in binary frames", binarize=True),
    Scenario("KKpsk0", pinned=True, knows_psk=True),
    Scenario("KKpsk0 with a key to derive", pinned=True),
    Scenario("password", 2),
    Scenario("password in binary frames", 2, binarize=True),
    Scenario("RSA", 1, row={}),
    Scenario("pre-shared key", 0, row={"metadata": {"crypto_key": CRYPTO_KEY}}),
    Scenario("password and pre-shared key", 2, row={"password": PASSWORD, "metadata": {"crypto_key": CRYPTO_KEY}}),
    Scenario("XXpsk2, previous password", password=OLD_PASSWORD, previous=Previous(OLD_PASSWORD, first=True)),
    Scenario("password, previous password", 2, password=OLD_PASSWORD, previous=Previous(OLD_PASSWORD)),
)


def key_for(event: KeyNeeded, password: str) -> bytes:
    """Answer as a slow derivation would, in no time."""
    if event.compute is None:
        return quick_psk(password, event.node_id)
    if isinstance(event.compute, partial) and event.compute.func is session_key:
        return hashlib.sha256(repr(event.compute.args).encode()).digest()
    return event.compute()


class End:
    """One side and what must hold of it."""

    def __init__(self, link: Link, password: Callable[[KeyNeeded], str], clear_types: frozenset[str]) -> None:
        self.link = link
        self.opened: Opened | None = None
        self.refused: Refused | None = None
        self.received: list[HiveMessage] = []
        self.derivations = 0
        self._password = password
        self._clear_types = clear_types

    def take(self, frame: Frame, now: float) -> None:
        """Receive a frame."""
        self._follow(self.link.receive(frame, now), now)

    def tick(self, now: float) -> None:
        self._follow(self.link.tick(now), now)

    def _follow(self, events: list[Event], now: float) -> None:
        for event in events:
            assert self.refused is None, "an event after the end"
            if isinstance(event, KeyNeeded):
                self.derivations += 1
                assert self.derivations <= 6, "one connection costs too many keys"
                self._follow(self.link.key_derived(key_for(event, self._password(event)), now), now)
            elif isinstance(event, Opened):
                assert self.opened is None, "a link opened twice"
                self.opened = event
            elif isinstance(event, Received):
                assert self.opened is not None, "a message without a session"
                self.received.append(event.message)
            elif isinstance(event, Refused):
                self.refused = event
                assert event.close_code in range(1000, 5000)
            else:
                assert isinstance(event, Malformed)
                assert self.opened is not None
        assert not (self.refused and self.link.is_open), "a link lives on after it was refused"
        assert self.link.is_open <= (self.opened is not None)

    def drain(self) -> list[Frame]:
        """Return what it sends."""
        frames = self.link.frames_to_send()
        for frame in frames:
            self._check_sent(frame)
        return frames

    def _check_sent(self, frame: Frame) -> None:
        raw = frame.encode() if isinstance(frame, str) else frame
        assert not any(secret.encode() in raw for secret in SECRETS), "a secret was sent in clear"
        if isinstance(frame, bytes):
            assert self.opened is not None, "a sealed frame without a session"
            return
        said = json.loads(frame)
        if "ciphertext" in said:
            assert self.opened is not None, "a sealed frame without a session"
            assert self.opened.version < 3, "a text frame in a session of version 3"
        else:
            assert said["msg_type"] in self._clear_types, f"{said['msg_type']} was sent in clear"


def hub_end(scenario: Scenario) -> End:
    """Return the hub's side."""
    link = Link.hub(scenario.hub(), 0.0)

    def password(event: KeyNeeded) -> str:
        return OLD_PASSWORD if event.previous else PASSWORD

    return End(link, password, frozenset({"hello", "shake"}))


def client_end(scenario: Scenario) -> End:
    """Return the satellite's side."""
    link = Link.client(scenario.client(), 0.0)
    return End(link, lambda event: scenario.password, frozenset({"shake"}))
