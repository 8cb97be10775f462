"""How findings look: lines for people as they come, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from textwrap import wrap

from ..log_lines import printable
from .findings import FAIL, OK, WARN, Finding, count, summary

STYLES = {OK: "32", WARN: "33", FAIL: "1;31"}
NAME_WIDTH = 12
INDENT = 6 + NAME_WIDTH
LEAST_WIDTH, USUAL_WIDTH = 50, 100


def lines(finding: Finding, *, width: int = USUAL_WIDTH, coloured: bool = False) -> list[str]:
    """Return one finding as lines: verdict, name and reason, then below it what to do."""
    name = printable(finding.what)
    head = f"{finding.verdict:<6}{name:<{NAME_WIDTH}}"
    reason = _wrapped(finding.reason, width)
    first = f"{head}{reason[0]}" if len(name) < NAME_WIDTH else f"{head} {reason[0]}"
    if coloured:
        first = f"\033[{STYLES[finding.verdict]}m{finding.verdict}\033[0m{first[len(finding.verdict) :]}"
    cure = _wrapped(finding.cure, width - 3) if finding.cure else []
    pad = " " * INDENT
    told = [f"{pad}{'-> ' if index == 0 else '   '}{line}" for index, line in enumerate(cure)]
    return [first, *(f"{pad}{line}" for line in reason[1:]), *told]


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text at blanks; a path or command is never broken in itself."""
    room = max(width, LEAST_WIDTH) - INDENT
    return wrap(printable(text), room, break_long_words=False, break_on_hyphens=False) or [""]


def last_line(findings: Iterable[Finding]) -> str:
    """Return what all of it comes to."""
    return summary(findings)


def document(findings: Iterable[Finding]) -> str:
    """Return all of it as one JSON document."""
    found = list(findings)
    whole = {"ok": count(found)[FAIL] == 0, "counts": count(found), "findings": [each.as_dict() for each in found]}
    return json.dumps(whole, indent=2)
