from __future__ import annotations

import pytest

from hivemind_bus_client import presence
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.presence import ANNOUNCED_FOR_S, Announcements, Presence, flood_id

PROPAGATE, BUS, PING = HiveMessageType.PROPAGATE, HiveMessageType.BUS, HiveMessageType.PING
ME = Presence("me", "s1", "attic", "PEM")
ORDER = HiveMessage(PROPAGATE, HiveMessage(BUS, Message("speak")))


def test_what_it_says_of_itself() -> None:
    shown = Presence("me", "s1", "attic", "PEM", "en-US").ping("f", 5.0)
    assert (shown.msg_type, shown.payload.msg_type) == (PROPAGATE, PING)
    assert shown.payload.payload == {
        "flood_id": "f",
        "peer": "me::s1",
        "site_id": "attic",
        "timestamp": 5.0,
        "public_key": "PEM",
        "lang": "en-US",
    }
    assert Presence("", "s1", None, "").label == "satellite::s1"


@pytest.mark.parametrize(("payload", "found"), [({"flood_id": "f"}, "f"), ({"flood_id": 1}, ""), ({}, ""), ("f", "")])
def test_the_flood_of_a_ping(payload: object, found: str) -> None:
    assert flood_id(payload) == found


def test_it_is_announced_once_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(presence.time, "monotonic", lambda: clock[0])
    announcements = Announcements()
    first = announcements.ahead_of(ORDER, ME)
    assert first is not None
    assert first.payload.payload["peer"] == "me::s1"
    assert announcements.ahead_of(ORDER, ME) is None
    clock[0] += ANNOUNCED_FOR_S
    again = announcements.ahead_of(ORDER, ME)
    assert again is not None
    assert again.payload.payload["flood_id"] != first.payload.payload["flood_id"]


def test_a_new_session_is_announced_anew() -> None:
    announcements = Announcements()
    assert announcements.ahead_of(ORDER, ME) is not None
    announcements.forget()
    assert announcements.ahead_of(ORDER, ME) is not None


@pytest.mark.parametrize(
    ("message", "who"),
    [
        (HiveMessage(PROPAGATE, HiveMessage(PING, {"flood_id": "f"})), ME),
        (HiveMessage(HiveMessageType.ESCALATE, HiveMessage(BUS, Message("speak"))), ME),
        (HiveMessage(BUS, Message("speak")), ME),
        (HiveMessage(HiveMessageType.BINARY, b"x"), ME),
        (ORDER, Presence("me", "s1", "attic", "")),
    ],
)
def test_nothing_else_needs_it(message: HiveMessage, who: Presence) -> None:
    assert Announcements().ahead_of(message, who) is None
