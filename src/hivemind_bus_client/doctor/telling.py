"""Prints what checks find, for the commands of both sides; exit code 1 where something failed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import click

from .findings import FAIL, Finding
from .report import document, last_line, lines
from .running import Case, Check, run


def tell(checks: Sequence[Check[Case]], case: Case, *, as_json: bool) -> None:
    """Run the checks and print what they find. Raises Exit with code 1 where something failed."""
    found: list[Finding] = []
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = min(shutil.get_terminal_size().columns, 140) if sys.stdout.isatty() else 120
    for finding in run(checks, case):
        found.append(finding)
        if not as_json:
            click.echo("\n".join(lines(finding, width=width, coloured=coloured)), color=True)
    click.echo(document(found) if as_json else f"\n{last_line(found)}")
    if any(finding.verdict == FAIL for finding in found):
        raise click.exceptions.Exit(1)
