from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from hivemind_bus_client.link import Refused
from hivemind_core.greeting import MAX_LEGACY_FRAME_BYTES
from hivemind_core.admission import Visitor, parse_token
from hivemind_core.clients import Client
from hivemind_core.storage import StorageError
from hivemind_core.testing import MemoryHive


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


async def test_whose_key_it_is() -> None:
    async with MemoryHive() as hive:
        row = hive.add_client("kitchen")
        found = await hive.hub.identify(token(f"ua:{row.api_key}"))
        assert found == Visitor(row, "ua", MAX_LEGACY_FRAME_BYTES)
        bare = hive.add_client("bare", password=None)
        for text, code in (
            ("nonsense", "invalid_authorization"),
            (token("ua:unknown"), "invalid_key"),
            (token("ua:revoked"), "invalid_key"),
            (token(f"ua:{bare.api_key}"), "no_password"),
        ):
            refusal = await hive.hub.identify(text)
            assert isinstance(refusal, Refused)
            assert refusal.code == code


async def test_a_client_added_by_another_process_is_known_at_once() -> None:
    async with MemoryHive() as hive:
        from hivemind_core.database import ClientDatabase
        from hivemind_core.storage.sqlite import SQLiteStore

        elsewhere = ClientDatabase(SQLiteStore(hive.db.store.path))  # type: ignore[attr-defined]
        row = elsewhere.add(Client(0, "fresh-key", "fresh", password="p"))
        elsewhere.close()
        assert await hive.hub.identify(token("ua:fresh-key")) == Visitor(row, "ua", MAX_LEGACY_FRAME_BYTES)


async def test_a_database_that_fails_never_looks_like_an_unknown_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryHive() as hive:
        row = hive.add_client("kitchen")

        def fails() -> set[int]:
            raise StorageError("locked")

        monkeypatch.setattr(hive.db, "refresh", fails)
        refusal = await hive.hub.identify(token("ua:unknown"))
        assert isinstance(refusal, Refused)
        assert (refusal.code, refusal.close_code) == ("database_unavailable", 1011)
        known = await hive.hub.identify(token(f"ua:{row.api_key}"))
        assert isinstance(known, Visitor)


async def test_strangers_do_not_make_the_database_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryHive() as hive:
        calls: list[int] = []
        monkeypatch.setattr(hive.db, "refresh", lambda: calls.append(1) or set())
        await asyncio.gather(*(hive.hub.identify(token("ua:unknown")) for _ in range(200)))
        assert len(calls) == 1
        await hive.hub.identify(token("ua:unknown"))
        assert len(calls) == 2


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
        stranger = asyncio.ensure_future(hive.hub.identify(token("ua:unknown")))
        await began.wait()
        row = Client(9, "just-added", "new", password="p")
        monkeypatch.setattr(hive.db, "by_key", lambda key: row if refreshed else None)
        refreshed: list[bool] = []
        monkeypatch.setattr(hive.db, "refresh", lambda: refreshed.append(True) or refresh())
        newcomer = asyncio.ensure_future(hive.hub.identify(token("ua:just-added")))
        gate.set()
        assert isinstance(await stranger, Refused)
        assert await newcomer == Visitor(row, "ua", MAX_LEGACY_FRAME_BYTES)
