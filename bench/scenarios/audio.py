"""Microphones stream to a handler in the hub: 16 kHz, 16 bit, a BINARY frame every 20 ms from each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.processes import wait_until

from ..names import BARE, EMBEDDED, OURS, OVOS_BUS, RELEASED
from ..report import Figure
from ..stage import Crowd, Figures, Scenario, Stage
from ..subjects import AnySubject, Subject

PLUGIN = Path(__file__).parents[1] / "ear_plugin.py"
EAR = "hivemind-bench-ear"
HEARD = "HIVEMIND_BENCH_EAR"
STREAMED_S = 6.0
POINTS = (10, 25, 50)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    subject = stage.subject(name)
    with listening(subject) as heard, stage.running(name, max(points)), stage.crowd(subject) as crowd:
        for number in points:
            crowd.do("open", first=0, count=number)
            yield number, at(stage, subject, crowd, number, heard)


@contextmanager
def listening(subject: AnySubject) -> Iterator[Path]:
    """For a while a subject, which does not run yet, has a handler for sound; the file of what that has heard."""
    if isinstance(subject, Subject):
        subject.provide(1)
        heard = subject.hub.home.path / "heard.json"
        subject.configure({"binary_protocol": {"module": EAR, EAR: {}}})
        subject.more_environ = {HEARD: str(heard), "PYTHONPATH": str(plugin(subject.hub.home.path))}
    else:
        heard = subject.home.path / "heard.json"
        subject.more_environ, subject.more_arguments = {HEARD: str(heard)}, ("--ear",)
    try:
        yield heard
    finally:
        subject.more_environ = {}
        if isinstance(subject, Subject):
            subject.configure({})
        else:
            subject.more_arguments = ()


def at(stage: Stage, subject: AnySubject, crowd: Crowd, number: int, heard: Path) -> Figures:
    """The figures with so many microphones."""
    heard.unlink(missing_ok=True)
    begun = subject.cpu_s()
    sent = crowd.do("stream", count=number, seconds=stage.seconds(STREAMED_S))["sent"]
    spent = subject.cpu_s() - begun
    wait_until(heard.exists, 20, "what was heard")
    return figures(json.loads(heard.read_text()), sent, spent)


def plugin(home: Path) -> Path:
    """A folder that holds the handler as an installed package."""
    folder = home / "plugins"
    about = folder / "hivemind_bench_ear-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (folder / PLUGIN.name).write_text(PLUGIN.read_text("utf-8"), "utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hivemind-bench-ear\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[hivemind.binary.protocol]\n{EAR} = ear_plugin:EarPlugin\n", "utf-8")
    return folder


def figures(heard: dict[str, Any], sent: int, spent: float) -> Figures:
    return {
        "cpu_us": spent * 1e6 / sent,
        "late_percent": heard["late"] * 100 / sent,
        "lost": sent - heard["heard"],
        "p99_ms": heard["p99_ms"],
        "max_ms": heard["max_ms"],
    }


SCENARIO = Scenario(
    "audio",
    "N microphones stream 16 kHz sound in BINARY frames of 20 ms to a handler in the hub",
    "microphones",
    (
        Figure("cpu_us", "processor time of a frame, µs"),
        Figure("late_percent", "frames later than 20 ms at the handler, %"),
        Figure("lost", "frames lost"),
        Figure("p99_ms", "from microphone to handler, p99, ms"),
        Figure("max_ms", "from microphone to handler, slowest, ms"),
    ),
    dict.fromkeys((OURS, RELEASED, BARE), POINTS),
    measure,
    cannot=dict.fromkeys(
        (EMBEDDED, OVOS_BUS), "not measured: sound goes to the handler in the hub, nothing of it to a bus"
    ),
)
