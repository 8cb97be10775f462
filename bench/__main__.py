"""`python -m bench [scenario ...]`: our hub beside the released one and the floor, in one run. `--list` names the
scenarios; `python -m bench chatroom` and `python -m bench cluster` measure those."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from helpers.processes import ChildError, Children

from . import chatroom, cluster
from .field_report import FieldRun, page, save
from .names import FLOORS
from .process import machine, raise_file_limit
from .report import OURS, new_path
from .scenarios import SCENARIOS
from .stage import Scenario, Stage, StepFailed, say
from .subjects import version

UNSCALED = ("", "hubs", "bytes", "talkers")
"""What there is as much of in a small run."""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="what to measure (default: everything)")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--only", action="append", help="measure only this subject, as `ours`; may be given again")
    parser.add_argument("--rounds", type=int, help="fresh processes of each subject (default: as each scenario says)")
    parser.add_argument("--scale", type=float, default=1.0, help="less of everything: 0.1 is a tenth")
    parser.add_argument(
        "--json",
        type=Path,
        help="where the figures go (default: see `bench.report`)",
    )
    parser.add_argument("--show", type=Path, help="print the tables of a file of figures and end")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return chosen


def points_of(scenario: Scenario, subject: str, scale: float) -> tuple[int, ...]:
    """The N that a subject is measured at in a run of this scale."""
    if scenario.axis in UNSCALED:
        return scenario.points[subject]
    return tuple(sorted({max(1, round(number * scale)) for number in scenario.points[subject]}))


def measure(run: FieldRun, stage: Stage, scenario: Scenario, only: Sequence[str], rounds: int) -> None:
    """Every subject of a scenario in turn, `rounds` times over, so that a change in the machine's mood meets all."""
    begun = time.monotonic()
    for number in range(1, rounds + 1):
        for subject in scenario.points:
            if (only and subject not in only) or (number > 1 and subject in scenario.once):
                continue
            say(f"{scenario.name}: {subject}, round {number} of {rounds}")
            try:
                for n, figures in scenario.measure(stage, subject, points_of(scenario, subject, stage.scale)):
                    run.add(scenario.name, subject, n, figures)
            except (StepFailed, ChildError, TimeoutError) as error:
                run.failed.setdefault(scenario.name, {})[subject] = str(error)
                say(f"  failed: {error}")
    run.took_s[scenario.name] = time.monotonic() - begun


def measure_field(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    scenarios = [SCENARIOS[name] for name in chosen.scenarios or SCENARIOS]
    if chosen.list:
        print("\n".join(f"{scenario.name:16}{scenario.about}" for scenario in scenarios))
        return 0
    if chosen.show:
        print(page(FieldRun.read(chosen.show), scenarios))
        return 0
    raise_file_limit()
    names = dict.fromkeys(name for scenario in scenarios for name in scenario.points if name not in FLOORS)
    run = FieldRun(machine(), {name: version(name) for name in names if "bus" not in name}, chosen.scale)
    is_whole = not (chosen.scenarios or chosen.only) and chosen.scale >= 1
    path = chosen.json or new_path("field", is_whole=is_whole)
    with tempfile.TemporaryDirectory(prefix="hivemind-bench-") as folder, Children(Path(folder)) as children:
        stage = Stage(children, chosen.scale)
        for scenario in scenarios:
            measure(run, stage, scenario, chosen.only or (), chosen.rounds or scenario.rounds)
            written = save(run, scenarios, path)  # what there is so far, should the next one fail
    print(page(run, scenarios))
    print("\n" + "\n".join(str(each) for each in written))
    return 1 if OURS in {name for failed in run.failed.values() for name in failed} else 0


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments name, the whole field if they name nothing."""
    others = {"chatroom": chatroom.main, "cluster": cluster.main}
    if arguments and arguments[0] in others:
        return others[arguments[0]](arguments[1:])
    return measure_field(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
