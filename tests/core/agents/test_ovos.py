from __future__ import annotations

import json

from helpers.agent_bus import echo_bus, eventually, free_port
from hivemind_bus_client.message import Message
from hivemind_core.agents.busclient import BusAddress, BusTuning
from hivemind_core.agents.ovos import OvosAgent

QUICK = BusTuning(retry_first_s=0.02, retry_longest_s=0.05)


async def test_the_hub_keeps_going_while_the_bus_comes_and_goes() -> None:
    port = free_port()
    seen: list[Message] = []
    agent = OvosAgent(BusAddress(port=port), QUICK)
    await agent.start(seen.append)
    assert not agent.available
    assert not agent.emit(Message("too.early"))
    async with echo_bus(port) as bus:
        await eventually(lambda: agent.available)
        sent = Message("recognizer_loop:utterance", {"utterances": ["grüß dich"]}, {"source": "p"})
        assert agent.emit(sent)
        await eventually(lambda: seen)
        assert seen == [sent]
        assert json.loads(bus.frames[0]) == {
            "type": "recognizer_loop:utterance",
            "data": {"utterances": ["grüß dich"]},
            "context": {"source": "p"},
        }
    await eventually(lambda: not agent.available)
    assert not agent.emit(Message("too.late"))
    await agent.stop()


async def test_twins_are_passed_on_as_they_are() -> None:
    seen: list[Message] = []
    async with echo_bus(free_port()) as bus:
        agent = OvosAgent(BusAddress(port=bus.port), QUICK)
        await agent.start(seen.append)
        await eventually(lambda: agent.available)
        await bus.push('{"type":"ovos.utterance.speak"}')
        await bus.push('{"type":"speak","context":{"_namespace_compat_twin":true}}')
        await eventually(lambda: len(seen) == 2)
        assert seen[1].context == {"_namespace_compat_twin": True}
        await agent.stop()


async def test_stop_without_a_bus_returns() -> None:
    agent = OvosAgent(BusAddress(port=free_port()), QUICK)
    await agent.start(lambda message: None)
    await agent.stop()
    assert not agent.available
