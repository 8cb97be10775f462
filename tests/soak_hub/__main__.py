"""`python -m soak_hub`: see the package. The exit status is 1 if anything was lost, grew, or harmed others."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .report import has_failed, save, summary, text
from .run import Plan, run

CANNOT = 3
QUICK = 40.0
"""Beyond what sixty satellites and a hub get through on two cores: who has been answered says the next at once."""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak_hub", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long faults happen (default 10)")
    parser.add_argument("--messages", type=int, default=0, help="until so many were sent, instead of --minutes")
    parser.add_argument("--satellites", type=int, default=60, help="how many (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="decides about faults and traffic (default 1)")
    parser.add_argument("--pace", type=float, help="how many times the usual traffic (default 1; with --messages 40)")
    parser.add_argument("--not-alone", action="store_true", help="leave out the hubs that are killed and damaged")
    parser.add_argument("--folder", type=Path, help="where homes and logs are kept (default: nowhere)")
    parser.add_argument("--json", type=Path, help="a file for what was found")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    if os.geteuid() != 0:
        print("Error: root is needed, for file systems of their own.", file=sys.stderr)
        return CANNOT
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that processes and file systems are taken away
    pace = chosen.pace or (QUICK if chosen.messages else 1.0)
    plan = Plan(chosen.minutes, chosen.satellites, chosen.seed, pace, not chosen.not_alone, chosen.messages)
    with tempfile.TemporaryDirectory(prefix="hivemind-soak-") as folder:
        outcome = run(plan, chosen.folder or Path(folder))
    found = summary(outcome)
    if chosen.json:
        save(found, chosen.json)
    print(text(found))
    return 1 if has_failed(found) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
