from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from helpers.agent_bus import bus_client, echo_bus, eventually, receive, receive_types
from helpers.processes import free_port
from hivemind_bus_client.message import Message
from hivemind_core.agents.busclient import BusAddress, BusTuning
from hivemind_core.agents.busserver import VISITOR
from hivemind_core.agents.embedded import EmbeddedAgent
from hivemind_core.bus_frames import MAX_FRAME_BYTES
from hivemind_core.config import ConfigError

QUICK = BusTuning(retry_first_s=0.02, retry_longest_s=0.05)


def ask(words: str) -> Message:
    return Message("recognizer_loop:utterance", {"utterances": [words]}, {"source": "p", "destination": "h"})


class Hub:
    """An embedded agent and what it delivered."""

    def __init__(self, port: int) -> None:
        self.seen: list[Message] = []
        self.agent = EmbeddedAgent(BusAddress(port=port), lambda: ["kitchen"], QUICK)

    def types(self) -> list[str]:
        return [message.msg_type for message in self.seen]


@asynccontextmanager
async def hub(port: int) -> AsyncIterator[Hub]:
    started = Hub(port)
    await started.agent.start(started.seen.append)
    try:
        yield started
    finally:
        await started.agent.stop()


async def test_the_hub_takes_part_like_any_client() -> None:
    port = free_port()
    async with hub(port) as it, bus_client(port) as skill:
        assert it.agent.available
        await receive(skill)
        sent = ask("hello")
        assert it.agent.emit(sent)
        assert it.seen == []
        assert (await receive(skill))["data"] == sent.data
        await eventually(lambda: it.seen == [sent])
        assert it.seen[0].data is not sent.data, "the hub may change what it gets without touching what it sent"
        await skill.send_json({"type": "speak", "data": {"utterance": "hi"}, "context": {"destination": "p"}})
        await eventually(lambda: len(it.seen) == 2)
        assert it.seen[1] == Message("speak", {"utterance": "hi"}, {"destination": "p"})


async def test_the_builtin_assistant_answers_only_while_nobody_is_attached() -> None:
    port = free_port()
    answered = ["recognizer_loop:utterance", "speak", "ovos.utterance.handled"]
    async with hub(port) as it:
        assert it.agent.emit(ask("who is connected"))
        await eventually(lambda: it.types() == answered)
        assert it.seen[1].data["utterance"] == "One satellite is connected: kitchen."
        assert it.seen[1].context["destination"] == "p"
        async with bus_client(port) as skill:
            await receive(skill)
            assert it.agent.emit(ask("who is connected"))
            assert it.agent.emit(Message("marker"))
            assert await receive_types(skill, 2) == ["recognizer_loop:utterance", "marker"]
            await eventually(lambda: "marker" in it.types())
            assert it.types() == [*answered, "recognizer_loop:utterance", "marker"]
        it.seen.clear()
        await eventually(lambda: it.agent.emit(ask("tell me a joke")) and "speak" in it.types())
        said = next(message.data["utterance"] for message in it.seen if message.msg_type == "speak")
        assert f"ws://127.0.0.1:{port}/core" in said


async def test_a_visitor_silences_nobody_and_is_answered_where_no_service_is_there() -> None:
    port = free_port()
    asked = {"type": "recognizer_loop:utterance", "data": {"utterances": ["hello"]}, "context": {"source": "doctor"}}
    async with hub(port) as it, bus_client(port, headers={VISITOR: "doctor"}) as visitor:
        await receive(visitor)
        assert it.agent.emit(ask("who is connected"))
        await eventually(lambda: "speak" in it.types())
        assert "speak" in await receive_types(visitor, 3)
        await visitor.send_json(asked)
        assert "speak" in await receive_types(visitor, 3)
        async with bus_client(port) as skill:
            await receive(skill)
            await visitor.send_json(asked)
            assert (await receive(skill))["type"] == asked["type"]
            await skill.send_json({"type": "from.the.skill"})
            assert await receive_types(visitor, 2) == [asked["type"], "from.the.skill"]


async def test_a_query_nobody_is_attached_to_answer_is_declined_under_its_token() -> None:
    async with hub(free_port()) as it:
        question = Message("recognizer_loop:utterance", {"utterances": ["tell me a joke"]}, {"query_id": "token"})
        assert it.agent.emit(question)
        await eventually(lambda: "ovos.utterance.handled" in it.types())
        assert it.types() == ["recognizer_loop:utterance", "complete_intent_failure", "ovos.utterance.handled"]
        assert {message.context["query_id"] for message in it.seen} == {"token"}


async def test_where_a_bus_answers_already_it_joins_that_one(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with caplog.at_level(logging.INFO):
        async with echo_bus(port) as bus, hub(port) as it:
            await eventually(lambda: it.agent.available)
            assert it.agent.emit(ask("what time is it"))
            await eventually(lambda: it.seen)
            assert bus.types() == it.types() == ["recognizer_loop:utterance"]
    assert caplog.text.count("joining it as a client") == 1


async def test_it_stays_a_client_of_the_bus_it_joined() -> None:
    port = free_port()
    async with echo_bus(port) as bus:
        it = Hub(port)
        await it.agent.start(it.seen.append)
        await eventually(lambda: bus.clients)
    await eventually(lambda: not it.agent.available)
    assert not it.agent.emit(ask("what time is it"))
    async with echo_bus(port) as bus:
        await eventually(lambda: bus.clients)
    await it.agent.stop()


async def test_two_hubs_share_one_bus() -> None:
    port = free_port()
    async with hub(port) as first, hub(port) as second:
        await eventually(lambda: second.agent.available)
        assert second.agent.emit(Message("from.second"))
        await eventually(lambda: first.types() == second.types()[-1:] == ["from.second"])


async def test_an_address_that_is_not_ours_is_a_config_error() -> None:
    agent = EmbeddedAgent(BusAddress(host="192.0.2.1", port=free_port()), list, QUICK)
    with pytest.raises(ConfigError, match=r"cannot be served at ws://192\.0\.2\.1"):
        await agent.start(lambda message: None)
    assert not agent.available


async def test_a_frame_larger_than_a_bus_takes_is_refused() -> None:
    async with hub(free_port()) as it:
        assert not it.agent.emit(Message("t", {"a": "x" * MAX_FRAME_BYTES}, {}))


async def test_after_stop_nothing_is_taken_and_the_port_is_free() -> None:
    port = free_port()
    async with hub(port) as it:
        pass
    assert not it.agent.available
    assert not it.agent.emit(ask("hello"))
    async with hub(port) as again:
        assert again.agent.available
