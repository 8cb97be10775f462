"""The mailbox as it runs: every request is answered, in order, whatever the store does."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from helpers.mailbox_stores import KINDS, LETTER, NOW, MailboxPlace, place
from helpers.processes import Children
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core import mailbox_redis, mailbox_service, mailbox_store
from hivemind_core.cluster_config import ClusterConfig
from hivemind_core.config import load_config
from hivemind_core.mailbox import MAX_PAYLOAD_BYTES, Limits, name_of
from hivemind_core.mailbox_config import MailboxConfig
from hivemind_core.mailbox_redis import RedisMailboxStore
from hivemind_core.mailbox_service import DepositStore, Mailbox, open_mailbox
from hivemind_core.mailbox_store import MailboxStore

NODE = "-----BEGIN PUBLIC KEY-----"
COLLECT = {"cmd": "collect"}


def deposit(target: str = "bob", **fields: Any) -> dict[str, Any]:
    return {"cmd": "deposit", "target_key": target, "payload": LETTER, **fields}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mailbox.db"


@pytest.fixture(params=KINDS)
def kept_in(request: pytest.FixtureRequest, tmp_path: Path) -> MailboxPlace:
    return place(request.param, tmp_path, request)


@asynccontextmanager
async def running(opened: Callable[[], DepositStore], **options: Any) -> AsyncIterator[Mailbox]:
    mailbox = Mailbox(opened, NODE, **options)
    await mailbox.start()
    try:
        yield mailbox
    finally:
        await mailbox.stop()


async def collected(mailbox: Mailbox, key: str = "bob") -> list[str]:
    reply = await mailbox.handle(key, COLLECT, NOW)
    return [message["deposit_id"] for message in reply["messages"]]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_message_from_one_to_another(kept_in: MailboxPlace) -> None:
    async with running(kept_in.open) as mailbox:
        left = await mailbox.handle("alice", deposit(), NOW)
        assert left == {"status": "ok", "deposit_id": left["deposit_id"], "mailbox_node": NODE}
    async with running(kept_in.open) as mailbox:
        message = {"deposit_id": left["deposit_id"], "payload": LETTER}
        expected = {"status": "ok", "messages": [message], "mailbox_node": NODE}
        assert await mailbox.handle("bob", COLLECT, NOW) == expected
        assert await mailbox.handle("bob", COLLECT, NOW) == expected
        done = {"cmd": "ack", "deposit_ids": [left["deposit_id"]]}
        assert (await mailbox.handle("alice", done, NOW))["removed"] == 0
        assert await mailbox.handle("bob", done, NOW) == {"status": "ok", "removed": 1, "mailbox_node": NODE}
        assert await collected(mailbox) == []


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("alice", {"cmd": "x"}, "unknown_command"),
        ("alice", None, "unknown_command"),
        ("alice", deposit(""), "missing_fields"),
        ("alice", deposit(ttl=0), "invalid_ttl"),
        ("alice", deposit(payload="x"), "invalid_payload"),
        ("alice", deposit(payload='{"msg_type":"bus","payload":{}}'), "payload_must_be_intercom"),
        ("alice", deposit(payload="x" * (MAX_PAYLOAD_BYTES + 1)), "payload_too_large"),
        ("", COLLECT, "no_client_identity"),
        ("", deposit(), "no_client_identity"),
    ],
)
async def test_what_is_refused(kept_in: MailboxPlace, key: str, body: Any, reason: str) -> None:
    async with running(kept_in.open) as mailbox:
        assert await mailbox.handle(key, body, NOW) == {"status": "error", "reason": reason, "mailbox_node": NODE}
        assert mailbox.refused.of(reason) == 1


@pytest.mark.parametrize(
    ("limits", "targets", "reason"),
    [
        (Limits(per_box=1), ["bob", "bob"], "mailbox_full"),
        (Limits(per_sender=1), ["bob", "carol"], "too_many_deposits"),
        (Limits(boxes=1), ["bob", "carol"], "too_many_mailboxes"),
    ],
)
async def test_limits_and_the_time_they_end(
    kept_in: MailboxPlace, limits: Limits, targets: list[str], reason: str
) -> None:
    first, second = targets
    async with running(kept_in.open, limits=limits) as mailbox:
        await mailbox.handle("alice", deposit(first, ttl=10), NOW)
        assert (await mailbox.handle("alice", deposit(second), NOW + 9))["reason"] == reason
        assert (await mailbox.handle("alice", deposit(second), NOW + 10))["status"] == "ok"
        assert mailbox.refused.of(reason) == 1


@pytest.mark.parametrize("system", [NOW + 7 * 86_400, NOW, NOW - 7 * 86_400], ids=["ahead", "same", "behind"])
async def test_a_clock_that_is_set_right_ends_nothing_that_came_before_it_was_believed(
    kept_in: MailboxPlace, system: float
) -> None:
    """A machine without a battery for its clock begins some days ago, and knows better a minute later."""
    async with running(kept_in.open, clock=lambda: system) as mailbox:
        left = await mailbox.handle("alice", deposit(ttl=60), NOW)
        believed = max(system, NOW)
        found = await mailbox.handle("bob", COLLECT, believed + 59)
        assert [message["deposit_id"] for message in found["messages"]] == [left["deposit_id"]]
        assert (await mailbox.handle("bob", COLLECT, believed + 60))["messages"] == []


async def test_nothing_tells_which_keys_there_are(path: Path) -> None:
    async with running(partial(MailboxStore, path)) as mailbox:
        known, unknown = [await mailbox.handle("alice", deposit(key), NOW) for key in ("bob", "nobody")]
        assert known.keys() == unknown.keys()
    content = b"".join(file.read_bytes() for file in path.parent.glob("mailbox.db*"))
    assert name_of("bob").encode() in content
    assert b"alice" not in content
    assert b"nobody" not in content


async def test_replies_come_in_the_order_of_the_requests(kept_in: MailboxPlace) -> None:
    """Nothing in a reply tells which request it answers, so a refusal must not overtake what takes longer."""
    bodies = [deposit(), {"cmd": "x"}, COLLECT, deposit(payload="x"), deposit(), {"cmd": "ack"}] * 5
    answered: list[int] = []
    async with running(kept_in.open) as mailbox:

        async def ask(number: int, body: Any) -> None:
            await mailbox.handle("alice", body, NOW)
            answered.append(number)

        await asyncio.gather(*(ask(number, body) for number, body in enumerate(bodies)))
    assert answered == list(range(len(bodies)))


async def test_one_who_asks_too_much_at_once_is_turned_away_and_nobody_else(kept_in: MailboxPlace) -> None:
    many = mailbox_service.MAX_WAITING_EACH
    async with running(kept_in.open) as mailbox:
        greedy = [mailbox.handle("greedy", deposit(), NOW) for _ in range(many + 5)]
        modest = mailbox.handle("modest", deposit(), NOW)
        *replies, other = await asyncio.gather(*greedy, modest)
        assert [reply["status"] for reply in replies] == ["ok"] * many + ["error"] * 5
        assert {reply["reason"] for reply in replies[many:]} == {"mailbox_error"}
        assert other["status"] == "ok"
        assert (await mailbox.handle("greedy", deposit(), NOW))["status"] == "ok"


async def test_the_greedy_leave_room_for_the_first_request_of_everybody_else(kept_in: MailboxPlace) -> None:
    each, most = mailbox_service.MAX_WAITING_EACH, mailbox_service.MAX_WAITING
    async with running(kept_in.open) as mailbox:
        greedy = [
            mailbox.handle(f"greedy {number}", {"cmd": "collect"}, NOW) for _ in range(each) for number in range(9)
        ]
        modest = [mailbox.handle("modest", {"cmd": "collect"}, NOW) for _ in range(2)]
        replies = [reply["status"] for reply in await asyncio.gather(*greedy, *modest)]
        assert replies == ["ok"] * most + ["error"] * (9 * each - most) + ["ok", "error"]


async def test_the_loop_goes_on_while_the_file_is_locked(path: Path) -> None:
    async with running(partial(MailboxStore, path)) as mailbox:
        with locked(path):
            asked = asyncio.ensure_future(mailbox.handle("alice", deposit(), NOW))
            for _ in range(20):
                await asyncio.sleep(0.001)
                assert not asked.done()
        assert (await asked)["status"] == "ok"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


async def test_a_locked_file_is_told_once_and_nothing_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mailbox_store, "BUSY_TIMEOUT_S", 0.02)
    caplog.set_level(logging.INFO)
    async with running(partial(MailboxStore, path)) as mailbox:
        kept = (await mailbox.handle("alice", deposit(), NOW))["deposit_id"]
        with locked(path):
            for _ in range(3):
                failed = await mailbox.handle("alice", deposit(), NOW)
                assert failed == {"status": "error", "reason": "mailbox_error", "mailbox_node": NODE}
                assert await collected(mailbox) == [kept]
            assert errors(caplog) == [
                f"Could not write the mailbox {path}: database is locked."
                " Another process keeps it locked: end that one."
                " What needs it is answered mailbox_error; what waits in it is left there."
            ]
        assert (await mailbox.handle("alice", deposit(), NOW))["status"] == "ok"
        assert caplog.records[-1].getMessage() == f"the mailbox {path} works again"
        assert len(errors(caplog)) == 1


async def test_a_file_that_is_none_is_left_as_it_is_and_tried_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    treasure = b"something of great value"
    await asyncio.to_thread(path.write_bytes, treasure)
    async with running(partial(MailboxStore, path)) as mailbox:
        assert len(errors(caplog)) == 1
        assert f"Could not open the mailbox {path}" in errors(caplog)[0]
        for body in (deposit(), COLLECT, {"cmd": "ack", "deposit_ids": []}):
            assert (await mailbox.handle("alice", body, NOW))["reason"] == "mailbox_error"
        assert (await mailbox.handle("alice", {"cmd": "x"}, NOW))["reason"] == "unknown_command"
        assert await asyncio.to_thread(path.read_bytes) == treasure
        await asyncio.to_thread(path.unlink)
        assert (await mailbox.handle("alice", deposit(), NOW))["status"] == "ok"


async def test_a_redis_that_is_away_is_told_once_and_nothing_is_lost(
    children: Children, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mailbox_redis, "REST_S", 0.0)
    caplog.set_level(logging.INFO)
    server = await asyncio.to_thread(RedisServer, children, RedisSetup(appendonly=True))
    config = ClusterConfig(port=server.port)
    where = f"redis://127.0.0.1:{server.port}/0"
    async with running(partial(RedisMailboxStore, config)) as mailbox:
        kept = (await mailbox.handle("alice", deposit(), NOW))["deposit_id"]
        await asyncio.to_thread(server.kill)
        failed = {"status": "error", "reason": "mailbox_error", "mailbox_node": NODE}
        for _ in range(3):
            assert await mailbox.handle("alice", deposit(), NOW) == failed
            assert await mailbox.handle("bob", COLLECT, NOW) == failed
        assert [error.partition(" See ")[0] for error in errors(caplog)] == [
            f"Could not {doing} the mailbox: The cluster's Redis at {where} refuses connections."
            for doing in ("write", "read")
        ]
        await asyncio.to_thread(server.start)
        assert await collected(mailbox) == [kept]
        assert caplog.records[-1].getMessage() == f"the mailbox in Redis at {where} works again"


async def test_a_stopped_mailbox_answers_too(kept_in: MailboxPlace) -> None:
    async with running(kept_in.open) as mailbox:
        pass
    await mailbox.stop()
    assert (await mailbox.handle("alice", deposit(), NOW))["reason"] == "mailbox_error"


async def test_what_was_begun_is_finished_before_the_end(kept_in: MailboxPlace) -> None:
    mailbox = Mailbox(kept_in.open, NODE)
    await mailbox.start()
    asked = [asyncio.ensure_future(mailbox.handle("alice", deposit(), NOW)) for _ in range(10)]
    await asyncio.sleep(0)
    await mailbox.stop()
    assert {(await reply)["status"] for reply in asked} == {"ok"}


# --- what a released hub kept -----------------------------------------------------------------------------------

Write = Callable[[Any], Path]


@pytest.fixture
def released(tmp_path: Path) -> Write:
    file = tmp_path / "rendezvous.json"

    def write(document: Any) -> Path:
        file.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
        return file

    return write


async def test_what_a_released_hub_kept_is_taken_over_once(kept_in: MailboxPlace, released: Write) -> None:
    entry = {"deposit_id": "id", "payload": LETTER, "expires_at": NOW + 10}
    file = released({name_of("bob"): [entry, {**entry, "deposit_id": "late", "expires_at": NOW}, {}]})
    before = file.read_bytes()
    async with running(kept_in.open, released=file) as mailbox:
        assert await collected(mailbox) == ["id"]
        assert (await mailbox.handle("bob", {"cmd": "ack", "deposit_ids": ["id"]}, NOW))["removed"] == 1
    async with running(kept_in.open, released=file) as mailbox:
        assert await collected(mailbox) == []
    assert file.read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"x": 1}', "[" * 100_000])
async def test_a_file_that_cannot_be_read_is_left_and_harms_nothing(
    kept_in: MailboxPlace, released: Write, text: str
) -> None:
    file = released(text)
    async with running(kept_in.open, released=file) as mailbox:
        assert (await mailbox.handle("alice", deposit(), NOW))["status"] == "ok"
    assert file.read_text("utf-8") == text


async def test_one_that_is_mended_is_taken_over_after_all(
    kept_in: MailboxPlace, released: Write, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(kept_in.open, released=released("{")):
        assert "is not taken over" in caplog.text
    file = released({name_of("bob"): [{"deposit_id": "id", "payload": LETTER, "expires_at": NOW + 10}]})
    async with running(kept_in.open, released=file) as mailbox:
        assert await collected(mailbox) == ["id"]


async def test_files_of_hubs_of_a_cluster_are_known_by_what_is_in_them(
    redis_server: RedisServer, released: Write
) -> None:
    """They have the same path, each on its own machine; and one machine may have been copied from another."""
    opened = partial(RedisMailboxStore, ClusterConfig(port=redis_server.port))
    for left in ("first", "second", "first"):
        file = released({name_of("bob"): [{"deposit_id": left, "payload": LETTER, "expires_at": NOW + 10}]})
        async with running(opened, released=file) as mailbox:
            pass
    async with running(opened) as mailbox:
        assert await collected(mailbox) == ["first", "second"]


async def test_it_is_taken_over_once_redis_is_there(
    children: Children, released: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_redis, "REST_S", 0.0)
    file = released({name_of("bob"): [{"deposit_id": "id", "payload": LETTER, "expires_at": NOW + 10}]})
    server = await asyncio.to_thread(RedisServer, children)
    await asyncio.to_thread(server.stop)
    async with running(partial(RedisMailboxStore, ClusterConfig(port=server.port)), released=file) as mailbox:
        assert (await mailbox.handle("bob", COLLECT, NOW))["reason"] == "mailbox_error"
        await asyncio.to_thread(server.start)
        assert await collected(mailbox) == ["id"]


# --- from server.json -------------------------------------------------------------------------------------------


async def test_it_is_where_the_hub_keeps_its_data(own_home: Path) -> None:
    assert open_mailbox(MailboxConfig(), NODE) is None
    config = load_config(overrides={"rendezvous": {"enabled": True, "max_pending_per_mailbox": 1}}).rendezvous
    mailbox = open_mailbox(config, NODE)
    assert mailbox is not None
    await mailbox.start()
    assert (own_home / "data" / "hivemind-core" / "mailbox.db").exists()
    await mailbox.handle("alice", deposit(), NOW)
    assert (await mailbox.handle("alice", deposit(), NOW))["reason"] == "mailbox_full"
    await mailbox.stop()


async def test_that_of_a_cluster_is_in_its_redis(own_home: Path, redis_server: RedisServer) -> None:
    config = MailboxConfig(enabled=True, limits=Limits(per_box=1))
    hubs = [open_mailbox(config, NODE, ClusterConfig(port=redis_server.port)) for _ in range(2)]
    for hub in hubs:
        assert hub is not None
        await hub.start()
    first, second = (hub for hub in hubs if hub is not None)
    left = await first.handle("alice", deposit(), NOW)
    assert await collected(second) == [left["deposit_id"]]
    assert (await second.handle("alice", deposit(), NOW))["reason"] == "mailbox_full"
    assert not (own_home / "data" / "hivemind-core" / "mailbox.db").exists()
    await first.stop()
    await second.stop()
