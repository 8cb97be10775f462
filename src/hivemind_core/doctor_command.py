"""``hivemind-core doctor``: the command; what it does is in `doctor`, and loaded when it is needed."""

from __future__ import annotations

from pathlib import Path

import click

PROBE = "what time is it"
"""Built-in assistants answer it, and so do most others."""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else.")
@click.option("--probe", metavar="TEXT", default=PROBE, show_default=True, help="What to ask the assistant.")
@click.option("--no-probe", is_flag=True, help="Ask the assistant nothing.")
def doctor(probe: str, no_probe: bool, as_json: bool) -> None:
    """Check all that can be wrong with this hub, up to a question to its assistant, and say what to do.

    No file and no client is changed. docs/operating.md says what others notice of it.
    """
    from .doctor.command import examine

    named: Path | None = click.get_current_context().find_root().params.get("config_file")
    examine(named, "" if no_probe else probe.strip(), as_json=as_json)


COMMANDS = (doctor,)
