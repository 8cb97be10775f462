"""``hivemind-core audit``: who changed which client's rights, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hivemind_bus_client.log_lines import printable

from .audit import COMMAND, ELSEWHERE, summary
from .audit_log import AuditLog, audit_path
from .console import print_json, table

BY = {ELSEWHERE: "elsewhere"}


@click.command("audit")
@click.option("--client", metavar="ID", help="Only changes of the client with this id or name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_audit(client: str | None, as_json: bool) -> None:
    """Show every change of rights made on this machine, or noticed by its hub, the oldest first."""
    lines = [line for line in AuditLog(audit_path()).entries() if client is None or _is_of(line, client)]
    if as_json:
        print_json(lines)
        return
    rows = [tuple(printable(cell) for cell in _cells(line)) for line in lines]
    table("Changes of rights", ("Time", "By", "Action", "ID", "Name", "Change"), rows)


def _is_of(line: Mapping[str, Any], client: str) -> bool:
    before = line.get("before")
    if line.get("client_id") is None:
        return False
    names = (str(line.get("client_id")), line.get("name"), before.get("name") if isinstance(before, dict) else None)
    return client in names


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    source = str(line.get("source"))
    by = str(line.get("user")) if source == COMMAND else BY.get(source, "the hub")
    told = ("" if line.get(key) is None else str(line[key]) for key in ("action", "client_id", "name"))
    return (str(line.get("time", "")), by, *told, summary(line))


COMMANDS = (show_audit,)
