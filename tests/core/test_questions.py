"""A question that plugins are asked about is open only when they have let it through, for who is still there."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import pytest

from helpers.link_hub import eventually
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.clients import Client
from hivemind_core.policy import ALLOW, Entry, PolicyChain, Verdict
from hivemind_core.testing import MemoryHive

PATIENCE_S = 30.0
UTTERANCE = "recognizer_loop:utterance"
QUESTION = HiveMessage(
    HiveMessageType.QUERY,
    HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": ["how late is it"]})),
    metadata={"query_id": "q"},
)


class Thinking:
    """Lets everything through, but only when it is let go."""

    def __init__(self) -> None:
        self.free, self.begun = threading.Event(), threading.Event()

    def review(self, message: Message, client: Client) -> Verdict:
        self.begun.set()
        assert self.free.wait(PATIENCE_S)
        return ALLOW

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


@pytest.fixture
def policy() -> Thinking:
    return Thinking()


@pytest.fixture
async def hive(policy: Thinking) -> AsyncIterator[MemoryHive]:
    async with MemoryHive(policies=PolicyChain([Entry("thinking", policy)])) as hive:
        yield hive
        policy.free.set()


async def decided(hive: MemoryHive, policy: Thinking) -> None:
    policy.free.set()
    await eventually(lambda: not hive.hub.reviews.under_way)
    await hive.settle()


async def test_one_that_began_another_session_meanwhile_is_told(hive: MemoryHive, policy: Thinking) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.send(QUESTION)
    await eventually(policy.begun.is_set)
    kitchen.send(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": "fresh"}}))
    await hive.settle()
    await decided(hive, policy)
    [answer] = [message.payload.payload for message in kitchen.messages if message.msg_type == HiveMessageType.QUERY]
    assert answer.data["error"] == "session_changed"
    assert hive.agent.of_type(UTTERANCE) == []


async def test_of_one_that_has_left_nothing_is_asked_and_nothing_stays(hive: MemoryHive, policy: Thinking) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.send(QUESTION)
    await eventually(policy.begun.is_set)
    kitchen.leave()
    await decided(hive, policy)
    assert hive.agent.of_type(UTTERANCE) == []
    assert len(hive.hub.mesh.questions._ways) == 0
