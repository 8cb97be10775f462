"""`python -m audit`: see the package. The exit status is 1 if anything was found, or not asked that has to be."""

from __future__ import annotations

import os
import sys

from .advisories import REQUIRED, advice, verdict
from .licences import problem
from .tree import EXPECTED, installed, unexpected


def main() -> int:
    versions: dict[str, str] = {}
    found: list[str] = []
    for extra in EXPECTED:
        tree = installed(extra)
        versions |= tree.versions
        found += [*tree.problems, *unexpected(extra, tree.versions)]
    found += filter(None, map(problem, sorted(versions)))
    told = advice(versions)
    last, fails = verdict(told, versions, os.environ.get(REQUIRED) == "required")
    for line in dict.fromkeys([*found, *told.problems]):
        print(f"audit: {line}", file=sys.stderr)
    print(f"audit: what is installed: {len(versions)} packages; {len(set(found))} findings.")
    for line in last:
        print(f"audit: {line}")
    return 1 if found or told.problems or fails else 0


if __name__ == "__main__":
    raise SystemExit(main())
