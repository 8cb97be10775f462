"""``hivemind-core doctor``: the command; what it does is in `doctor`, and loaded when it is needed."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else.")
def doctor(as_json: bool) -> None:
    """Check all that can be wrong with this hub, and say what to do; change nothing."""
    from .doctor.command import examine

    named: Path | None = click.get_current_context().find_root().params.get("config_file")
    examine(named, as_json=as_json)


COMMANDS = (doctor,)
