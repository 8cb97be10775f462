from __future__ import annotations

import json

import pytest

from helpers.agent_bus import echo_bus, eventually
from helpers.bus_stub import HABITS
from helpers.processes import free_port
from hivemind_bus_client.message import HiveMessageType, Message
from hivemind_core.agents.busclient import BusAddress, BusTuning
from hivemind_core.agents.ovos import OvosAgent
from hivemind_core.asking import Asking, Finished, Said

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


@pytest.mark.parametrize(
    ("habit", "answer"),
    [
        ("answers", ["you said: hi", 1]),
        ("says words", ["you", "said:", "hi", 3]),
        ("says twice", ["you said: hi", 1]),
        ("declines", [0]),
        ("keeps silent", [0]),
    ],
)
async def test_a_query_is_told_apart_by_its_token_whatever_the_assistant_is_like(
    habit: str, answer: list[object]
) -> None:
    asking, heard = Asking(), list[Said | Finished]()
    stamped = Message(
        "recognizer_loop:utterance", {"utterances": ["hi"]}, {"source": "p", "destination": "hivemind", "peer": "p"}
    )
    asked = asking.ask("q", "p", HiveMessageType.QUERY, stamped, now=0)
    assert asked is not None
    port, seen = free_port(), list[Message]()

    def deliver(message: Message) -> None:
        seen.append(message)
        heard.extend(asking.hear(message, now=1) or ())

    async with echo_bus(port, HABITS[habit]):
        agent = OvosAgent(BusAddress(port=port), QUICK)
        await agent.start(deliver)
        await eventually(lambda: agent.available)
        assert agent.emit(stamped), "what is spoken directly is no part of any answer"
        assert agent.emit(asked)
        assert agent.emit(Message("marker"))
        await eventually(lambda: any(message.msg_type == "marker" for message in seen))
        await agent.stop()
    heard += asking.tick(now=10)
    assert [part.utterance if isinstance(part, Said) else part.said for part in heard] == answer
    assert {part.question.token for part in heard} == {asked.context["query_id"]}
