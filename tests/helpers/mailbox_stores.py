"""The stores of a mailbox, for what all of them must do: opened, written to, and looked into."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_core.cluster_config import ClusterConfig
from hivemind_core.mailbox import Deposit, Limits, Refused
from hivemind_core.mailbox_redis import RedisMailboxStore
from hivemind_core.mailbox_service import DepositStore
from hivemind_core.mailbox_store import MailboxStore

from .redis_server import RedisServer

NOW = 1_790_000_000.0
Totals = dict[str, tuple[int, int]]
"""Box -> how many messages wait, and their bytes; '' for all."""


def sealed(size: int = 0) -> str:
    """A message as it is kept."""
    return HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "x" * size}).serialize()


LETTER = sealed()


def leave(store: DepositStore, box: str, sender: str = "alice", now: float = NOW, **deposit: object) -> str:
    """Deposit something, and return its id or why it was not taken."""
    fields = {"payload": LETTER, **deposit}
    done = store.deposit(sender, Deposit(box, **fields), Limits(), now)  # type: ignore[arg-type]
    return done.reason if isinstance(done, Refused) else done


def waiting(store: DepositStore, box: str, now: float = NOW) -> list[str]:
    """The ids of what waits in a box."""
    return [message.deposit_id for message in store.collect(box, now)]


class MailboxPlace(NamedTuple):
    """Where the deposits of a test are."""

    open: Callable[[], DepositStore]
    """As another process would."""
    totals: Callable[[], tuple[Totals, Totals]]
    """As they are noted, and as they are counted."""


def place(kind: str, folder: Path, request: pytest.FixtureRequest) -> MailboxPlace:
    """A place of a kind, with nothing in it yet."""
    if kind == "sqlite":
        path = folder / "data" / "mailbox.db"
        return MailboxPlace(partial(MailboxStore, path), partial(_totals_in_file, path))
    server: RedisServer = request.getfixturevalue("redis_server")
    config = ClusterConfig(port=server.port)
    return MailboxPlace(partial(RedisMailboxStore, config), partial(totals_in_redis, server.client(), config))


KINDS = ("sqlite", "redis")


def _totals_in_file(path: Path) -> tuple[Totals, Totals]:
    with closing(sqlite3.connect(path)) as db:
        noted = db.execute("SELECT * FROM boxes UNION SELECT '', sum(pending), sum(bytes) FROM boxes").fetchall()
        rows = "SELECT box, count(*), sum(size) FROM deposits GROUP BY box"
        counted = db.execute(f"{rows} UNION SELECT '', count(*), sum(size) FROM deposits").fetchall()
    found = [{box: (many or 0, size or 0) for box, many, size in table} for table in (noted, counted)]
    return found[0], found[1]


def totals_in_redis(client: redis.Redis, config: ClusterConfig) -> tuple[Totals, Totals]:
    """Of boxes without bytes, and of senders, too."""

    def key(name: str) -> str:
        return config.key("mailbox", name)

    messages, about = client.hgetall(key("messages")), client.hgetall(key("about"))
    rows = {number: json.loads(text) for number, text in about.items()}
    assert messages.keys() == rows.keys() == set(client.zrange(key("ends"), 0, -1))
    assert client.zrange(key("order"), 0, -1) == sorted(f"{row[0]}:{number}" for number, row in rows.items())
    counted: Totals = {"": (0, 0)}
    for number, (box, sender, size, *_) in rows.items():
        assert size == len(messages[number].encode())
        for name, amount in ((f"box {box}", 0), (f"sender {sender}", size), ("", size)):
            many, total = counted.get(name, (0, 0))
            counted[name] = (many + 1, total + amount)
    boxes, senders, bytes_of = (client.hgetall(key(name)) for name in ("boxes", "senders", "sender_bytes"))
    assert senders.keys() == bytes_of.keys()
    noted: Totals = {"": (len(rows), int(client.hget(key("totals"), "bytes") or 0))}
    noted |= {f"box {box}": (int(many), 0) for box, many in boxes.items()}
    noted |= {f"sender {sender}": (int(many), int(bytes_of[sender])) for sender, many in senders.items()}
    return noted, counted
