"""A hub in a cluster finds its clients in Redis, and waits for them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from helpers.processes import PATIENCE_S, Children, wait_until
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.cluster import joining
from hivemind_core.cluster.joining import open_clients
from hivemind_core.config import Config, load_config
from hivemind_core.storage import StorageError

PASSWORD = "r3dis-word"


@pytest.fixture
def server(children: Children) -> RedisServer:
    return RedisServer(children, RedisSetup(password=PASSWORD))


def config(folder: Path, server: RedisServer, password: str = PASSWORD) -> Config:
    path = folder / "server.json"
    block = {"url": f"redis://127.0.0.1:{server.port}/0", "password": password}
    path.write_text(json.dumps({"cluster": block}), "utf-8")
    return load_config(path)


def test_it_waits_while_redis_is_away(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joining, "LOOK_AGAIN_S", 0.05)
    server.kill()
    opened = []
    opening = threading.Thread(target=lambda: opened.append(open_clients(config(tmp_path, server))))
    opening.start()
    wait_until(lambda: "The hub waits for its clients" in caplog.text, PATIENCE_S, "the line that says so")
    server.start()
    opening.join(PATIENCE_S)
    (db,) = opened
    assert len(db) == 0
    db.close()
    assert caplog.text.count("The hub waits for its clients") == 1


def test_it_does_not_wait_where_that_would_not_help(server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="password"):
        open_clients(config(tmp_path, server, "another"))
