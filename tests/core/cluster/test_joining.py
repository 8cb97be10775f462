"""A hub in a cluster finds its clients in Redis, and waits for them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from helpers.processes import PATIENCE_S, Children, wait_until
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.cluster import joining
from hivemind_core.cluster.joining import when_redis_answers
from hivemind_core.config import Config, load_config
from hivemind_core.database import ClientDatabase, open_database
from hivemind_core.storage import StorageError

PASSWORD = "r3dis-word"
WAITS = "The hub waits for its clients"


@pytest.fixture
def server(children: Children) -> RedisServer:
    return RedisServer(children, RedisSetup(password=PASSWORD))


def config(folder: Path, server: RedisServer, password: str = PASSWORD) -> Config:
    path = folder / "server.json"
    block = {"url": f"redis://127.0.0.1:{server.port}/0", "password": password}
    path.write_text(json.dumps({"cluster": block}), "utf-8")
    return load_config(path)


async def opened(settings: Config, stop: asyncio.Event | None = None) -> ClientDatabase | None:
    return await when_redis_answers(lambda: open_database(settings), settings, stop or asyncio.Event())


async def said(text: str, caplog: pytest.LogCaptureFixture) -> None:
    await asyncio.to_thread(wait_until, lambda: text in caplog.text, PATIENCE_S, "the line that says so")


async def test_it_waits_while_redis_is_away(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joining, "LOOK_AGAIN_S", 0.05)
    server.kill()
    opening = asyncio.ensure_future(opened(config(tmp_path, server)))
    await said(WAITS, caplog)
    server.start()
    db = await asyncio.wait_for(opening, PATIENCE_S)
    assert db is not None
    assert len(db) == 0
    db.close()
    assert caplog.text.count(WAITS) == 1


async def test_it_stops_waiting_when_told_to(
    server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.kill()
    stop = asyncio.Event()
    opening = asyncio.ensure_future(opened(config(tmp_path, server), stop))
    await said(WAITS, caplog)
    stop.set()
    assert await asyncio.wait_for(opening, PATIENCE_S) is None


async def test_it_does_not_wait_where_that_would_not_help(server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="password"):
        await opened(config(tmp_path, server, "another"))
