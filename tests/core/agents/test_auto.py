from __future__ import annotations

import pytest

from helpers.agent_bus import echo_bus, eventually
from helpers.processes import free_port
from hivemind_bus_client.message import Message
from hivemind_core.agents.auto import AutoAgent
from hivemind_core.agents.busclient import BusAddress, BusTuning

QUICK = BusTuning(retry_first_s=0.02, retry_longest_s=0.05)


def ask(words: str) -> Message:
    return Message("recognizer_loop:utterance", {"utterances": [words]}, {"source": "p", "destination": "h"})


async def test_a_hub_that_starts_first_leaves_the_port_and_then_uses_the_bus() -> None:
    port = free_port()
    seen: list[Message] = []
    agent = AutoAgent(BusAddress(port=port), lambda: ["kitchen"], QUICK)
    await agent.start(seen.append)

    assert agent.available
    assert agent.emit(ask("who is connected"))
    await eventually(lambda: len(seen) == 2)
    assert seen[0].data["utterance"] == "One satellite is connected: kitchen."
    assert agent.emit(ask("tell me a joke"))
    await eventually(lambda: len(seen) == 4)
    assert f"port {port}" in seen[2].data["utterance"]

    seen.clear()
    async with echo_bus(port) as bus:
        await eventually(lambda: bus.clients)
        await eventually(lambda: agent.emit(Message("marker")) and bus.frames)
        assert agent.emit(ask("what time is it"))
        await eventually(lambda: any(message.msg_type == "recognizer_loop:utterance" for message in seen))
        assert bus.types()[-1] == "recognizer_loop:utterance"
        assert {message.msg_type for message in seen} == {"marker", "recognizer_loop:utterance"}

    await eventually(lambda: not agent.available)
    assert not agent.emit(ask("what time is it")), "the built-in assistant stays silent"
    async with echo_bus(port):
        await eventually(lambda: agent.available)
    await agent.stop()


async def test_a_bus_that_is_there_already_is_used() -> None:
    async with echo_bus(free_port()) as bus:
        agent = AutoAgent(BusAddress(port=bus.port), list, QUICK)
        await agent.start(lambda message: None)
        await eventually(lambda: bus.clients)
        await agent.stop()


async def test_looking_in_vain_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    agent = AutoAgent(BusAddress(port=free_port()), list, QUICK)
    seen: list[Message] = []
    await agent.start(seen.append)
    assert agent.emit(ask("help"))
    await eventually(lambda: seen)
    await agent.stop()
    assert "is away" not in caplog.text
