"""Each figure that an operator is promised, while what it counts happens at a hub on real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from helpers.link_hub import eventually
from helpers.live_hub import LiveHub, closed, flush, send
from helpers.pair import cannot_run
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.admin_config import AdminConfig
from hivemind_core.limits_config import LimitsConfig, Rate

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None

pytestmark = pytest.mark.e2e
KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
Figures = dict[str, float]


def bus(msg_type: str, **data: object) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(msg_type, data))


SPEECH = bus("recognizer_loop:utterance", utterances=["hello"])


class Watched(LiveHub):
    """A hub with an admin address."""

    async def figures(self) -> Figures:
        assert self.service.admin is not None
        assert text_string_to_metric_families is not None
        async with aiohttp.ClientSession() as http, http.get(f"{self.service.admin.address}/metrics") as answer:
            text = await answer.text()
        families = list(text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(families)
        return {
            ",".join((sample.name, *sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    async def until(self, is_so: Callable[[Figures], bool]) -> Figures:
        found = await self.figures()
        end = time.monotonic() + 60
        while not is_so(found):
            assert time.monotonic() < end, found
            await asyncio.sleep(0.05)
            found = await self.figures()
        return found


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Watched]:
    if text_string_to_metric_families is None:
        cannot_run("prometheus_client is not installed")
    limits = LimitsConfig(client=Rate(100, 0), address=Rate(), burst_s=1)
    async with Watched(tmp_path, admin=AdminConfig(0), limits=limits) as running:
        running.add(KEY, PASSWORD)
        yield running


async def test_connections_by_state(hub: Watched) -> None:
    raw = await hub.raw(KEY)
    found = await hub.until(lambda now: now["hivemind_connections,handshake"] == 1)
    assert (found["hivemind_connections,open"], found["hivemind_connections,registered"]) == (0, 0)
    await raw.close()
    socket, _ = await hub.session(KEY, PASSWORD)
    found = await hub.until(lambda now: now["hivemind_connections,registered"] == 1)
    assert found["hivemind_connections,handshake"] == 0
    await socket.close()
    await hub.until(lambda now: now["hivemind_connections,registered"] == 0)


async def test_messages_by_type_and_verdict(hub: Watched) -> None:
    socket, link = await hub.session(KEY, PASSWORD)
    await send(socket, link, SPEECH)
    await send(socket, link, bus("never.allowed"))
    await send(socket, link, HiveMessage(HiveMessageType.PING, {"flood_id": "f"}))
    found = await hub.until(lambda now: now.get("hivemind_messages_received_total,bus,denied") == 1)
    assert found["hivemind_messages_received_total,bus,accepted"] == 1
    assert found["hivemind_messages_received_total,hello,accepted"] == 1
    assert found["hivemind_denials_total,acl_disallowed_type"] == 1
    assert found["hivemind_message_handling_seconds_count"] >= 3
    assert "hivemind_answer_seconds_count" in found

    def fails(message: Message) -> None:
        if message.msg_type == SPEECH.payload.msg_type:
            raise RuntimeError("a fault in the hub")

    hub.agent.respond = fails
    await send(socket, link, SPEECH)
    await closed(socket)
    found = await hub.until(lambda now: now.get("hivemind_messages_received_total,bus,refused") == 1)
    assert found["hivemind_refusals_total,internal_error"] == 1


async def test_handshakes_by_cause(hub: Watched) -> None:
    assert (await closed(await hub.raw("another-key")))[0] == 1008
    (await hub.raw(KEY)).transport.abort()
    shake = await hub.raw(KEY)
    await shake.send("{}")
    await closed(shake)
    socket, _ = await hub.session(KEY, PASSWORD)
    counted = ("hivemind_handshakes_total,left", "hivemind_handshakes_total,opened")
    found = await hub.until(lambda now: [now.get(name) for name in counted] == [1, 1])
    assert found["hivemind_handshakes_total,invalid_key"] == 1
    assert found["hivemind_handshakes_total,unencrypted_frame"] == 1
    assert found["hivemind_handshake_seconds_count"] == 1
    assert found["hivemind_sessions_total,3,XXpsk2"] == 1
    await socket.close()


async def test_queue_depths(hub: Watched) -> None:
    socket, link = await hub.session(KEY, PASSWORD)
    await send(socket, link, SPEECH)
    [peer] = await eventually(lambda: list(hub.hub.peers))
    queues = ("hivemind_send_queue_frames", "hivemind_agent_queue")
    found = await hub.until(lambda now: [now[name] for name in queues] == [0, 0])
    assert {"hivemind_worker_queue,database", "hivemind_worker_queue,keys"} <= found.keys()
    socket.transport.pause_reading()
    for number in range(300):
        hub.agent.deliver(Message("flood", {"x": f"{number}" + "y" * 50_000}, {"destination": peer.peer_id}))
    found = await hub.until(lambda now: now["hivemind_send_queue_frames"] > 0)
    assert found["hivemind_send_queue_frames_max"] == found["hivemind_send_queue_frames"]
    socket.transport.abort()
    await hub.until(lambda now: now["hivemind_send_queue_frames"] == 0)


async def test_the_loop_and_the_agent(hub: Watched) -> None:
    before = await hub.until(lambda now: now["hivemind_loop_lag_seconds_count"] > 0)
    assert before["hivemind_agent_available,recording"] == 1
    time.sleep(1.2)  # noqa: ASYNC251 - as something in the hub that takes too long
    after = await hub.until(lambda now: now["hivemind_loop_lag_seconds_sum"] > before["hivemind_loop_lag_seconds_sum"])
    assert after["hivemind_loop_lag_seconds_sum"] - before["hivemind_loop_lag_seconds_sum"] > 0.2
    hub.agent.available = False
    assert (await hub.figures())["hivemind_agent_available,recording"] == 0


async def test_who_sends_too_much(hub: Watched) -> None:
    hub.stand_still()
    socket, link = await hub.session(KEY, PASSWORD)
    for _ in range(300):
        link.send(SPEECH)
    await flush(socket, link)
    assert (await closed(socket))[0] == 1013
    assert (await closed(await hub.raw(KEY)))[0] == 1013
    found = await hub.figures()
    assert found["hivemind_refusals_total,too_many_messages"] == 2
    assert found["hivemind_handshakes_total,too_many_messages"] == 1
