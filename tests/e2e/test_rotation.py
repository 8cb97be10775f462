"""A password is changed by the command, in another process, and no device is locked out: real sockets, our clients."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import HOST, LiveHub
from helpers.pair import KEY, OURS, PASSWORD, Pair, talk
from helpers.processes import Children, wait_until
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.link import Opened
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.refusals import REFUSALS, HiveMindRefused
from hivemind_core.config import HTTPConfig
from hivemind_core.greeting import secrets_in
from hivemind_core.hub import Clocks
from hivemind_core.peers import Peer
from hivemind_core.transports.http import HTTPTransport

NEW = "cobalt meadow engine harvest 17"
KK, XX = "KKpsk0", "XXpsk2"
DAY_S = 24 * 3600
SOON_S = 60
V2 = {"min_protocol_version": 2, "max_protocol_version": 2}
HELLO = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": ["hello"]}))


class Street:
    """A hub with one client row, whose clock on the wall can be put forward, and what came to its door."""

    def __init__(self, children: Children) -> None:
        self.ahead_s = 0.0
        self.attempts = 0
        """How often somebody knocked since `watch`."""
        self.came_in: list[tuple[str, bool]] = []
        """How each who came in did so since, and whether with the previous password."""
        clocks = Clocks(wall=lambda: time.time() + self.ahead_s)
        self.hub = LiveHub(children.folder / "live", parts={"clocks": clocks}, min_protocol_version=2)
        self._children = children

    def count_anew(self) -> None:
        self.attempts, self.came_in = 0, []

    def watch(self) -> None:
        """Count what comes to the hub that runs now; after a restart it is another object."""
        hub = self.hub.hub
        connect, accepted = hub.connect, hub.door.accepted
        self.count_anew()

        def counted(*arguments: Any) -> Peer:
            self.attempts += 1
            return connect(*arguments)

        def noted(peer: Peer, opened: Opened) -> None:
            self.came_in.append((opened.pattern, opened.previous))
            accepted(peer, opened)

        hub.connect, hub.door.accepted = counted, noted  # type: ignore[method-assign]

    async def visit(self, password: str, device: str = "device", **options: Any) -> None:
        """Come in, say something and leave. Raises HiveMindRefused."""
        client = self.hub.client(KEY, password, device, **options)
        try:
            await client.connect(timeout=SOON_S)
            heard = len(self.hub.agent.utterances)
            await client.emit(HELLO)
            await eventually(lambda: len(self.hub.agent.utterances) > heard, SOON_S)
        finally:
            await client.close()
            await eventually(lambda: not self.hub.hub.peers.connections(), SOON_S)

    async def rotate(self, *options: str) -> str:
        """Run the command and wait until the hub has seen what it did; what it printed."""
        before = self._secrets()
        text = await asyncio.to_thread(self.hub.command, self._children, "rotate-password", "1", *options)
        await eventually(lambda: self._secrets() != before, SOON_S)
        self.count_anew()
        return text

    def _secrets(self) -> tuple[Any, ...]:
        row = self.hub.hub.db.by_id(1)
        assert row is not None
        return secrets_in(row)

    async def list(self) -> str:
        return await asyncio.to_thread(self.hub.command, self._children, "list-clients")

    def forget_pins(self, device: str = "device") -> None:
        """Have a device meet every hub as a new one."""
        path = self.hub.home.path / device / "_identity.json"
        document = json.loads(path.read_text("utf-8"))
        assert document.pop("pinned_noise_keys")
        path.write_text(json.dumps(document), "utf-8")


@pytest.fixture
async def street(children: Children) -> AsyncIterator[Street]:
    made = Street(children)
    async with made.hub:
        made.watch()
        made.hub.add(KEY, PASSWORD)
        yield made


async def test_a_known_device_comes_in_at_its_first_attempt_with_either(street: Street) -> None:
    await street.visit(PASSWORD)
    text = await street.rotate("--password", NEW)
    assert f"hivemind-client set-identity --password '{NEW}'" in text
    assert "not used" in await street.list()
    await street.visit(PASSWORD)
    await street.visit(NEW)
    assert (street.attempts, street.came_in) == (2, [(KK, True), (KK, False)])
    listed = await street.list()
    assert "last used" in listed
    assert not [secret for secret in (PASSWORD, NEW) if secret in listed]


async def test_after_its_end_the_old_password_is_wrong(street: Street) -> None:
    await street.visit(PASSWORD)
    await street.rotate("--password", NEW, "--grace", "24h")
    street.ahead_s = DAY_S - 60
    await street.visit(PASSWORD)
    street.ahead_s = DAY_S + 1
    with pytest.raises(HiveMindRefused) as told:
        await street.visit(PASSWORD)
    assert told.value.refusal == REFUSALS["wrong_password"]
    await street.visit(NEW)
    assert street.came_in == [(KK, True), (KK, False)]


async def test_the_old_password_is_wrong_at_once_where_no_grace_is_given_or_it_is_ended(street: Street) -> None:
    await street.visit(PASSWORD)
    await street.rotate("--password", NEW, "--grace", "0")
    with pytest.raises(HiveMindRefused):
        await street.visit(PASSWORD)
    await street.rotate("--password", PASSWORD)
    await street.visit(NEW)
    assert "is no longer valid" in await street.rotate("--end-grace")
    with pytest.raises(HiveMindRefused):
        await street.visit(NEW)
    await street.visit(PASSWORD)


@pytest.mark.parametrize(("password", "attempts"), [(NEW, 1), (PASSWORD, 2)])
async def test_a_device_without_pins_comes_in_with_either(street: Street, password: str, attempts: int) -> None:
    await street.visit(PASSWORD)
    street.forget_pins()
    await street.rotate("--password", NEW)
    await street.visit(password)
    assert (street.attempts, street.came_in) == (attempts, [(XX, password == PASSWORD)])


@pytest.mark.parametrize(("password", "attempts"), [(NEW, 1), (PASSWORD, 2)])
async def test_so_does_the_first_device_of_a_client(street: Street, password: str, attempts: int) -> None:
    await street.rotate("--password", NEW)
    await street.visit(password)
    assert (street.attempts, street.came_in) == (attempts, [(XX, password == PASSWORD)])


async def test_a_third_password_is_told_as_wrong(street: Street) -> None:
    await street.rotate("--password", NEW)
    with pytest.raises(HiveMindRefused) as told:
        await street.visit("quartz velvet pioneer anchor 3")
    assert told.value.refusal == REFUSALS["wrong_password"]
    assert (street.attempts, street.came_in) == (2, [])


async def test_a_hub_that_restarts_meanwhile_knows_both(street: Street) -> None:
    await street.visit(PASSWORD)
    await street.rotate("--password", NEW)
    await street.hub.service.stop()
    await street.hub.start()
    street.watch()
    await street.visit(PASSWORD)
    await street.visit(NEW)
    assert street.came_in == [(KK, True), (KK, False)]


async def test_a_second_rotation_leaves_the_last_two(street: Street) -> None:
    newer = "quartz velvet pioneer anchor 3"
    await street.visit(PASSWORD)
    await street.rotate("--password", NEW)
    await street.rotate("--password", newer)
    with pytest.raises(HiveMindRefused):
        await street.visit(PASSWORD)
    await street.visit(NEW)
    await street.visit(newer)
    assert street.came_in == [(KK, True), (KK, False)]


async def test_two_devices_below_v3_are_in_with_either_password_until_the_end(street: Street) -> None:
    await street.visit(PASSWORD, "first", **V2)
    await street.rotate("--password", NEW)
    old, new = street.hub.client(KEY, PASSWORD, "first", **V2), street.hub.client(KEY, NEW, "second", **V2)
    for client in (old, new):
        await client.connect(timeout=SOON_S)
    assert street.came_in == [("password", True), ("password", False)]
    street.ahead_s = DAY_S + 1
    await eventually(lambda: len(street.hub.hub.peers) == 1, SOON_S)
    await eventually(lambda: old.stopping, SOON_S)
    assert old.problem.startswith(REFUSALS["wrong_password"].sentence.rstrip("."))
    await new.emit(HELLO)
    await eventually(lambda: street.hub.agent.utterances, SOON_S)
    await old.close()
    await new.close()


@pytest.mark.parametrize(("password", "attempts"), [(NEW, 1), (PASSWORD, 2)])
async def test_over_http_a_device_without_pins_comes_in_too(street: Street, password: str, attempts: int) -> None:
    transport = HTTPTransport(street.hub.hub, HTTPConfig(HOST, 0))
    await transport.start()
    await street.rotate("--password", NEW)
    identity = NodeIdentity(street.hub.home.path / "device" / "_identity.json")
    client = HiveMindHTTPClient(KEY, password=password, host=transport.address, identity=identity)
    await asyncio.wait_for(asyncio.to_thread(client.connect), SOON_S)
    assert (street.attempts, street.came_in) == (attempts, [(XX, password == PASSWORD)])
    await asyncio.to_thread(client.close)
    await transport.stop()


def test_a_satellite_that_is_in_stays_and_comes_back(children: Children) -> None:
    """As operators meet it: all are processes, and the connection is cut where it must be."""
    pair = Pair(children, OURS, OURS)
    home = pair.new_home()
    kitchen = pair.satellite(home=home)
    kitchen.expect("connected")
    talk(kitchen)
    pair.hub.command("rotate-password", "1", "--password", NEW)
    pair.hub.take_in()
    talk(kitchen)
    pair.hub.stop()
    pair.hub.start()
    talk(kitchen, "again", SOON_S)
    assert pair.closes() == [(1001, REFUSALS["shutting_down"].wire_reason)]
    assert pair.hub.child is not None
    pair.hub.child.wait_output("still uses its previous password, valid until", SOON_S)
    assert PASSWORD not in pair.hub.child.output()
    pair.close(kitchen)
    again = pair.satellite(home=home, password=NEW)
    again.expect("connected")
    talk(again)
    pair.hub.command("rotate-password", "1", "--end-grace")
    pair.hub.take_in()
    talk(again)
    assert pair.patterns() == [XX, KK, KK]

    def refused() -> bool:
        late = pair.satellite(home=home, password=PASSWORD)
        late.expect("failed")
        return True

    pair.close(again)
    wait_until(refused, SOON_S, "the old password is refused")
