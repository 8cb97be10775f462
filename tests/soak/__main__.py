"""`python -m soak`: see the package. The exit status is 1 if a message was lost, came twice or to the wrong one."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .network import NoNetwork
from .report import has_failed, save, summary, text
from .run import Plan, run

CANNOT = 3


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long faults happen (default 10)")
    parser.add_argument("--satellites", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="decides about faults and traffic (default 1)")
    parser.add_argument("--pace", type=float, default=1.0, help="how many times the usual traffic (default 1)")
    parser.add_argument("--folder", type=Path, help="where homes and logs are kept (default: nowhere)")
    parser.add_argument("--json", type=Path, help="a file for what was found")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that hosts and processes are taken away
    plan = Plan(chosen.minutes, chosen.satellites, chosen.seed, chosen.pace)
    with tempfile.TemporaryDirectory(prefix="hivemind-soak-") as folder:
        try:
            outcome = run(plan, chosen.folder or Path(folder))
        except NoNetwork as error:
            print(f"Error: network namespaces are needed, and root for them: {error}", file=sys.stderr)
            return CANNOT
    found = summary(outcome)
    if chosen.json:
        save(found, chosen.json)
    print(text(found))
    return 1 if has_failed(found) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
