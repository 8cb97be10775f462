"""Requests that another hub of the cluster passes on, and what becomes of the frames taken for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from helpers.http_cluster import HTTPCluster
from helpers.http_device import (
    GONE,
    Device,
    KeptBack,
    calls,
    connected_at_the_first,
    is_answer,
    is_settling,
    prepare,
    sessions,
    speak,
    waiting_fetch,
)
from helpers.link_hub import eventually
from hivemind_core.transports import http_connection, http_held


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[HTTPCluster]:
    async with HTTPCluster(tmp_path, 3) as cluster:
        prepare(cluster)
        yield cluster


async def test_a_client_that_goes_away_takes_nothing_out_of_its_queue(three: HTTPCluster) -> None:
    async with Device(three) as device:
        await connected_at_the_first(device)
        for _ in range(5):
            waiting = await waiting_fetch(device)
            waiting.cancel()
            await eventually(lambda: not sessions(three)[0].requests)
        speak(three, "ding")
        assert await device.fetch() == ["ding"]


async def test_a_fetch_ends_the_one_before_it_wherever_they_came(three: HTTPCluster) -> None:
    async with Device(three) as device:
        await connected_at_the_first(device)
        first = await waiting_fetch(device)
        device.at = 2
        second = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        assert (await asyncio.wait_for(first, 30))[1]["b64_messages"] == []
        speak(three, "ding")
        assert len((await asyncio.wait_for(second, 30))[1]["b64_messages"]) == 1


async def test_what_was_taken_and_not_written_is_put_back(three: HTTPCluster) -> None:
    """The client goes while the answer is on its way from hub to hub."""
    async with Device(three) as device:
        await connected_at_the_first(device)
        answers = KeptBack(three, "hub1", is_answer)
        speak(three, "ding", "dong")
        lost = asyncio.create_task(device.ask("GET", "/get_binary_messages"))
        await eventually(lambda: answers.frames)
        speak(three, "later")
        lost.cancel()
        await eventually(lambda: calls(three, "settle"))
        answers.let_go()
        assert await device.fetch() == ["ding", "dong", "later"]


async def test_the_next_fetch_waits_to_know_what_became_of_the_last(three: HTTPCluster) -> None:
    async with Device(three) as device:
        await connected_at_the_first(device)
        settling = KeptBack(three, "hub0", is_settling)
        speak(three, "ding")
        assert await device.fetch() == ["ding"]
        speak(three, "dong")
        again = asyncio.create_task(device.fetch())
        await eventually(lambda: sessions(three)[0].requests)
        assert not again.done()
        settling.let_go()
        assert await asyncio.wait_for(again, 30) == ["dong"]


LOST = {**GONE, "code": 1011, "reason": "messages may have been lost between hubs"}


async def test_a_session_ends_where_nobody_knows_what_arrived(
    three: HTTPCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_connection, "SETTLED_WITHIN_S", 0.1)
    async with Device(three) as device:
        await connected_at_the_first(device)
        settling = KeptBack(three, "hub0", is_settling)
        speak(three, "ding")
        assert await device.fetch() == ["ding"]
        speak(three, "dong")
        device.at = 2
        assert await device.ask("GET", "/get_binary_messages") == (200, LOST)
        assert "messages may have been lost between hubs" in caplog.text
        settling.let_go()
        device.begin()
        await device.connect()


async def test_it_ends_also_where_nothing_more_is_asked(three: HTTPCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_held, "KEPT_S", 0.1)
    async with Device(three) as device:
        await connected_at_the_first(device)
        KeptBack(three, "hub0", is_settling)
        speak(three, "ding")
        assert await device.fetch() == ["ding"]
        await eventually(lambda: three.held == [0, 0, 0])
        assert (await device.ask("GET", "/get_binary_messages"))[1] == LOST


async def test_a_frame_that_is_too_long_to_travel_ends_its_session(
    three: HTTPCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_held, "MAX_PASSED_FRAME", 1000)
    async with Device(three) as device:
        await connected_at_the_first(device)
        speak(three, "x" * 2000)
        assert (await device.ask("GET", "/get_binary_messages"))[1] == LOST
        assert three.held == [0, 0, 0]


async def test_one_answer_by_way_of_another_hub_holds_only_so_much(
    three: HTTPCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_held, "MAX_PASSED_BYTES", 5000)
    async with Device(three) as device:
        await connected_at_the_first(device)
        speak(three, *["x" * 2000] * 5)
        assert [len(await device.fetch()) for _ in range(3)] == [2, 2, 1]


async def test_where_too_many_wait_the_next_is_answered_at_once(
    three: HTTPCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_held, "MAX_WAITING", 0)
    async with Device(three) as device:
        await connected_at_the_first(device)
        asking = device.ask("GET", "/get_binary_messages", wait=60)
        assert (await asyncio.wait_for(asking, 30))[1]["b64_messages"] == []


async def test_a_long_body_is_taken_for_a_session_that_is_open_elsewhere(three: HTTPCluster) -> None:
    """What a stranger may send on a new connection is much less."""
    async with Device(three) as device, Device(three, cookies=False) as stranger:
        await connected_at_the_first(device)
        stranger.at = device.at = 2
        long = {"message": "x" * 900_000}
        status, body = await device.ask("POST", "/send_message", long)
        assert (status, body["code"]) == (500, 1008)  # nothing but sealed frames is taken; it got as far as that
        with pytest.raises(aiohttp.ClientError):
            await stranger.ask("POST", "/send_message", long)


async def test_connections_stay_for_the_next_request(three: HTTPCluster) -> None:
    async with Device(three) as device:
        await connected_at_the_first(device)
        for _ in range(20):
            await device.fetch()
        server = three.transports[1]._server
        assert server is not None
        assert server.requests_count >= 20
        assert len(server.connections) == 1
