"""``hivemind-core list-clients`` and ``export-clients``. Secrets are shown only to who asks for them."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .client_metadata import without_secrets
from .clients import Client
from .console import Failure, database, print_json, table
from .grace import Grace, grace_of
from .moments import local_time

EXPORT_FILE = "hivemind_clients.csv"
EXPORTED = ("client_id", "name", "is_admin", "access_key", "password")
OWN_FIELDS = ("skill_blacklist", "intent_blacklist", "noise_pubkey")
"""Keys of the metadata that stand beside it in JSON."""

show_secrets_option = click.option("--show-secrets", is_flag=True, help="Show passwords and keys, too.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, with everything that is known.")


# --- list-clients -------------------------------------------------------------------------------------------


@click.command("list-clients")
@show_secrets_option
@json_option
def list_clients(show_secrets: bool, as_json: bool) -> None:
    """List the clients that may join."""
    with database() as db:
        rows = db.all()
    if as_json:
        print_json([record(row, show_secrets=show_secrets) for row in rows])
        return
    now = time.time()
    graces = [grace_of(row, now) for row in rows]
    secret = ("Password",) if show_secrets else ()
    previous = ("Previous Password",) if any(graces) else ()
    columns = ("ID", "Name", "Access Key", *secret, "Rights", "Types", "Last Seen", *previous)
    cells = [_cells(row, show_secrets=show_secrets) for row in rows]
    if previous:
        cells = [(*row, _told(grace)) for row, grace in zip(cells, graces, strict=True)]
    table("HiveMind Credentials:", columns, cells)


def _cells(row: Client, *, show_secrets: bool) -> tuple[str, ...]:
    secret = (row.password or "",) if show_secrets else ()
    count = str(len(row.allowed_types)) if row.allowed_types else "none"
    return (str(row.client_id), row.name, row.api_key, *secret, _rights(row), count, _seen(row.last_seen))


def _told(grace: Grace | None) -> str:
    if grace is None:
        return ""
    used = "not used" if grace.used is None else f"last used {local_time(grace.used)}"
    return f"valid until {local_time(grace.until)}, {used}"


def _rights(row: Client) -> str:
    held = {
        "admin": row.is_admin,
        "escalate": row.can_escalate,
        "propagate": row.can_propagate,
        "broadcast": row.can_broadcast and row.is_admin,
    }
    return ", ".join(right for right, has in held.items() if has)


def _seen(when: float) -> str:
    return local_time(when) if when > 0 else "never"


def record(row: Client, *, show_secrets: bool) -> dict[str, Any]:
    """Return a client as one JSON object; without secrets unless they are asked for."""
    metadata = {key: value for key, value in row.metadata.items() if key not in OWN_FIELDS}
    grace = grace_of(row, time.time())
    document: dict[str, Any] = {
        "client_id": row.client_id,
        "name": row.name,
        "description": row.description,
        "access_key": row.api_key,
        "password": row.password,
        "is_admin": row.is_admin,
        "can_escalate": row.can_escalate,
        "can_propagate": row.can_propagate,
        "can_broadcast": row.can_broadcast,
        "allowed_types": row.allowed_types,
        "skill_blacklist": row.skill_blacklist,
        "intent_blacklist": row.intent_blacklist,
        "pinned": bool(row.metadata.get("noise_pubkey")),
        "last_seen": row.last_seen if row.last_seen > 0 else None,
        "previous_password": None if grace is None else {"valid_until": grace.until, "last_used": grace.used},
        "metadata": metadata,
    }
    if not show_secrets:
        del document["password"]
        document["metadata"] = without_secrets(metadata)
    return document


# --- export-clients -----------------------------------------------------------------------------------------


@click.command("export-clients")
@click.option("--path", type=click.Path(path_type=Path), help=f"A file, or a folder for {EXPORT_FILE}.")
@show_secrets_option
def export_clients(path: Path | None, show_secrets: bool) -> None:
    """Print the clients as CSV, or write them into a file that only its owner can read."""
    target = None if path is None else _target(path)
    with database() as db:
        text = _csv(db.all(), show_secrets=show_secrets)
    if target is None:
        click.echo(text, nl=False)
    else:
        _write(target, text)
    if not show_secrets:
        click.echo("NOTE: the passwords were left out; add --show-secrets to export them, too.", err=True)


def _target(path: Path) -> Path:
    target = path / EXPORT_FILE if path.is_dir() else path
    if not target.parent.is_dir():
        raise Failure(f"Cannot write {target}: there is no folder {target.parent}.")
    if target.exists() and not target.is_file():
        raise Failure(f"Cannot write {target}: it is not a regular file.")
    return target


def _csv(rows: Sequence[Client], *, show_secrets: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EXPORTED)
    for row in rows:
        secret = row.password or "" if show_secrets else ""
        writer.writerow((row.client_id, row.name, row.is_admin, row.api_key, secret))
    return text.getvalue()


def _write(target: Path, text: str) -> None:
    from hivemind_bus_client.identity_file import write_private

    try:
        write_private(target, text)
    except OSError as error:
        raise Failure(f"Cannot write {target}: {error.strerror or error}.") from None


COMMANDS = (list_clients, export_clients)
