"""W3, W4 and W24 over every kind of client database: the hub in this process, another process writes beside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import derive, eventually
from helpers.live_hub import LiveHub, closed, send
from helpers.processes import Children
from helpers.redis_server import RedisServer
from helpers.stores import STORES
from helpers.target import PASSWORD, Session
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.clients import Client
from hivemind_core.database import ClientDatabase
from hivemind_core.storage import Store

KEY = "of-the-kitchen"
OTHERS = 300
STRANGERS = 30
PEM = "-----BEGIN PUBLIC KEY-----\npinned meanwhile\n-----END PUBLIC KEY-----"
every_kind = pytest.mark.parametrize("kind", STORES)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with Children(tmp_path_factory.mktemp("redis")) as children:
        yield RedisServer(children)


class StoreHub(LiveHub):
    """A hub whose clients are in a database of some kind."""

    def __init__(self, kind: str, folder: Path, reached: dict[str, Any], **options: Any) -> None:
        super().__init__(folder, **options)
        self._kind, self._options = STORES[kind], reached
        self.database.parent.mkdir(parents=True)

    def _store(self) -> Store:
        return self._kind.open(self.database.parent, self._options)

    def elsewhere(self) -> ClientDatabase:
        """The database as another process has it open."""
        return ClientDatabase(self._store())


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., StoreHub]:
    """A hub over a kind of database; a server is started for those that need one alone."""

    def make(kind: str, **options: Any) -> StoreHub:
        server = request.getfixturevalue("redis_server") if kind == "redis" else None
        reached = server.options(index_prefix=request.node.name) if server is not None else {}
        return StoreHub(kind, tmp_path / "hub", reached, **options)

    return make


@every_kind
async def test_w03_a_client_deleted_elsewhere_is_put_out_and_nobody_else(
    kind: str, made: Callable[..., StoreHub]
) -> None:
    async with made(kind) as hub:
        victim, hall = hub.add(KEY, PASSWORD), hub.add("of-the-hall", PASSWORD)
        socket, _ = await hub.session(KEY, PASSWORD)
        listener, _ = await hub.session("of-the-hall", PASSWORD)
        await eventually(lambda: len(hub.hub.peers) == 2)
        database = hub.elsewhere()
        assert database.delete(victim.client_id)
        database.close()
        assert (await closed(socket))[0] == 1008
        await eventually(lambda: [peer.client.client_id for peer in hub.hub.peers] == [hall.client_id])
        await listener.close()


@every_kind
async def test_w04_what_others_write_while_a_key_is_made_stays(kind: str, made: Callable[..., StoreHub]) -> None:
    """The handshake is left where it is then, so that nothing is written but the key."""
    began, go_on = threading.Event(), threading.Event()

    def slowly(password: str, node_id: str) -> bytes:
        began.set()
        assert go_on.wait(60)
        return derive(password, node_id)

    async with made(kind, derive=slowly) as hub:
        row = hub.add(KEY, PASSWORD)
        await Session(await hub.raw(KEY), {"session": {"session_id": "w04"}}, generate_static_key()).begin(PASSWORD)
        assert await asyncio.to_thread(began.wait, 60)
        database = hub.elsewhere()
        database.patch_metadata(row.client_id, {"intercom_pubkey": PEM})
        database.update(row.client_id, {"can_propagate": False, "name": "bedroom"})
        database.touch({row.client_id: 1_000_000_000.0})
        database.close()
        go_on.set()
        await eventually(lambda: "noise_psk" in hub.stored()[0].metadata)
        [stored] = hub.stored()
        assert stored.metadata["intercom_pubkey"] == PEM
        assert (stored.last_seen, stored.can_propagate, stored.name) == (1_000_000_000.0, False, "bedroom")


@every_kind
async def test_w24_unknown_keys_have_nothing_read_and_hold_up_nobody(kind: str, made: Callable[..., StoreHub]) -> None:
    async with made(kind) as hub:
        hub.add(KEY, PASSWORD)
        socket, link = await hub.session(KEY, PASSWORD)
        await eventually(lambda: hub.hub.peers)
        looks = Looks(hub.hub.db.store)
        sockets = await asyncio.gather(*(hub.raw(f"nobody-has-{number}") for number in range(STRANGERS)))
        outcomes = [await closed(one) for one in sockets]
        assert {code for code, _ in outcomes} <= {1008, 1013}
        assert 1008 in {code for code, _ in outcomes}
        assert looks.threads
        assert looks.loads == 0
        assert threading.current_thread().name not in looks.threads
        words = Message("recognizer_loop:utterance", {"utterances": ["am I heard"]})
        await send(socket, link, HiveMessage(HiveMessageType.BUS, words))
        await eventually(lambda: hub.agent.utterances == ["am I heard"])


class Looks:
    """How a store is read: how often all of it, and in which threads it is asked anything."""

    def __init__(self, store: Any) -> None:
        self.loads = 0
        self.threads: set[str] = set()
        self._load, self._version = store.load, store.version
        store.load, store.version = self._loaded, self._asked

    def _loaded(self) -> list[Client]:
        self.loads += 1
        found: list[Client] = self._load()
        return found

    def _asked(self) -> Any:
        self.threads.add(threading.current_thread().name)
        return self._version()


async def test_w24_unknown_keys_are_no_storm_in_redis(made: Callable[..., StoreHub], redis_server: RedisServer) -> None:
    """Going through all keys to rebuild an index, with each of them, was one."""
    async with made("redis") as hub:
        for number in range(OTHERS):
            hub.add(f"client-{number}", PASSWORD)
        hub.hub.db.store._compare_at = float("inf")  # type: ignore[attr-defined]
        await hub.hub.refresh()
        before, bytes_before = commands(redis_server), sent(redis_server)
        sockets = await asyncio.gather(*(hub.raw(f"nobody-has-{number}") for number in range(STRANGERS)))
        for one in sockets:
            await closed(one)
        after, bytes_after = commands(redis_server), sent(redis_server)
        asked = {name for name, calls in after.items() if calls > before.get(name, 0)}
        assert "mget" in asked
        assert asked <= {"mget", "info", "ping", "hello", "client|setinfo", "select"}
        assert bytes_after - bytes_before < 100 * OTHERS, "not even a third of what is known of each client"


def commands(server: RedisServer) -> dict[str, int]:
    """How often each command was given to it so far."""
    found = server.client().info("commandstats")
    return {name.removeprefix("cmdstat_"): about["calls"] for name, about in found.items()}


def sent(server: RedisServer) -> int:
    """How many bytes it has answered so far."""
    return int(server.client().info("stats")["total_net_output_bytes"])
