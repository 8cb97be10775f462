"""What scenarios stand on: subjects that run, and satellites in processes of their own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from helpers.processes import Child, Children, wait_until

from .buses import Buses, module
from .report import Figure
from .subjects import AnySubject, make

PATIENCE_S = 300.0
FIRST_FRESH = 50_000
TALKING, TALK_PER_S = 10, 50.0
"""How many talk while something else is going on, and how much."""
Figures = dict[str, float]


class StepFailed(Exception):
    """A subject could not do what a scenario asks of it."""


class Crowd:
    """Satellites in a process of their own: `bench.crowd` at the other end."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._seen = 0
        self.pid = child.pid
        self._next("ready")

    def do(self, command: str, **fields: Any) -> dict[str, Any]:
        """Give a command and wait until it is done; what came of it. Raises StepFailed."""
        self._child.send(command, **fields)
        return self._next(command)

    def _next(self, event: str) -> dict[str, Any]:
        def come() -> list[dict[str, Any]]:
            if not self._child.running:
                raise StepFailed(self._child.tail())
            return self._child.events()[self._seen :]

        (found, *_) = wait_until(come, PATIENCE_S, event)
        self._seen += 1
        if found["event"] != event:
            raise StepFailed(found.get("text", str(found)))
        answer: dict[str, Any] = found
        return answer

    def leave(self) -> None:
        """All satellites go, and the process with them."""
        self.do("close")
        self._child.close_stdin()
        self._child.wait_exit()


@dataclass
class Stage:
    """One run of the bench."""

    children: Children
    scale: float = 1.0
    """Of all numbers that scenarios choose."""
    fresh: int = FIRST_FRESH
    _subjects: dict[str, AnySubject] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buses = Buses(self.children)

    def some(self, number: float, least: int = 1) -> int:
        """A number of this run."""
        return max(least, round(number * self.scale))

    def seconds(self, number: float) -> float:
        """A duration of this run."""
        return max(1.0, number * self.scale)

    def subject(self, name: str) -> AnySubject:
        """A subject by name, made when it is first wanted."""
        if name not in self._subjects:
            self._subjects[name] = make(self.children, name, self.buses)
        return self._subjects[name]

    def fresh_numbers(self, count: int) -> range:
        """Numbers of devices that there have never been."""
        self.fresh += count
        return range(self.fresh - count, self.fresh)

    @contextmanager
    def running(self, name: str, rows: int, *, watched: bool = False) -> Iterator[AnySubject]:
        """A subject that runs and lets so many devices in."""
        subject = self.subject(name)
        subject.provide(rows)
        subject.start(watched=watched)
        try:
            yield subject
        finally:
            subject.stop()

    @contextmanager
    def crowd(self, subject: AnySubject, keys: Mapping[str, bytes] | None = None, niceness: int = 0) -> Iterator[Crowd]:
        """A process of satellites, none of them connected yet; `keys` are those that devices have of their own."""
        more = ["--nice", str(niceness), "--bare", subject.bare]
        yield from self.crowd_at(subject.port, subject.keyring.settings(keys or {}), more)

    def crowd_at(self, port: int, settings: Mapping[str, Any], more: Sequence[str] = ()) -> Iterator[Crowd]:
        """The same, by port."""
        home = self.children.home("crowd")
        path = home.path / f"settings-{len(list(home.path.iterdir()))}.json"
        path.write_text(json.dumps(settings), "utf-8")
        child = module(self.children, "crowd", "--port", str(port), "--settings", str(path), *more)
        crowd = Crowd(child)
        yield crowd
        crowd.leave()


@dataclass(frozen=True)
class Scenario:
    """What is measured of every subject that can do it."""

    name: str
    about: str
    """One line for people."""
    axis: str
    """What N counts."""
    figures: tuple[Figure, ...]
    points: Mapping[str, tuple[int, ...]]
    """Subject -> the N it is measured at."""
    measure: Callable[[Stage, str, tuple[int, ...]], Iterator[tuple[int, Figures]]]
    """Of a subject by its name, at these N."""
    rounds: int = 1
    """So often, of fresh processes, in a run of everything."""
    once: frozenset[str] = frozenset()
    """Subjects for which one round is enough."""
    whole: str = ""
    """The figure of which all others are parts; the table then says how much of it each is."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """Subject -> why it is not measured, or not at all N."""


@contextmanager
def others(stage: Stage, subject: AnySubject) -> Iterator[Crowd]:
    """Devices 0, 1, …, who are to talk while something else is going on."""
    with stage.crowd(subject) as crowd:
        crowd.do("open", first=0, count=TALKING)
        crowd.do("converse", talking=TALKING, round_trips=TALKING * 20)
        yield crowd


@contextmanager
def talking(crowd: Crowd) -> Iterator[None]:
    """They talk at a steady pace; what has been before they settled does not count."""
    crowd.do("begin", talking=TALKING, per_second=TALK_PER_S)
    time.sleep(1)
    crowd.do("mark")
    yield
    crowd.do("hush")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


__all__ = ["TALKING", "Crowd", "Figures", "Scenario", "Stage", "StepFailed", "others", "say", "talking"]
