"""How many connections, and how many messages, one address may have: over sockets, behind a proxy that is believed.

So every address is one that could be anywhere. The machine's own, which has no limits, is met beside them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from helpers.link_hub import eventually
from helpers.live_hub import HOST, LiveHub, closed
from helpers.target import Session
from hivemind_bus_client.message import Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_bus_client.refusals import REFUSALS
from hivemind_bus_client.return_hints import wait_in
from hivemind_core.config import WebSocketConfig
from hivemind_core.limits_config import LimitsConfig, Rate
from hivemind_core.proxies import TrustedProxies

PASSWORD = "correct horse battery staple 42"
HOUSE, NEIGHBOUR, THE_MACHINE = "203.0.113.5", "203.0.113.6", ""
HOUSE_6, SAME_HOUSE_6, NEIGHBOUR_6 = "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"
KEYS = [f"key-{number}" for number in range(8)]
MOST, BURST_S, WORDS = 3, 20.0, "words " * 100
RATES = {"messages": Rate(messages_per_s=1.0), "bytes": Rate(bytes_per_s=1.5 * len(WORDS))}
"""A burst of either holds some twenty messages of so many words; a client of its own may send any number."""
MORE = 30
TOO_MANY = REFUSALS["too_many_connections"].wire_reason.partition(", try again")[0]


class Houses:
    """A hub, and devices in houses; each access key is one device, wherever it is."""

    def __init__(self, hub: LiveHub) -> None:
        self.hub = hub
        self._devices = {key: generate_static_key() for key in KEYS}

    async def raw(self, key: str, house: str) -> ClientConnection:
        return await self.hub.raw(key, {"X-Forwarded-For": house} if house else None)

    async def device(self, key: str, house: str) -> Session:
        """One that has been answered."""
        hello = {"session": {"session_id": f"of-{key}"}, "site_id": "kitchen"}
        session = Session(await self.raw(key, house), hello, self._devices[key])
        await session.open(PASSWORD)
        await session.talk("here I am")
        return session

    async def refused(self, key: str, house: str) -> tuple[int, str]:
        """Code and reason with which one is turned away."""
        return await closed(await self.raw(key, house))


@asynccontextmanager
async def houses(folder: Path, **config: Any) -> AsyncIterator[Houses]:
    proxies = TrustedProxies((ip_network("127.0.0.0/8"),))
    async with LiveHub(folder, websocket=WebSocketConfig(HOST, 0, proxies=proxies), **config) as hub:
        hub.agent.respond = repeat
        for key in KEYS:
            hub.add(key, PASSWORD)
        yield Houses(hub)


def repeat(message: Message) -> Message | None:
    words = message.data.get("utterances")
    return message.reply("speak", {"utterance": f"you said: {words[0]}"}) if words else None


def is_one_too_many(end: tuple[int, str]) -> bool:
    code, reason = end
    return code == 1013 and reason.startswith(TOO_MANY)


async def test_connections_of_one_address(tmp_path: Path) -> None:
    """With a session or without one, whosever they are: one more is refused, and only there."""
    async with houses(tmp_path, max_connections_per_address=MOST) as place:
        first = await place.device(KEYS[0], HOUSE)
        inside = [first, await place.device(KEYS[1], HOUSE)]
        waiting = await place.raw(KEYS[2], HOUSE)
        for key in (KEYS[0], KEYS[3], "an-unknown-key"):
            assert is_one_too_many(await place.refused(key, HOUSE))
        elsewhere = [await place.device(KEYS[4], NEIGHBOUR)]
        elsewhere += [await place.device(key, THE_MACHINE) for key in KEYS[: MOST + 2]]
        for number, one in enumerate([*inside, *elsewhere]):
            await one.talk(f"number {number}")
        await waiting.close()
        await eventually(lambda: place.hub.hub.peers.count_from(HOUSE) == MOST - 1)
        await (await place.device(KEYS[3], HOUSE)).talk("there is room again")


async def test_a_household_with_ipv6_is_one_address(tmp_path: Path) -> None:
    async with houses(tmp_path, max_connections_per_address=1) as place:
        await place.device(KEYS[0], HOUSE_6)
        assert is_one_too_many(await place.refused(KEYS[1], SAME_HOUSE_6))
        await place.device(KEYS[1], NEIGHBOUR_6)


@pytest.mark.parametrize("what", RATES)
async def test_what_one_address_may_send(what: str, tmp_path: Path) -> None:
    """Two clients that are within what each may send go beyond it together: their address waits, and nobody else."""
    limits = LimitsConfig(client=Rate(), address=RATES[what], burst_s=BURST_S)
    async with houses(tmp_path, limits=limits) as place:
        place.hub.stand_still()
        kitchen, hall = await place.device(KEYS[0], HOUSE), await place.device(KEYS[1], HOUSE)
        neighbour, inside = await place.device(KEYS[2], NEIGHBOUR), await place.device(KEYS[3], THE_MACHINE)
        await talk_in_turn(kitchen, hall)
        over = next(one for one in (kitchen, hall) if one.socket.close_code is not None)
        assert over.socket.close_code == 1013
        wait_s = wait_in(over.socket.close_reason or "")
        assert BURST_S / 2 <= wait_s <= BURST_S
        assert len(over.heard("you said: ")) > 1
        code, reason = await place.refused(KEYS[4], HOUSE)
        assert (code, 0 < wait_in(reason) <= wait_s) == (1013, True)
        await neighbour.talk("next door")
        await (await place.device(KEYS[4], NEIGHBOUR)).talk("next door, too")
        for number in range(MORE):
            await inside.talk(f"{number} {WORDS}")
        place.hub.ahead_s += wait_s
        await (await place.device(KEYS[4], HOUSE)).talk("it is over")


async def talk_in_turn(*devices: Session) -> None:
    """Each says something, again and again, until one of them is sent away."""
    for number in range(MORE):
        for one in devices:
            with suppress(ConnectionClosed):
                await one.say(f"{number} {WORDS}")
            await eventually(lambda one=one, words=f"{number} ": one.socket.close_code or one.heard(f"said: {words}"))
            if one.socket.close_code is not None:
                return
    raise AssertionError("none was sent away")
