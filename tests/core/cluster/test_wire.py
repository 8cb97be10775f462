"""Members over a real Redis, whatever happens to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from helpers.processes import Children
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.cluster.outgoing import MAX_FRAMES, UNDELIVERED_S
from hivemind_core.cluster.sealing import Sealer
from hivemind_core.cluster.session import RENEW_S
from hivemind_core.cluster.wire import ClusterWire
from hivemind_core.cluster_config import ClusterConfig

A, B, C = "a" * 16, "b" * 16, "c" * 16
SECRET = bytes(range(32))
PATIENCE_S = 40.0
NOBODY = "0" * 16


class Member:
    """A wire, and what it said."""

    def __init__(self, config: ClusterConfig, hub: str, secret: bytes = SECRET) -> None:
        self.hub = hub
        self.inbox = config.key("inbox", hub)
        self.shift_s = 0.0
        self.wire = ClusterWire(config, secret, hub, clock=lambda: time.monotonic() + self.shift_s)
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.changes: list[bool] = []
        self.undelivered: list[tuple[str, dict[str, Any]]] = []

    async def start(self) -> None:
        await self.wire.start(
            lambda hub, frame: self.received.append((hub, frame)),
            self.changes.append,
            lambda hub, frame: self.undelivered.append((hub, frame)),
        )

    def numbers(self, sender: str) -> list[int]:
        return [frame["n"] for hub, frame in self.received if hub == sender and "n" in frame]

    async def reach(self, other: Member) -> None:
        """Wait until a frame arrives there."""
        mark = {"mark": len(other.received)}
        await until(lambda: self.wire.send(other.hub, mark))
        await until(lambda: (self.hub, mark) in other.received)


async def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    for _ in range(int(patience_s / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    assert condition()


def at(server: RedisServer, **more: Any) -> ClusterConfig:
    return ClusterConfig(host=server.setup.host, port=server.port, password=server.setup.password or None, **more)


@pytest.fixture
def redis(children: Children) -> RedisServer:
    return RedisServer(children)


Make = Callable[..., Awaitable[Member]]


@pytest.fixture
async def join() -> AsyncIterator[Make]:
    members: list[Member] = []

    async def make(config: ClusterConfig, hub: str, secret: bytes = SECRET) -> Member:
        members.append(Member(config, hub, secret))
        await members[-1].start()
        return members[-1]

    yield make
    await asyncio.gather(*(member.wire.stop() for member in members))


async def pair(join: Make, server: RedisServer) -> tuple[Member, Member]:
    return await join(at(server), A), await join(at(server), B)


# --- as it should be ---------------------------------------------------------------------------------------------


async def test_a_member_is_joined_once_it_has_started(redis: RedisServer, join: Make) -> None:
    a = await join(at(redis), A)
    assert a.wire.available
    assert a.changes == [True]
    assert abs(a.wire.time_ms() - time.time() * 1000) < 10_000  # the right unit; a slow machine reads one clock later


async def test_frames_reach_the_member_they_are_for_in_order(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)
    c = await join(at(redis), C)
    for number in range(50):
        assert a.wire.send(B, {"n": number, "text": "é\n"})
        assert c.wire.send(B, {"n": number})
    await until(lambda: len(b.received) == 100)
    assert b.numbers(A) == b.numbers(C) == list(range(50))
    assert (A, {"n": 0, "text": "é\n"}) in b.received
    assert a.received == c.received == []


async def test_what_is_told_reaches_all_others(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)
    c = await join(at(redis), C)
    for number in range(5):
        assert a.wire.tell({"n": number})
    await until(lambda: len(b.received) == len(c.received) == 5)
    assert b.received == c.received == [(A, {"n": number}) for number in range(5)]
    assert a.received == []


async def test_one_that_joins_hears_only_what_is_told_from_then_on(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)
    a.wire.tell({"n": 1})
    await until(lambda: b.numbers(A) == [1])
    c = await join(at(redis), C)
    a.wire.tell({"n": 2})
    await until(lambda: c.numbers(A) == [2])
    assert c.received == [(A, {"n": 2})]


async def test_clusters_of_other_names_or_with_another_secret_are_apart(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)
    other = await join(at(redis, name="other"), C)
    stranger = await join(at(redis), "d" * 16, bytes(32))
    for each in (other, stranger):
        each.wire.tell({"n": 1})
        each.wire.send(A, {"n": 1})
    await b.reach(a)
    assert other.undelivered == []
    assert [hub for hub, _ in a.received] == [B]
    assert [hub for hub, _ in b.received] == []


async def test_twenty_thousand_frames_in_bursts_both_ways(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)

    async def pour(sender: Member, receiver: Member) -> None:
        for number in range(20_000):
            await until(lambda: sender.wire.send(receiver.hub, {"n": number}))  # noqa: B023
            if number % 700 == 0:
                await asyncio.sleep(0)

    await asyncio.gather(pour(a, b), pour(b, a))
    await until(lambda: len(a.received) == len(b.received) == 20_000)
    assert a.numbers(B) == b.numbers(A) == list(range(20_000))
    await until(lambda: redis.call("XLEN", b.inbox) <= 2)
    await asyncio.sleep(0.5)
    assert (len(a.received), len(b.received), a.undelivered) == (20_000, 20_000, [])


async def test_large_frames_travel_up_to_a_bound(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)
    assert a.wire.send(B, {"n": 1, "text": "x" * 11_000_000})
    assert not a.wire.send(B, {"n": 2})
    await until(lambda: b.numbers(A) == [1])
    assert not a.wire.send(B, {"n": 3, "text": "x" * 13_000_000})
    await a.reach(b)
    assert b.numbers(A) == [1]


async def test_what_is_not_json_is_the_callers_mistake(redis: RedisServer, join: Make) -> None:
    a = await join(at(redis), A)
    with pytest.raises(TypeError):
        a.wire.send(B, {"n": object()})
    for hub in (A, "somebody"):
        with pytest.raises(ValueError, match="another member"):
            a.wire.send(hub, {})
    with pytest.raises(ValueError, match="hexadecimal"):
        ClusterWire(at(redis), SECRET, "hub")


async def test_a_handler_that_fails_harms_nothing_else(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    a, b = Member(at(redis), A), Member(at(redis), B)
    heard: list[int] = []

    def receive(hub: str, frame: dict[str, Any]) -> None:
        heard.append(frame["n"])
        raise RuntimeError("as a handler does")

    def changed(available: bool) -> None:
        raise RuntimeError("this one, too")

    await a.start()
    await b.wire.start(receive, changed, receive)
    for number in range(3):
        a.wire.send(B, {"n": number})
    await until(lambda: heard == [0, 1, 2])
    await a.wire.stop()
    await b.wire.stop()
    assert caplog.text.count("RuntimeError: as a handler does") == 3
    assert "this one, too" in caplog.text


async def test_one_that_stops_sends_what_is_queued_and_leaves_nothing(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)
    for number in range(1000):
        a.wire.send(B, {"n": number})
    a.wire.tell({"n": 1000})
    await a.wire.stop()
    assert (a.wire.available, a.changes, a.undelivered) == (False, [True, False], [])
    assert not a.wire.send(B, {"n": 1001})
    await until(lambda: sorted(b.numbers(A)) == list(range(1001)))
    assert not redis.call("EXISTS", a.inbox)
    assert 0 < redis.call("TTL", b.inbox) <= 60


async def test_one_that_stops_reports_what_nobody_took(redis: RedisServer, join: Make) -> None:
    a = await join(at(redis), A)
    a.wire.send(NOBODY, {"n": 1})
    await a.wire.stop()
    assert a.undelivered == [(NOBODY, {"n": 1})]


# --- Redis fails -------------------------------------------------------------------------------------------------


async def test_it_starts_without_redis_and_joins_when_it_comes(redis: RedisServer, join: Make) -> None:
    redis.kill()
    a, b = await pair(join, redis)
    assert (a.wire.available, a.changes) == (False, [])
    assert not a.wire.send(B, {"n": 1})
    assert not a.wire.tell({"n": 1})
    redis.start()
    await a.reach(b)
    assert a.changes == [True]


async def keep_sending(sender: Member, receiver: str, taken: list[int]) -> None:
    for number in range(1_000_000):
        if sender.wire.send(receiver, {"n": number}):
            taken.append(number)
        await asyncio.sleep(0.002)


async def fail(join: Make, server: RedisServer, fault: Callable[[], Awaitable[None]]) -> None:
    """Frames go both ways while it happens; each that was taken is handed over once and in order, or reported."""
    a, b = await pair(join, server)
    taken: dict[str, list[int]] = {A: [], B: []}
    senders = [asyncio.create_task(keep_sending(one, other.hub, taken[one.hub])) for one, other in ((a, b), (b, a))]
    await asyncio.sleep(0.3)
    await fault()
    await until(lambda: a.wire.available and b.wire.available)
    await a.reach(b)
    await b.reach(a)
    for task in senders:
        task.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    await a.reach(b)
    await b.reach(a)
    for sender, receiver in ((a, b), (b, a)):
        assert sender.undelivered == []
        assert receiver.numbers(sender.hub) == taken[sender.hub]


async def test_a_redis_that_is_killed_and_begins_with_nothing_loses_nothing(redis: RedisServer, join: Make) -> None:
    async def fault() -> None:
        redis.kill()
        await asyncio.sleep(1)
        redis.start()

    await fail(join, redis, fault)


async def test_a_redis_that_is_killed_and_keeps_what_it_had_repeats_nothing(children: Children, join: Make) -> None:
    server = RedisServer(children, RedisSetup(appendonly=True))

    async def fault() -> None:
        for _ in range(2):
            server.kill()
            await asyncio.sleep(0.5)
            server.start()
            await asyncio.sleep(0.7)

    await fail(join, server, fault)


async def test_a_redis_that_hangs_is_away_until_it_goes_on(redis: RedisServer, join: Make) -> None:
    async def fault() -> None:
        redis.pause()
        await asyncio.sleep(5)
        redis.resume()

    await fail(join, redis, fault)


async def test_a_redis_that_forgets_everything_while_it_runs_loses_nothing(redis: RedisServer, join: Make) -> None:
    async def fault() -> None:
        redis.call("FLUSHALL")
        await asyncio.sleep(RENEW_S + 1)

    await fail(join, redis, fault)


async def test_connections_that_are_cut_lose_nothing(redis: RedisServer, join: Make) -> None:
    async def fault() -> None:
        for _ in range(5):
            redis.call("CLIENT", "KILL", "TYPE", "normal")
            await asyncio.sleep(0.3)

    await fail(join, redis, fault)


async def test_while_redis_hangs_what_waits_is_bounded_and_nothing_more_is_taken(
    redis: RedisServer, join: Make
) -> None:
    a, b = await pair(join, redis)
    redis.pause()
    taken = [number for number in range(2 * MAX_FRAMES) if a.wire.send(B, {"n": number})]
    assert taken == list(range(MAX_FRAMES))
    await until(lambda: not a.wire.available)
    assert not a.wire.send(B, {"n": -1})
    assert not a.wire.tell({"n": -1})
    redis.resume()
    await a.reach(b)
    assert b.numbers(A) == taken
    assert a.changes == [True, False, True]


async def test_a_redis_without_memory_is_away_until_it_has_some(redis: RedisServer, join: Make) -> None:
    a, b = await pair(join, redis)
    redis.configure("maxmemory", "1kb")
    a.wire.send(B, {"n": 1})
    await until(lambda: not a.wire.available)
    redis.configure("maxmemory", "0")
    await until(lambda: b.numbers(A) == [1])


async def test_a_wrong_password_is_told_without_it(
    children: Children, join: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(children, RedisSetup(password="the right one"))
    config = ClusterConfig(port=server.port, password="the wrong one")
    a = await join(config, A)
    assert not a.wire.available
    assert "`cluster.password`" in caplog.text
    assert "the wrong one" not in caplog.text
    b = await join(at(server), B)
    assert b.wire.available
    server.configure("requirepass", "the wrong one")
    await until(lambda: a.wire.available)


async def test_tls_with_certificates_on_both_sides(children: Children, join: Make) -> None:
    server = RedisServer(children, RedisSetup(tls=True, client_certificates=True, password="secret"))
    files = {"certfile": str(server.certificate), "keyfile": str(server.key)}
    config = at(server, tls=True, ca_certs=str(server.certificate), **files)
    a, b = await join(config, A), await join(config, B)
    await a.reach(b)
    stranger = await join(at(server, tls=True, **files), C)
    assert not stranger.wire.available


async def test_a_unix_socket(children: Children, join: Make) -> None:
    path = children.home("socket").path / "redis.sock"
    RedisServer(children, RedisSetup(settings={"unixsocket": str(path)}))
    config = ClusterConfig(socket_path=str(path))
    a, b = await join(config, A), await join(config, B)
    await a.reach(b)


# --- others fail -------------------------------------------------------------------------------------------------


async def test_a_member_that_is_gone_gets_nothing_more_and_what_was_for_it_is_reported(
    redis: RedisServer, join: Make
) -> None:
    a, b = await pair(join, redis)
    inbox = at(redis).key("inbox", NOBODY)
    redis.call("XADD", inbox, "*", "s", B, "n", "1", "d", "of another")
    for number in range(3):
        a.wire.send(NOBODY, {"n": number})
        await until(lambda expected=number + 2: redis.call("XLEN", inbox) == expected)  # type: ignore[misc]
    a.wire.gone(NOBODY)
    await until(lambda: redis.call("XLEN", inbox) == 1)
    assert a.undelivered == []
    await until(lambda: a.undelivered == [(NOBODY, {"n": number}) for number in range(3)])
    await a.reach(b)


async def test_what_nobody_acknowledges_is_reported(redis: RedisServer, join: Make) -> None:
    a = await join(at(redis), A)
    assert a.wire.send(NOBODY, {"n": 1})
    await asyncio.sleep(0.5)
    assert a.undelivered == []
    a.shift_s = UNDELIVERED_S
    await until(lambda: a.undelivered == [(NOBODY, {"n": 1})])


async def test_forged_entries_change_nothing(redis: RedisServer, join: Make, caplog: pytest.LogCaptureFixture) -> None:
    a, b = await pair(join, redis)
    config = at(redis)
    log = config.key("log")
    for number in range(3):
        a.wire.tell({"n": number})
    a.wire.send(B, {"n": 3})
    copied = redis.client(decode_responses=False)
    await until(lambda: len(b.received) == 4)
    received = list(b.received)
    told = copied.xrange(log)
    sealed = Sealer(bytes(32), config.name, A).seal(b.inbox, 2, bytes(40) + b'{"n":4}')
    forged = [
        {b"s": A, b"n": 2, b"d": b'{"n":4}'},
        {b"s": A, b"n": 2, b"d": sealed},
        {b"s": A, b"n": 10**30, b"d": sealed},
        {b"s": A, b"n": -1, b"d": sealed},
        {b"s": "nobody", b"n": 2, b"d": sealed},
        {b"s": C, b"n": 1, b"d": told[-1][1][b"d"]},
        {b"s": A, b"n": 2, b"d": b"x" * 20_000_000},
        {b"s": A, b"n": 2},
        {b"d": sealed, b"n": 2, b"s": A},
        {b"\xff": b"\xff"},
        *(fields for _, fields in told),
    ]
    for fields in forged:
        copied.xadd(b.inbox, fields)
        copied.xadd(log, fields)
    await a.reach(b)
    await b.reach(a)
    a.wire.tell({"n": 5})
    await until(lambda: (A, {"n": 5}) in b.received)
    assert [each for each in b.received if "mark" not in each[1]] == [*received, (A, {"n": 5})]
    assert a.changes == b.changes == [True]
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert 0 < len(warnings) <= 4


async def test_more_than_can_be_read_at_once_is_read_bit_by_bit(redis: RedisServer, join: Make) -> None:
    one, two = await join(at(redis), A), await join(at(redis), B)
    await one.reach(two)
    for kind in "abcd":
        for number in range(7):
            assert one.wire.send(B, {"t": kind, "n": number, "text": "x" * 1_000_000})
    assert not one.wire.send(B, {"t": "a", "n": 8, "text": "x" * 2_000_000})
    assert one.wire.send(B, {"t": "e", "n": 8})
    await until(lambda: len(two.numbers(A)) == 29)
    assert two.numbers(A) == [*range(7)] * 4 + [8]
