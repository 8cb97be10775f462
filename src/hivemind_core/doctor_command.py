"""``hivemind-core doctor``: the command; what it does is in `doctor`, and loaded when it is needed."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else.")
@click.option("--probe", metavar="TEXT", default="", help="Say this to the assistant, too, and print what it answers.")
def doctor(probe: str, as_json: bool) -> None:
    """Check all that can be wrong with this hub, and say what to do; change nothing."""
    from .doctor.command import examine

    named: Path | None = click.get_current_context().find_root().params.get("config_file")
    examine(named, probe, as_json=as_json)


COMMANDS = (doctor,)
