from __future__ import annotations

import asyncio
import math
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import MAX_REASON_BYTES, REFUSALS, TRY_AGAIN_LATER, from_close
from hivemind_bus_client.return_hints import wait_in
from hivemind_core.admission import Visitor, parse_token, refused, timed
from hivemind_core.clients import Client
from hivemind_core.config import Config
from hivemind_core.database import ClientDatabase
from hivemind_core.door import MAX_CONNECTIONS_OF_KEY, MAX_HANDSHAKES_OF_KEY
from hivemind_core.greeting import MAX_LEGACY_FRAME_BYTES
from hivemind_core.hub import Clocks, Hub
from hivemind_core.limits import BURST_S, FREE_FAILURES
from hivemind_core.storage import StorageError
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import InlineWorkers, MemoryHive, MemorySatellite, quick_psk

HERE, THERE = "192.0.2.1", "192.0.2.99"


class Wire:
    """A connection of which only the end is of interest."""

    def __init__(self, remote: str) -> None:
        self.remote = remote
        self.closed: tuple[int, str] | None = None

    def send(self, frames: list[bytes | str]) -> None: ...

    def has_room(self, size: int) -> bool:
        return True

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


@pytest.fixture
async def hive() -> AsyncIterator[MemoryHive]:
    async with MemoryHive() as running:
        yield running


@contextmanager
def elsewhere(hive: MemoryHive) -> Iterator[ClientDatabase]:
    """The same database in the hands of another process."""
    other = ClientDatabase(SQLiteStore(hive.db.store.path))  # type: ignore[attr-defined]
    yield other
    other.close()


async def code(hive: MemoryHive, text: str, address: str = HERE) -> str:
    """The code of the refusal that a token meets; empty when it is let in."""
    found = await hive.hub.identify(token(text) if ":" in text else text, address)
    return found.code if isinstance(found, Refused) else ""


def token(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_a_token_names_useragent_and_key() -> None:
    assert parse_token(token("ua/1:key")) == ("ua/1", "key")
    assert parse_token(token("ua:key:with:colons")) == ("ua", "key:with:colons")
    assert parse_token(token("olá:ключ")) == ("olá", "ключ")


def test_a_plus_that_the_query_turned_into_a_space_is_a_plus() -> None:
    text = token("aa>:accesskey")
    assert "+" in text
    assert parse_token(text.replace("+", " ")) == ("aa>", "accesskey")


@pytest.mark.parametrize(
    "text",
    ["", "%%%", "anVzdGFrZXk=", token(":x"), token("x:"), token("x"), token("two\nlines:key"), "a", "é", "_-=="],
)
def test_what_is_no_token(text: str) -> None:
    assert parse_token(text) is None


def test_who_is_refused_for_a_while_is_told_when_to_come_back() -> None:
    passing = [row for row in REFUSALS.values() if row.close_code == TRY_AGAIN_LATER]
    own_time = {"too_many_failures", "too_many_messages", "too_many_requests"}
    assert {row.code for row in passing if not row.return_s} == own_time
    for row in passing:
        if row.return_s:
            waits = {wait_in(refused(row.code).reason) for _ in range(200)}
            assert len(waits) > 1, "not all at one moment"
            assert row.return_s / 2 <= min(waits) < max(waits) <= math.ceil(row.return_s * 1.5)
        reason = refused(row.code, 12.3).reason
        assert wait_in(reason) == 13
        assert len(reason.encode()) <= MAX_REASON_BYTES
        assert from_close(row.close_code, reason) == row


@pytest.mark.parametrize("code", sorted(row.code for row in REFUSALS.values() if not row.return_s))
def test_nobody_else_is_told_when(code: str) -> None:
    assert refused(code) == Refused(code, REFUSALS[code].wire_reason)


def test_what_says_when_to_come_back_is_left_as_it_is() -> None:
    assert timed(Refused("busy", "busy, try again in 77 s")).reason == "busy, try again in 77 s"


async def test_the_hub_tells_what_is_left_of_a_wait(hive: MemoryHive) -> None:
    for _ in range(FREE_FAILURES + 3):
        hive.hub.admission.limits.stranger_failed(HERE, hive.clock())
    hive.clock.advance(1.5)
    refusal = await hive.hub.identify(token("ua:unknown"), HERE)
    assert isinstance(refusal, Refused)
    assert refusal.reason == "too many failed attempts, try again in 7 s"
    row = hive.add_client("kitchen")
    for _ in range(FREE_FAILURES + 1):
        hive.hub.admission.limits.failed(row.client_id, HERE, hive.clock())
    refusal = await hive.hub.identify(token(f"ua:{row.api_key}"), HERE)
    assert isinstance(refusal, Refused)
    assert refusal.reason == "too many failed attempts, try again in 2 s"


async def test_whose_key_it_is() -> None:
    async with MemoryHive() as hive:
        row = hive.add_client("kitchen")
        found = await hive.hub.identify(token(f"ua:{row.api_key}"), HERE)
        assert found == Visitor(row, "ua", MAX_LEGACY_FRAME_BYTES)
        bare = hive.add_client("bare", password=None)
        for text, code in (
            ("nonsense", "invalid_authorization"),
            (token("ua:unknown"), "invalid_key"),
            (token("ua:revoked"), "invalid_key"),
            (token(f"ua:{bare.api_key}"), "no_password"),
        ):
            refusal = await hive.hub.identify(text, HERE)
            assert isinstance(refusal, Refused)
            assert refusal.code == code


async def test_a_client_added_by_another_process_is_known_at_once() -> None:
    async with MemoryHive() as hive:
        from hivemind_core.database import ClientDatabase
        from hivemind_core.storage.sqlite import SQLiteStore

        elsewhere = ClientDatabase(SQLiteStore(hive.db.store.path))  # type: ignore[attr-defined]
        row = elsewhere.add(Client(0, "fresh-key", "fresh", password="p"))
        elsewhere.close()
        assert await hive.hub.identify(token("ua:fresh-key"), HERE) == Visitor(row, "ua", MAX_LEGACY_FRAME_BYTES)


async def test_a_database_that_fails_never_looks_like_an_unknown_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryHive() as hive:
        row = hive.add_client("kitchen")

        def fails() -> set[int]:
            raise StorageError("locked")

        monkeypatch.setattr(hive.db, "refresh", fails)
        refusal = await hive.hub.identify(token("ua:unknown"), HERE)
        assert isinstance(refusal, Refused)
        assert (refusal.code, refusal.close_code) == ("database_unavailable", 1011)
        known = await hive.hub.identify(token(f"ua:{row.api_key}"), HERE)
        assert isinstance(known, Visitor)


async def test_strangers_do_not_make_the_database_work(hive: MemoryHive, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(hive.db, "refresh", lambda: calls.append(1) or set())
    await asyncio.gather(*(hive.hub.identify(token("ua:unknown"), HERE) for _ in range(200)))
    assert len(calls) == 1
    assert await code(hive, "ua:unknown") == "too_many_failures"
    assert len(calls) == 1
    assert await code(hive, "ua:unknown", THERE) == "invalid_key"
    assert len(calls) == 2


async def test_an_unknown_key_reads_no_row(hive: MemoryHive) -> None:
    """W24: what an unknown key costs is one question whether anybody wrote."""
    statements: list[str] = []
    hive.db.store._db.set_trace_callback(statements.append)  # type: ignore[attr-defined]
    for number in range(3):
        assert await code(hive, f"ua:unknown{number}", f"192.0.2.{number}") == "invalid_key"
    assert statements == ["PRAGMA data_version"] * 3


async def test_an_address_that_fails_waits_and_its_known_keys_do_not(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    codes = [await code(hive, "unreadable") for _ in range(FREE_FAILURES + 2)]
    assert codes == ["invalid_authorization"] * FREE_FAILURES + ["too_many_failures"] * 2
    assert await code(hive, f"ua:{row.api_key}") == ""
    assert await code(hive, "ua:unknown", THERE) == "invalid_key"
    hive.clock.advance(1)
    assert await code(hive, "ua:unknown") == "invalid_key"


async def test_a_client_that_was_just_added_passes_where_others_wait(hive: MemoryHive) -> None:
    for _ in range(FREE_FAILURES):
        await code(hive, "ua:fresh-key")
    with elsewhere(hive) as other:
        other.add(Client(0, "fresh-key", "fresh", password="p"))
    assert await code(hive, "ua:fresh-key") == "too_many_failures"
    await hive.hub.refresh()
    assert await code(hive, "ua:fresh-key") == ""


async def test_wrong_passwords_slow_the_key_at_their_address_only(hive: MemoryHive) -> None:
    row, other = hive.add_client("kitchen"), hive.add_client("hall")
    for _ in range(FREE_FAILURES):
        attempt = await hive.join("ua", client=row, password="wrong")
        attempt.leave()
    assert await code(hive, f"ua:{row.api_key}", "memory") == "too_many_failures"
    assert await code(hive, f"ua:{row.api_key}", THERE) == ""
    assert await code(hive, f"ua:{other.api_key}", "memory") == ""
    hive.clock.advance(1)
    assert await code(hive, f"ua:{row.api_key}", "memory") == ""
    await hive.join("ua", client=row)
    hive.hub.closed((await hive.join("ua", client=row, password="wrong")).peer)
    assert await code(hive, f"ua:{row.api_key}", "memory") == ""


async def test_an_operators_cure_acts_at_once(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    for _ in range(FREE_FAILURES):
        (await hive.join("ua", client=row, password="wrong")).leave()
    assert await code(hive, f"ua:{row.api_key}", "memory") == "too_many_failures"
    with elsewhere(hive) as other:
        other.update(row.client_id, {"password": "a new one"})
    await hive.hub.refresh()
    assert await code(hive, f"ua:{row.api_key}", "memory") == ""


async def test_leaving_while_the_hub_derives_the_key_is_no_failure(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    gate = asyncio.Event()

    async def slowly(call: Any, *args: Any, **kwargs: Any) -> Any:
        await gate.wait()
        return call(*args, **kwargs)

    hive.hub.workers.derive = slowly  # type: ignore[method-assign]
    for _ in range(FREE_FAILURES + 1):
        (await hive.join("ua", client=row)).leave()
    assert await code(hive, f"ua:{row.api_key}", "memory") == ""
    gate.set()
    await hive.settle()


async def test_connections_of_one_key_are_limited(hive: MemoryHive) -> None:
    row, other = hive.add_client("bridge"), hive.add_client("hall")
    for _ in range(MAX_CONNECTIONS_OF_KEY):
        hive.hub.door.handshaking.discard(hive.hub.connect(Wire(THERE), Visitor(row, "ua")))
    assert await code(hive, f"ua:{row.api_key}") == "too_many_connections"
    assert await code(hive, f"ua:{other.api_key}") == ""


async def test_connections_from_one_address_are_limited_but_not_from_this_machine(tmp_path: Path) -> None:
    config = Config(path=tmp_path / "server.json", max_connections_per_address=2)
    async with MemoryHive(config) as hive:
        rows = [hive.add_client(str(number)) for number in range(3)]
        for row in rows[:2]:
            for remote in (HERE, "127.0.0.1", "2001:db8::1"):
                last = hive.hub.connect(Wire(remote), Visitor(row, "ua"))
        newcomer = f"ua:{rows[2].api_key}"
        assert await code(hive, newcomer, HERE) == "too_many_connections"
        assert await code(hive, newcomer, "2001:db8::2") == "too_many_connections"
        assert await code(hive, newcomer, "127.0.0.1") == ""
        assert await code(hive, newcomer, THERE) == ""
        hive.hub.closed(last)
        assert await code(hive, newcomer, "2001:db8::2") == ""


async def test_unfinished_handshakes_elsewhere_do_not_lock_a_device_out_where_it_lives(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    (await hive.join("ua", client=row)).leave()
    for number in range(MAX_HANDSHAKES_OF_KEY):
        hive.hub.connect(Wire(f"198.51.100.{number % 250}"), Visitor(row, "ua"))
    assert await code(hive, f"ua:{row.api_key}", THERE) == "busy"
    assert await code(hive, f"ua:{row.api_key}", "memory") == ""


class Counting(InlineWorkers):
    """Counts what is done off the loop, by name."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def database(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls[call.__name__] += 1
        return await super().database(call, *args, **kwargs)


async def test_a_known_key_costs_neither_a_judgement_nor_a_derivation(tmp_path: Path) -> None:
    async with MemoryHive(Config(path=tmp_path / "server.json")) as hive:
        row = hive.add_client("kitchen", password="orbital-walnut-cipher-93-lantern")
        derived: list[str] = []

        def derive(password: str, node_id: str) -> bytes:
            derived.append(password)
            return quick_psk(password, node_id)

        workers, device = Counting(), MemorySatellite(hive, row.password or "")
        for restarts in range(2):
            hive.hub = Hub(
                hive.hub.config,
                hive.identity,
                hive.db,
                hive.agent,
                workers=workers,
                clocks=Clocks(hive.clock, hive.clock),
                derive=derive,
            )
            for connections in range(3):
                await hive.connect(device, row, "ua")
                assert device.closed is None, (restarts, connections)
                device.leave()
        assert derived == [row.password]
        assert workers.calls["is_strong"] == 1


async def test_a_burst_of_refusals_is_logged_once(hive: MemoryHive, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        refusal = await hive.hub.identify(token("ua:unknown"), THERE)
        assert isinstance(refusal, Refused)
        hive.hub.turn_away(Wire(THERE), refusal)
    lines = [record.getMessage() for record in caplog.records]
    reason = "too many failed attempts, try again in 1 s"
    assert lines == [
        f"refused {THERE}: {REFUSALS['invalid_key']} [invalid_key]",
        f"refused {THERE}: {REFUSALS['too_many_failures']} [too_many_failures: {reason}]",
    ]
    assert len(hive.hub.rejections.recent()) == 2
    hive.clock.advance(BURST_S)
    hive.hub.tick()
    more = [record.getMessage() for record in caplog.records][2:]
    assert more == [
        f"refused again, {FREE_FAILURES - 1} times: {THERE}, invalid_key",
        f"refused again, {20 - FREE_FAILURES - 1} times: {THERE}, too_many_failures",
    ]


async def test_what_an_unknown_key_brought_in_reaches_the_open_connections(hive: MemoryHive) -> None:
    """The look that a stranger causes must not swallow somebody's deletion."""
    kitchen = await hive.join("kitchen")
    with elsewhere(hive) as other:
        other.delete(kitchen.peer.client.client_id)
    assert await code(hive, "ua:unknown", THERE) == "invalid_key"
    await hive.hub.refresh()
    assert kitchen.closed == (1008, "invalid api key")


async def test_a_client_deleted_between_its_request_and_its_greeting_gets_nothing(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    found = await hive.hub.identify(token(f"ua:{row.api_key}"), HERE)
    assert isinstance(found, Visitor)
    with elsewhere(hive) as other:
        other.delete(row.client_id)
    await hive.hub.refresh()
    wire = Wire(HERE)
    hive.hub.connect(wire, found)
    assert wire.closed == (1008, "invalid api key")
    assert hive.hub.peers.connections() == []


async def test_who_asks_while_a_look_is_under_way_gets_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryHive() as hive:
        refresh, began = hive.db.refresh, asyncio.Event()
        gate = asyncio.Event()

        async def slowly(call: Any, *args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            began.set()
            await gate.wait()
            return result

        monkeypatch.setattr(hive.hub.workers, "database", slowly)
        stranger = asyncio.ensure_future(hive.hub.identify(token("ua:unknown"), HERE))
        await began.wait()
        row = Client(9, "just-added", "new", password="p")
        monkeypatch.setattr(hive.db, "by_key", lambda key: row if refreshed else None)
        refreshed: list[bool] = []
        monkeypatch.setattr(hive.db, "refresh", lambda: refreshed.append(True) or refresh())
        newcomer = asyncio.ensure_future(hive.hub.identify(token("ua:just-added"), HERE))
        gate.set()
        assert isinstance(await stranger, Refused)
        assert await newcomer == Visitor(row, "ua", MAX_LEGACY_FRAME_BYTES)
