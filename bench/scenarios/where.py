"""Where the processor time of an utterance and its answer goes: what each part of the hub takes by itself, on the
hub's own objects (`bench.stages`), and what remains of the whole, which is measured at a running hub."""

from __future__ import annotations

from collections.abc import Iterator

from ..buses import module
from ..names import BARE, OURS, RELAY, RELEASED
from ..report import Figure
from ..stage import Crowd, Figures, Scenario, Stage
from ..subjects import AnySubject

TRIPS = {OURS: 20_000, RELEASED: 3_000, BARE: 60_000, RELAY: 20_000}
"""Seconds of processor time: how much of it is the kernel's is counted in ticks."""
WARM_UP = 500
POINTS = (10,)
STAGES = {OURS: "ours", BARE: "echo", RELAY: "relay"}
"""Whose parts are known."""
STAGES_S = 120.0


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    for number in points:
        with stage.running(name, number) as subject, stage.crowd(subject) as crowd:
            crowd.do("open", first=0, count=number)
            crowd.do("converse", talking=number, round_trips=WARM_UP)
            found = whole(subject, crowd, number, stage.some(TRIPS[name], 500))
        yield number, parted(found, stages(stage, STAGES[name])) if name in STAGES else found


def whole(subject: AnySubject, crowd: Crowd, number: int, trips: int) -> Figures:
    """All of it, and what of it the kernel had."""
    before, begun = subject.spent(), subject.cpu_s()
    done = crowd.do("converse", talking=number, round_trips=trips)["trips"]
    all_us = (subject.cpu_s() - begun) * 1e6 / done
    after = subject.spent()
    system, user = after.system - before.system, after.user - before.user
    return {"whole_us": all_us, "kernel_us": all_us * system / (system + user) if system + user else 0.0}


def stages(stage: Stage, whose: str) -> Figures:
    """What parts take by themselves."""
    found = module(stage.children, "stages", "--of", whose).expect("stages", STAGES_S)
    return {name: float(value) for name, value in found["parts"].items()}


def parted(found: Figures, parts: Figures) -> Figures:
    """All parts, and what is left for the loop and its sockets."""
    return {**found, **parts, "sockets_us": found["whole_us"] - found["kernel_us"] - sum(parts.values())}


SCENARIO = Scenario(
    "where",
    "where the processor time of an utterance and its answer goes: N satellites talk at once",
    "talkers",
    (
        Figure("decrypt_us", "decrypt 1 frame, µs"),
        Figure("decode_us", "decode it: strict JSON, envelope, µs"),
        Figure("route_us", "route it, µs"),
        Figure("stamp_us", "stamp whose it is: session, context, µs"),
        Figure("admit_us", "admit it: frame check, policies, µs"),
        Figure("bus_us", "bus: encode 1 frame, decode 3, µs"),
        Figure("back_us", "the way back: whose it is, twins, the session's own id, µs"),
        Figure("encode_us", "encode 2 answers, µs"),
        Figure("encrypt_us", "encrypt 2 answers, µs"),
        Figure("rest_us", "rest of the hub: link, counters, limits, µs"),
        Figure("sockets_us", "send and receive: aiohttp, asyncio and uvloop, µs"),
        Figure("kernel_us", "the kernel: read, write, wait, µs"),
        Figure("whole_us", "the whole round trip, µs"),
    ),
    dict.fromkeys((OURS, RELEASED, BARE, RELAY), POINTS),
    measure,
    whole="whole_us",
    cannot={RELEASED: "its parts are not known, only the whole and the kernel's share"},
)
