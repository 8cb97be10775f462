"""What a satellite does with odd frames of a hub: as the released client, row by row, or as deviations.json says.

Each row is played by a link of ours against a hub of ours; rows about closing need a socket: see test_clients.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from helpers import vectors
from helpers.link_pair import HELLO, LinkPair, hub_terms, offer, open_pair
from hivemind_bus_client.link import Event, Malformed, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import NOISE_SUITE_AESGCM

FILE = "client_behaviour_1.2.12a1"
CASES = vectors.cases(FILE)
NEEDS_A_SOCKET = {name for name, row in CASES.items() if row["hub_sends"] == "close 1008"}
BUS = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "x"}))


class Session:
    """A session, and what the satellite makes of one more frame."""

    def __init__(self) -> None:
        self.pair = open_pair()

    def seal(self, body: Any, binary: bool = False) -> list[bytes | str]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return list(self.pair.hub.link._session.seal(data, binary))  # type: ignore[union-attr]

    def hears(self, frames: list[bytes | str]) -> list[Event]:
        return [event for frame in frames for event in self.pair.client.link.receive(frame, 0)]

    def goes_on(self) -> bool:
        (event,) = self.hears(self.seal(BUS.as_dict))
        return isinstance(event, Received)

    def outcome(self, frames: list[bytes | str]) -> str:
        events = self.hears(frames)
        if any(isinstance(event, Refused) for event in events):
            return "fatal"
        assert self.goes_on()
        if not events:
            return "ignored"
        (event,) = events
        if isinstance(event, Malformed):
            return "dropped"
        assert isinstance(event, Received)
        return f"delivered {event.message.msg_type} {len(event.message.body)}"


FRAMES: dict[str, Callable[[Session, Any], list[bytes | str]]] = {
    "WebSocket text frame": lambda session, _: [BUS.serialize()],
    "Noise frame, marker 1, body ffffff": lambda session, _: session.seal(b"\xff\xff\xff", True),
    "50 zero bytes (not a valid Noise frame)": lambda session, _: [bytes(50)],
    "140 kB BUS message as markers 2, 4, 5": lambda session, _: session.seal(
        {"msg_type": "bus", "payload": {"type": "x", "data": {"text": "x" * 140_000}, "context": {}}}
    ),
    "a second HANDSHAKE offer": lambda session, _: session.seal({"msg_type": "shake", "payload": offer()}),
}

MEANS = {
    "WebSocket closed (1000) and reconnected": "fatal",
    "frame dropped; session continues": "dropped",
    "ignored; session continues": "ignored",
    "ignored (node_id keeps its first value); session continues": "ignored",
    "accepted; session continues": "delivered bus 1",
    "accepted (payload reads as {}); session continues": "delivered ping 0",
    "delivered as 3rdparty; session continues": "delivered 3rdparty 0",
    "reassembled and delivered": "delivered bus 3",
}
"""The wording of the rows, as `Session.outcome` says it."""


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("session/") and name not in NEEDS_A_SOCKET])
def test_in_the_session(name: str) -> None:
    sent, session = CASES[name]["hub_sends"], Session()
    frames = FRAMES[sent](session, sent) if isinstance(sent, str) else session.seal(sent)
    assert session.outcome(frames) == MEANS[vectors.expected(FILE, name)]


def shaken(**changes: Any) -> LinkPair:
    """A pair after the handshake on an offer with keys replaced."""
    pair = LinkPair(hub_terms(hello={**HELLO, "zeta": 1.5, "α": "é"}, offer=offer(**changes))).run()
    assert pair.client.link.is_open
    return pair


def first_message(pair: LinkPair) -> dict[str, Any]:
    """The `noise` object of the satellite's first message."""
    noise: dict[str, Any] = json.loads(pair.frames("client")[0])["payload"]["noise"]
    return noise


OFFERS = {json.dumps(row["hub_sends"]): name for name, row in CASES.items() if row["stage"] == "offer"}


def offered(name: str) -> dict[str, Any]:
    sent: dict[str, Any] = CASES[name]["hub_sends"]
    return sent


def test_the_only_suite_offered_is_used() -> None:
    (name,) = (name for name in OFFERS.values() if "noise" in offered(name))
    assert vectors.expected(FILE, name) == "selects XXpsk2 + 25519_AESGCM_SHA256"
    noise = first_message(shaken(**offered(name)))
    assert (noise["pattern"], noise["suite"]) == ("XXpsk2", NOISE_SUITE_AESGCM)


def test_binary_frames_are_asked_for_when_they_are_offered() -> None:
    (name,) = (name for name in OFFERS.values() if "binarize" in offered(name))
    assert vectors.expected(FILE, name) == "sends binarize:true in Noise message 1 and bitstring frames afterwards"
    pair = shaken(**offered(name))
    assert pair.hub.opened.binarize
    pair.client.link.send(BUS)
    (frame,) = pair.client.link.frames_to_send()
    _, binary = pair.hub.link._session.open(frame)  # type: ignore[union-attr, misc]
    assert binary


def test_unknown_keys_are_bound_into_the_handshake() -> None:
    (name,) = (name for name in OFFERS.values() if "zeta" in offered(name))
    assert vectors.expected(FILE, name) == "unknown offer fields are bound into the prologue as received"
    assert shaken(**offered(name)).client.opened.hub["α"] == "é"


def test_every_row_is_played_here_or_needs_a_socket() -> None:
    played = {name for name in CASES if name.startswith("session/")} | set(OFFERS.values())
    assert set(CASES) == played | NEEDS_A_SOCKET
    assert len(NEEDS_A_SOCKET) == 2
