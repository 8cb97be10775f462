"""Each request over HTTP comes to another hub of a cluster, as behind a load balancer, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.http_cluster import HTTPCluster
from helpers.http_device import (
    GONE,
    PASSWORD,
    Device,
    asks,
    calls,
    connected_at_the_first,
    prepare,
    sessions,
    speak,
)
from helpers.link_hub import eventually
from hivemind_core.clients import Client
from hivemind_core.roles import DEFAULT_ROLE, ROLES
from hivemind_core.transports import http_elsewhere
from hivemind_core.transports.http_answers import REPLICA_COOKIE
from hivemind_core.transports.http_requests import COOKIE

UNREACHABLE = {**GONE, "code": 1001, "reason": "the hub of this session cannot be reached"}


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[HTTPCluster]:
    async with HTTPCluster(tmp_path, 3) as cluster:
        prepare(cluster)
        yield cluster


# --- every request to another hub ----------------------------------------------------------------------------


@pytest.mark.parametrize("cookies", [True, False])
async def test_hundreds_of_messages_both_ways_in_order(three: HTTPCluster, cookies: bool) -> None:
    async with Device(three, cookies=cookies) as device:
        await device.connect()
        assert sorted(three.held) == [0, 0, 1]
        heard: list[str] = []
        for number in range(150):
            await device.say(f"said {number}")
            speak(three, f"told {number}")
            if number % 7 == 0:
                heard += await device.fetch()
        heard += await device.fetch()
        assert heard == [f"{kind} {number}" for number in range(150) for kind in ("said", "told")]
        assert calls(three, "look") <= 3
        assert await device.ask("POST", "/disconnect") == (200, {"status": "Disconnected"})
    assert three.held == [0, 0, 0]


async def test_long_polls_by_way_of_every_hub(three: HTTPCluster) -> None:
    async with Device(three) as device:
        await device.connect()
        for number in range(12):
            waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=30))
            await eventually(lambda: sessions(three)[0].requests)
            speak(three, str(number))
            _, body = await asyncio.wait_for(waiting, 30)
            assert await device.take(body["b64_messages"], "b64_messages") == [str(number)]


async def test_a_long_message_of_many_parts(three: HTTPCluster) -> None:
    async with Device(three) as device:
        await device.connect()
        text = "long " * 400_000
        await device.say(text)
        heard: list[str] = []
        while not heard:
            heard = await device.fetch(wait=5)
        assert heard == [text]


async def test_two_devices_with_keys_of_their_own(three: HTTPCluster) -> None:
    other_row = Client(0, "other-key", "bedroom", password=PASSWORD, allowed_types=ROLES[DEFAULT_ROLE].types)
    three.hives[1].db.add(other_row)
    async with Device(three, cookies=False) as one, Device(three, cookies=False, key="other-key") as other:
        await asyncio.gather(one.connect(), other.connect())
        for number in range(10):
            await asyncio.gather(one.say(f"one {number}"), other.say(f"other {number}"))
            assert await asyncio.gather(one.fetch(), other.fetch()) == [[f"one {number}"], [f"other {number}"]]


async def test_every_answer_names_the_hub_that_holds_the_session(three: HTTPCluster) -> None:
    async with Device(three) as device:
        device.at = 1
        await device.connect()
        jar = {cookie.key: cookie.value for cookie in device.http.cookie_jar}
        assert jar[REPLICA_COOKIE] == "hub1"
        assert jar[COOKIE].startswith("hub1.")
        for device.at in (0, 1, 2):
            await device.fetch()
            assert device.replica == "hub1"


async def test_the_limits_of_a_session_are_those_of_its_hub(
    three: HTTPCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Device(three) as device:
        device.at = 0
        await device.connect()
        sessions(three)[0].max_frame_bytes = 1000
        device.at = 1
        assert await device.ask("POST", "/send_message", {"message": "x" * 1001}) == (
            400,
            {"error": "A frame holds at most 1000 bytes"},
        )
        assert (await device.ask("POST", "/send_message", {}))[0] == 400
        monkeypatch.setattr(http_elsewhere, "MAX_REQUESTS", 1)
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        await eventually(lambda: sessions(three)[0].requests)
        assert await device.ask("GET", "/get_messages") == (429, {"error": "Too many requests at once"})
        speak(three, "ding")
        assert len((await asyncio.wait_for(waiting, 30))[1]["b64_messages"]) == 1


async def test_it_is_refused_by_whichever_hub_it_asks(three: HTTPCluster) -> None:
    async with Device(three, key="nobody-has-this-key") as device:
        for _ in range(3):
            assert (await device.ask("POST", "/connect"))[0] == 403
            assert await device.ask("GET", "/get_messages") == (200, GONE)
            assert (await device.post("x"))[0] == 409
    assert calls(three, "begun") == 0


# --- whose session it is ------------------------------------------------------------------------------------


async def test_who_connects_again_at_another_hub_leaves_the_first(three: HTTPCluster) -> None:
    async with Device(three, cookies=False) as device:
        for device.at in (0, 1, 2, 0):
            device.begin()
            await device.connect()
            assert [bool(held) for held in three.held] == [number == device.at for number in range(3)]
            await eventually(lambda: sum(len(hive.hub.peers) for hive in three.hives) == 1)
        device.at = None
        await device.say("hello")
        assert await device.fetch() == ["hello"]


async def test_two_hubs_that_are_asked_at_once_agree_on_one_session(three: HTTPCluster) -> None:
    async with Device(three, cookies=False) as device:
        await asyncio.gather(*(device.ask("POST", "/connect") for _ in range(3)))
        assert sum(three.held) == 1


async def test_the_access_key_alone_opens_nothing_from_another_address(three: HTTPCluster) -> None:
    async with Device(three, cookies=False) as device, Device(three, cookies=False, address="192.0.2.2") as thief:
        await device.connect()
        await device.say("secret")
        for _ in range(3):
            assert await thief.ask("GET", "/get_binary_messages") == (200, GONE)
            assert await thief.ask("POST", "/disconnect") == (200, {"error": "Already Disconnected"})
        assert await device.fetch() == ["secret"]


async def test_a_session_whose_cookie_was_returned_is_not_open_to_the_address(three: HTTPCluster) -> None:
    async with Device(three) as device, Device(three, cookies=False) as thief:
        await device.connect()
        for _ in range(3):
            assert await thief.ask("GET", "/get_binary_messages") == (200, GONE)
        await device.say("hello")
        assert await device.fetch() == ["hello"]


@pytest.mark.parametrize("cookie", ["hub1.made-up", "hub9.made-up", "made-up", ".", "hub0."])
async def test_a_cookie_that_is_made_up_opens_nothing(three: HTTPCluster, cookie: str) -> None:
    async with Device(three) as device, Device(three, cookies=False) as thief:
        await device.connect()
        thief.http.headers["Cookie"] = f"{COOKIE}={cookie}"
        for _ in range(3):
            _, body = await thief.ask("GET", "/get_binary_messages")
            assert body["error"] == GONE["error"]
        assert calls(three, "ask") == sum(frame["b"]["cookie"] != cookie for frame in asks(three))


async def test_who_asks_for_nothing_that_exists_makes_few_calls(
    three: HTTPCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_elsewhere, "LOOKS_AT_ONCE", 2)
    monkeypatch.setattr(http_elsewhere, "LOOKS_PER_S", 0.001)
    async with Device(three, cookies=False) as stranger, Device(three, cookies=False, address="192.0.2.9") as other:
        stranger.at = other.at = 0
        for _ in range(2):
            assert await stranger.ask("GET", "/get_messages") == (200, GONE)
        for _ in range(5):
            assert await stranger.ask("GET", "/get_messages") == (200, UNREACHABLE)
        assert calls(three, "look") == 2 * 2
        assert await other.ask("GET", "/get_messages") == (200, GONE)


async def test_what_ended_is_told_by_way_of_another_hub(three: HTTPCluster) -> None:
    async with Device(three) as device:
        device.at = 0
        await device.connect()
        device.at = 1
        status, body = await device.post(b"\0" * 50)
        ended = {"code": 1008, "reason": "invalid message"}
        assert (status, body) == (500, {"error": "Message sending failed", **ended})
        assert await device.ask("GET", "/get_messages") == (200, {**GONE, **ended})
        device.at = None
        device.begin()
        await device.connect()


async def test_a_hub_that_is_new_finds_the_sessions_of_the_others(three: HTTPCluster) -> None:
    async with Device(three, cookies=False) as device:
        await device.connect()
        three.hives.append(await three.add("late"))
        three.hives.pop()
        device.at = 3
        await device.say("hello")
        assert await device.fetch() == ["hello"]


# --- hubs and Redis that are away ---------------------------------------------------------------------------


async def test_the_loss_of_a_hub_costs_a_reconnect(three: HTTPCluster) -> None:
    async with Device(three) as device, Device(three, cookies=False, address="192.0.2.2") as other:
        other.static_key = device.static_key
        other.begin()
        await connected_at_the_first(device)
        other.at = 0
        await other.connect()
        other.at = 1
        await other.fetch()
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        await eventually(lambda: len(asks(three)) and sessions(three)[0].requests)
        await three.kill(0)
        assert await asyncio.wait_for(waiting, 30) == (200, UNREACHABLE)
        assert await device.post("x") == (409, UNREACHABLE)
        assert await other.ask("GET", "/get_messages") == (200, GONE)
        for each in (device, other):
            each.at = None
            each.begin()
            await each.connect()
            await each.say("hello")
            assert await each.fetch() == ["hello"]


async def test_while_redis_is_away_only_the_hub_that_holds_a_session_serves_it(three: HTTPCluster) -> None:
    async with Device(three) as device, Device(three, cookies=False, address="192.0.2.2") as newcomer:
        await connected_at_the_first(device)
        three.redis.set_available(False)
        assert await device.ask("GET", "/get_messages") == (200, UNREACHABLE)
        assert await device.post("x") == (409, UNREACHABLE)
        device.at = 0
        await device.say("hello")
        assert await device.fetch() == ["hello"]
        newcomer.static_key = device.static_key
        newcomer.begin()
        newcomer.at = 1
        await newcomer.connect()
        newcomer.at = 2
        assert await newcomer.ask("GET", "/get_messages") == (200, UNREACHABLE)
        three.redis.set_available(True)
        device.at = newcomer.at = None
        for each in (device, newcomer):
            await each.say("again")
            assert await each.fetch() == ["again"]
