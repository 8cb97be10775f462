"""What members of a cluster read in Redis, where anybody may have written; and what they say to each other over it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from fuzz.inputs import BREAK, HOSTILE_JSON, Choices, pieces
from hivemind_bus_client.exceptions import InvalidJson
from hivemind_core.cluster import entries, join_code
from hivemind_core.cluster.frames import Head, decode, pack
from hivemind_core.cluster.members import Members, member_told
from hivemind_core.cluster.sealing import DoesNotOpen, Sealer
from hivemind_core.cluster.traffic import Streams, Traffic

SECRET = bytes(32)
HUBS = ("0" * 16, "1" * 16)
STREAMS = Streams("inbox:", "log")
MAX_STEPS = 64
STEP_S = 0.2

WORDS: tuple[str, ...] = (
    "0" * 16,
    "1" * 16,
)


def seeds() -> Iterator[bytes]:
    yield b"\0" + BREAK.join((b"s", b"1" * 16, b"n", b"1", b"d", b"x" * 60))
    yield b"\1\1\0" + pack(Head(1_000_000_000, 1), [b'{"t":"beat"}', b"{}"])
    yield b"\1\0\0" + pack(Head(1_000_000_000, 1, 2**63, 2**63, 2**63), [])
    yield b"\2" + bytes(range(6)) * 10
    yield b"\2" + bytes((0, 1, 4, 4, 0, 2, 4, 1, 5, 4, 3, 4) * 5)
    yield b"\3" + join_code.write(bytes(17)).encode()
    yield b"\4" + json.dumps(member_told("1" * 16, {"name": "a", "since": 1, "agent": True}).told()).encode()
    yield from (b"\4" + text for text in HOSTILE_JSON)
    for key in ("name", "since", "agent", "parent", "peers"):
        yield b"\4" + json.dumps({key: [1]}).encode()


def run(data: bytes) -> None:
    choices = Choices(data)
    KINDS[choices.below(len(KINDS))](choices)


def _member(number: int) -> Traffic:
    return Traffic(HUBS[number], STREAMS, Sealer(SECRET, "home", HUBS[number]))


def _entry(choices: Choices) -> None:
    """What somebody without the secret writes."""
    own = _member(0)
    entry = entries.parse(pieces(choices.rest(), 8))
    if entry is None:
        return
    for stream in (own.inbox, STREAMS.log):
        try:
            handed = own.received(stream, entry, 1.0, 1_000)
        except DoesNotOpen:
            continue
        assert not handed.frames, "a stranger's frame was handed over"


def _content(choices: Choices) -> None:
    """What a member writes may be anything, too; it is another version of us."""
    own, other = _member(0), Sealer(SECRET, "home", HUBS[1])
    number = choices.byte()
    stream = own.inbox if choices.byte() % 2 else STREAMS.log
    for content in pieces(choices.rest(), MAX_STEPS):
        sealed = other.seal(stream, number, content)
        try:
            handed = own.received(stream, entries.Entry(HUBS[1], number, sealed), 1.0, 1_000_000_000)
            for frame in handed.frames:
                decode(frame)
        except InvalidJson:
            continue
        list(own.writes(1.0, 1_000_000_000, acks=True))
        own.undelivered(1.0)
        number += 1


def _course(choices: Choices) -> None:
    """Two members over a Redis that loses and repeats: frames come in order and at most once, or are given up."""
    sender, receiver = _member(0), _member(1)
    redis: list[tuple[Traffic, entries.Entry]] = []
    came: list[int] = []
    lost: list[int] = []
    now, put = 1.0, 0
    for _ in range(MAX_STEPS):
        step = choices.below(6)
        if choices.is_over:
            break
        now += STEP_S
        redis_ms = int(now * 1000)
        if step == 0:
            sender.put(receiver.hub, b'{"n":%d}' % put, now)
            put += 1
        elif step == 1 and redis:
            redis.pop(0)
        elif step == 2 and redis:
            redis.append(redis[0])
        elif step == 3:
            now += 10
        elif step == 4:
            _deliver(redis, came, now, redis_ms)
        _write(sender, receiver, redis, now, redis_ms)
        _write(receiver, sender, redis, now, redis_ms)
        lost += [decode(frame)["n"] for _, frame in sender.undelivered(now)]
    assert came == sorted(set(came)), f"frames came twice or in disorder: {came}"
    assert {*came, *lost} <= set(range(put))


def _write(
    traffic: Traffic, to: Traffic, redis: list[tuple[Traffic, entries.Entry]], now: float, redis_ms: int
) -> None:
    for write in traffic.writes(now, redis_ms, acks=True):
        if write.command[0] == "XADD":
            _, sender, _, number, _, sealed = write.command[-6:]
            redis.append((to, entries.Entry(sender, number, sealed)))
        write.answered(b"1-1", now)


def _deliver(redis: list[tuple[Traffic, entries.Entry]], came: list[int], now: float, redis_ms: int) -> None:
    while redis:
        to, entry = redis.pop(0)
        came += [decode(frame)["n"] for frame in to.received(to.inbox, entry, now, redis_ms).frames]


def _code(choices: Choices) -> None:
    text = choices.rest().decode("utf-8", "replace")
    try:
        said, secret = "", join_code.read(text)
    except join_code.WrongCode as error:
        said, secret = str(error), b""
    assert len(text) < 8 or text not in said, "what was typed is shown"
    assert len(secret) in (0, join_code.SECRET_SYMBOLS)


def _told(choices: Choices) -> None:
    try:
        told = decode(choices.rest())
    except InvalidJson:
        return
    assert isinstance(told, Mapping)
    me, other = member_told(HUBS[0], {}), member_told(HUBS[1], told)
    members = Members()
    assert members.beat(other, 1.0)
    assert members.leader(me).hub in HUBS
    assert member_told(HUBS[1], other.told()) == other


KINDS: tuple[Callable[[Choices], None], ...] = (_entry, _content, _course, _code, _told)
