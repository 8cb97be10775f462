"""Microphones stream to a handler in the hub: 16 kHz, 16 bit, a BINARY frame every 20 ms from each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.processes import wait_until

from ..report import OURS, Figure
from ..stage import Figures, Scenario, Stage
from ..subjects import EAR, RELEASED, Subject

PLUGIN = Path(__file__).parents[1] / "ear_plugin.py"
STREAMED_S = 8.0
POINTS = (10, 25, 50)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    subject = stage.subject(name)
    assert isinstance(subject, Subject)
    subject.provide(max(points))
    heard = subject.hub.home.path / "heard.json"
    subject.configure({"binary_protocol": {"module": EAR, EAR: {}}})
    subject.more_environ = {"HIVEMIND_BENCH_EAR": str(heard), "PYTHONPATH": str(plugin(subject.hub.home.path))}
    try:
        with stage.running(name, max(points)), stage.crowd(subject) as crowd:
            for number in points:
                heard.unlink(missing_ok=True)
                crowd.do("open", first=0, count=number)
                begun = subject.cpu_s()
                sent = crowd.do("stream", count=number, seconds=stage.seconds(STREAMED_S))["sent"]
                spent = subject.cpu_s() - begun
                wait_until(heard.exists, 20, "what was heard")
                yield number, figures(json.loads(heard.read_text()), sent, spent)
    finally:
        subject.configure({})
        subject.more_environ = {}


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
    dict.fromkeys((OURS, RELEASED), POINTS),
    measure,
)
