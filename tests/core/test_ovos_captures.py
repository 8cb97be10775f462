"""What a real OVOS said on its bus is said again, and each satellite gets what is for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hivemind_bus_client.message import Message
from hivemind_core.testing import MemoryHive, MemorySatellite

CAPTURES = Path(__file__).parents[1] / "ovos" / "captures"
USERAGENT, CLIENT, SESSION = "e2e-sat", "sat1", "272a7513-d036-4170-8d7a-c9368bf3ca0d"
RECORDED_NAMESPACE = "7e2597a42041fcae"
CLIENT_OF_NEWEST, SESSION_OF_NEWEST = "t1", "s1"


@pytest.fixture
async def hive() -> AsyncIterator[MemoryHive]:
    async with MemoryHive() as running:
        yield running


def recorded(name: str, **replaced: str) -> list[dict[str, Any]]:
    """The messages of a capture, with other names for those who took part."""
    text = (CAPTURES / f"{name}.jsonl").read_text("utf-8")
    for old, new in replaced.items():
        text = text.replace(old, new)
    return [json.loads(line) for line in text.splitlines()]


async def play(hive: MemoryHive, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        hive.agent.deliver(Message(message["type"], message["data"], message["context"]))
    await hive.settle()


def received(satellite: MemorySatellite) -> list[dict[str, Any]]:
    """What a satellite got, as a capture holds it."""
    return [{"type": bus.msg_type, "data": bus.data, "context": bus.context} for bus in satellite.bus_messages]


async def recorded_satellite(hive: MemoryHive) -> MemorySatellite:
    """The satellite of the captures: its name on the bus is the one of then."""
    row = hive.add_client(CLIENT)
    satellite = MemorySatellite(hive, row.password or "", {"session_id": SESSION})
    await hive.connect(satellite, row, USERAGENT)
    assert satellite.peer_id == f"{USERAGENT}::1::{CLIENT}::{SESSION}"
    return satellite


async def test_a_satellite_gets_what_it_got_from_a_released_hub(hive: MemoryHive) -> None:
    satellite = await recorded_satellite(hive)
    other = await hive.join("other")
    namespace = satellite.peer.namespace
    assert namespace
    await play(hive, recorded("hub_stable_bus", **{RECORDED_NAMESPACE: namespace}))
    assert received(satellite) == recorded("hub_stable_satellite")
    assert other.bus_messages == []


async def test_what_ovos_says_to_its_own_device_stays_there(hive: MemoryHive) -> None:
    satellite = await recorded_satellite(hive)
    await play(hive, recorded("own_device_stable"))
    assert satellite.bus_messages == []


def newest_for(satellite: MemorySatellite) -> list[dict[str, Any]]:
    """The capture of the newest OVOS, as if this satellite had taken part."""
    messages = recorded("newest")
    namespace = satellite.peer.namespace
    for message in messages:
        context = message["context"]
        for end in ("source", "destination"):
            if context.get(end) == CLIENT_OF_NEWEST:
                context[end] = satellite.peer_id
        context["session"]["session_id"] = f"{namespace}:{SESSION_OF_NEWEST}"
    return messages


HELLO = [
    "ovos-skill-hello-world.openvoiceos.activate",
    "ovos.intent.matched",
    "ovos.intent.handler.start",
    "ovos-skill-hello-world.openvoiceos:greetings",
    "mycroft.skill.handler.start",
    "speak",
    "recognizer_loop:audio_output_start",
    "recognizer_loop:audio_output_end",
    "mycroft.skill.handler.complete",
    "ovos.intent.handler.complete",
    "ovos.utterance.handled",
]


async def test_the_newest_ovos_says_everything_once(hive: MemoryHive) -> None:
    satellite, other = await hive.join("kitchen"), await hive.join("other")
    await play(hive, newest_for(satellite))
    assert satellite.heard == [
        "Hello world",
        "Everyone in the OpenVoiceOS community and team.",
        "I don't understand, but I'm learning new things everyday.",
        "You might have to say that a different way.",
        "It is friday, november twentieth, twenty twenty six",
        "It is eight fourteen p.m.",
    ]
    types = [bus.msg_type for bus in satellite.bus_messages]
    assert types[: len(HELLO)] == HELLO
    assert types.count("ovos.utterance.handled") == 7
    assert types.count("mycroft.stop") == 1
    assert not [name for name in types if name in ("ovos.utterance.speak", "ovos.stop")]
    assert {bus.context["session"]["session_id"] for bus in satellite.bus_messages} == {SESSION_OF_NEWEST}
    assert other.bus_messages == []
