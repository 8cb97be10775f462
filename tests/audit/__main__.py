"""`python -m audit`: see the package. The exit status is 1 if anything was found."""

from __future__ import annotations

import sys

from .advisories import advice
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
    found += told.problems
    for line in dict.fromkeys(found):
        print(f"audit: {line}", file=sys.stderr)
    if told.why_not:
        print(f"audit: NOT ASKED: {told.why_not}; only {len(told.asked)} of {len(versions)} were looked up.")
    print(f"audit: {len(versions)} packages, {len(set(found))} findings.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
