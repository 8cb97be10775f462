"""Clients whose keys the hub has never derived: argon2id for each, while ten others talk."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from hivemind_bus_client.noise import derive_psk

from ..names import BARE, EMBEDDED, OURS, OVOS_BUS, RELEASED
from ..pace import quantiles
from ..report import Figure
from ..satellites import access_key
from ..stage import TALKING, Crowd, Figures, Scenario, Stage, others, say, talking
from ..subjects import Subject

NICENESS = 10
POINTS = (50, 400)


NODE_ID = "of no hub"


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    if name == BARE:
        yield from ((number, derivations(number)) for number in points)
    else:
        yield from of_hub(stage, name, points)


def derivations(number: int) -> Figures:
    """The figures of nothing but argon2id, in two threads as at a hub."""
    begun, spent = time.monotonic(), time.process_time()

    def one(password: str) -> float:
        derive_psk(password, NODE_ID)
        return time.monotonic() - begun

    with ThreadPoolExecutor(2) as pool:
        took = list(pool.map(one, [secrets.token_urlsafe(18) for _ in range(number)]))
    return {
        "all_s": max(took),
        "first_half_s": quantiles(took)["p50_ms"] / 1000,
        "cpu_ms": (time.process_time() - spent) * 1000 / number,
    }


def of_hub(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    subject = stage.subject(name)
    assert isinstance(subject, Subject)
    subject.provide(TALKING)
    numbers = {number: stage.fresh_numbers(number) for number in points}
    passwords = {access_key(one): secrets.token_urlsafe(18) for some in numbers.values() for one in some}
    subject.provide(TALKING, passwords)
    keys = derived(passwords, subject.keyring.node_ids[0])
    with stage.running(name, TALKING, watched=True), others(stage, subject) as talkers:
        for number, some in numbers.items():
            with stage.crowd(subject, keys, niceness=NICENESS) as crowd:
                yield number, at(subject, talkers, crowd, some)


def derived(passwords: dict[str, str], node_id: str) -> dict[str, bytes]:
    """The keys that the satellites have."""
    say(f"  deriving {len(passwords)} keys for the satellites")
    with ThreadPoolExecutor(2) as pool:
        keys = pool.map(lambda password: derive_psk(password, node_id), passwords.values())
        return dict(zip(passwords, keys, strict=True))


def at(subject: Subject, talkers: Crowd, crowd: Crowd, numbers: range) -> Figures:
    """The figures with so many passwords."""
    assert subject.watch is not None
    count = len(numbers)
    with talking(talkers):
        subject.watch.reset()
        begun = subject.cpu_s()
        found = crowd.do("open", first=numbers[0], count=count, at_once=count)
        spent = subject.cpu_s() - begun
        meanwhile, kept = talkers.do("mark"), subject.watch.read()
    return {
        "all_s": found["seconds"],
        "first_half_s": found["p50_ms"] / 1000,
        "cpu_ms": spent * 1000 / count,
        "others_p99_ms": meanwhile["p99_ms"],
        "others_p50_ms": meanwhile["p50_ms"],
        "late_ms": kept.late_ms,
        "busy_ms": kept.busy_ms,
    }


SCENARIO = Scenario(
    "cold-start",
    "N satellites with N passwords that the hub has derived no key for (argon2id), at once, while ten others talk",
    "passwords",
    (
        Figure("all_s", "until all are admitted, s"),
        Figure("first_half_s", "until half of them are admitted, s"),
        Figure("cpu_ms", "processor time for each, ms"),
        Figure("others_p99_ms", "others' round trip meanwhile, p99, ms"),
        Figure("others_p50_ms", "others' round trip meanwhile, p50, ms"),
        Figure("late_ms", "loop late at most, ms"),
        Figure("busy_ms", "loop at one thing at most, processor ms"),
    ),
    {OURS: POINTS, RELEASED: POINTS, BARE: POINTS[:1]},
    measure,
    cannot={
        BARE: "is argon2id alone, in two threads: 400 take it eight times as long as 50",
        **dict.fromkeys((EMBEDDED, OVOS_BUS), "not measured: who comes in has nothing to do with a bus"),
    },
)
