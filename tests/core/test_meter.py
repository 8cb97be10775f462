"""What the hub counts of itself, by a hub in memory with a clock that stands still."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.link import Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core import meter
from hivemind_core.testing import MemoryHive


def values(hive: MemoryHive, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a family by their suffixes and labels."""
    (family,) = [each for each in hive.hub.meter.families() if each.name == name]
    return {(sample.suffix, *(value for _, value in sample.labels)): sample.value for sample in family.samples}


def messages(hive: MemoryHive) -> dict[tuple[str, ...], float]:
    found = values(hive, "hivemind_messages_received_total")
    return {key[1:]: value for key, value in found.items() if key[1] != "hello"}


def answer(hive: MemoryHive, peer_id: str) -> None:
    hive.agent.deliver(Message("speak", {"utterance": "noon"}, {"source": "skills", "destination": peer_id}))


async def test_messages_by_type_and_verdict() -> None:
    async with MemoryHive() as hive:
        kitchen = await hive.join("kitchen")
        kitchen.say("what time is it")
        kitchen.say("and now")
        kitchen.emit("not.allowed")
        await hive.settle()
        assert messages(hive) == {("bus", "accepted"): 2, ("bus", "denied"): 1}
        assert values(hive, "hivemind_denials_total") == {("", "acl_disallowed_type"): 1}
        assert values(hive, "hivemind_message_handling_seconds")[("_count",)] >= 3


async def test_a_message_that_ends_its_connection_is_refused() -> None:
    async with MemoryHive() as hive:
        kitchen = await hive.join("kitchen", client=hive.add_client("kitchen", can_escalate=False))
        inner = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": ["x"]}))
        kitchen.send(HiveMessage(HiveMessageType.ESCALATE, inner))
        await hive.settle()
        assert messages(hive) == {("escalate", "refused"): 1}
        assert values(hive, "hivemind_refusals_total") == {("", "not_permitted"): 1}


async def test_a_handshake_by_what_became_of_it() -> None:
    async with MemoryHive() as hive:
        await hive.join("kitchen")
        assert values(hive, "hivemind_handshakes_total") == {("", "opened"): 1}
        assert [key[1] for key in values(hive, "hivemind_sessions_total")] == ["3"]
        assert values(hive, "hivemind_handshake_seconds")[("_count",)] == 1
        found = await hive.hub.identify("no token at all", "10.0.0.1")
        assert isinstance(found, Refused)
        hive.hub.refusals.stranger("10.0.0.1", found)
        assert values(hive, "hivemind_handshakes_total")[("", "invalid_authorization")] == 1
        assert values(hive, "hivemind_refusals_total") == {("", "invalid_authorization"): 1}


async def test_one_that_leaves_before_its_session_is_counted_once() -> None:
    async with MemoryHive() as hive:
        kitchen = await hive.join("kitchen")
        (peer,) = hive.hub.peers.connections()
        visitor: Any = type("Visitor", (), {"client": peer.client, "useragent": "x"})()
        other = hive.hub.connect(peer.conn, visitor)
        hive.hub.closed(other)
        hive.hub.closed(other)
        assert values(hive, "hivemind_handshakes_total") == {("", "left"): 1, ("", "opened"): 1}
        assert kitchen.refused is None


async def test_the_first_answer_to_an_utterance_is_timed() -> None:
    async with MemoryHive() as hive:
        kitchen = await hive.join("kitchen")
        kitchen.say("what time is it")
        await hive.settle()
        hive.clock.advance(0.3)
        answer(hive, kitchen.peer_id)
        hive.clock.advance(5)
        answer(hive, kitchen.peer_id)
        found = values(hive, "hivemind_answer_seconds")
        assert (found[("_bucket", "0.25")], found[("_bucket", "0.5")], found[("_count",)]) == (0, 1, 1)


@pytest.mark.parametrize("late_s", [0.0, meter.ANSWERED_WITHIN_S + 1])
async def test_what_was_not_asked_or_comes_too_late_is_no_answer(late_s: float) -> None:
    async with MemoryHive() as hive:
        kitchen = await hive.join("kitchen")
        if late_s:
            kitchen.say("wake me")
        else:
            kitchen.emit("not.allowed")
        await hive.settle()
        hive.clock.advance(late_s)
        answer(hive, kitchen.peer_id)
        assert values(hive, "hivemind_answer_seconds")[("_count",)] == 0


async def test_frames_and_bytes_both_ways() -> None:
    async with MemoryHive() as hive:
        kitchen = await hive.join("kitchen")
        count = hive.hub.meter
        before = (count.frames_in, count.frames_out, count.bytes_in, count.bytes_out)
        kitchen.say("x" * 500)
        await hive.settle()
        answer(hive, kitchen.peer_id)
        after = (count.frames_in, count.frames_out, count.bytes_in, count.bytes_out)
        frames_in, frames_out, bytes_in, bytes_out = (new - old for new, old in zip(after, before, strict=True))
        assert (frames_in, frames_out) == (1, 1)
        assert bytes_in > 500
        assert bytes_out > 50
        assert values(hive, "hivemind_received_bytes_total") == {("",): count.bytes_in}
