from __future__ import annotations

from hivemind_bus_client.message import Message
from hivemind_core import bus_events
from hivemind_core.actions import Deny


def test_a_fingerprint_is_short_stable_and_not_the_key() -> None:
    assert bus_events.fingerprint("key") == bus_events.fingerprint("key") == "2c70e12b7a06"
    assert bus_events.fingerprint("key") != bus_events.fingerprint("kez")


def test_a_denial_says_what_and_why() -> None:
    message = bus_events.denial("peer", Deny("x", "code", "reason", {"a": 1}))
    assert message.payload == Message(
        "hive.policy.denied",
        {"denied_type": "x", "code": "code", "reason": "reason", "data": {"a": 1}},
        {"source": "hivemind-core", "destination": "peer"},
    )
