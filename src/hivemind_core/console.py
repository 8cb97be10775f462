"""What the hub's commands share: opening what they work on, choosing a client, tables, failures in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from .clients import Client
from .config import Config, ConfigError, load_config
from .database import ClientDatabase, open_database
from .storage import StorageError

INSTALL_HUB = "pip install 'hivemind-mesh[hub]'"


class Failure(click.ClickException):
    """One line on stderr, exit code 1."""


class WrongConfiguration(Failure):
    """One line on stderr, exit code 2."""

    exit_code = 2


@contextmanager
def failures() -> Iterator[None]:
    """Turn what can go wrong below into one line and the exit code that goes with it."""
    try:
        yield
    except ConfigError as error:
        raise WrongConfiguration(str(error)) from None
    except (StorageError, OSError) as error:
        raise Failure(str(error)) from None
    except ModuleNotFoundError as error:
        raise Failure(f"The hub's parts are not installed ({error.name} is missing). Run: {INSTALL_HUB}") from None


def configuration() -> Config:
    """Return the configuration that the command line chose."""
    path: Path | None = click.get_current_context().find_root().params.get("config_file")
    return load_config(path)


@contextmanager
def database() -> Iterator[ClientDatabase]:
    """Open the client database for one command.

    The hub's identity comes first: a database without one is the sign of a released installation to adopt.
    """
    with failures():
        from .hub_identity import load_identity

        config = configuration()
        load_identity()
        db = open_database(config)
        try:
            yield db
        finally:
            db.close()


def living(db: ClientDatabase) -> list[Client]:
    """Return the clients that were not deleted."""
    return [row for row in db.all() if not row.is_revoked]


def choose(db: ClientDatabase, wanted: str | None) -> Client:
    """Return the client named by an id or access key; ask when nothing is named and there are several."""
    if wanted:
        return _named(db, wanted)
    rows = living(db)
    if not rows:
        click.echo("No clients found!")
        click.get_current_context().exit(0)
    return rows[0] if len(rows) == 1 else _asked(rows)


def _named(db: ClientDatabase, wanted: str) -> Client:
    by_key = db.by_key(wanted)
    found = by_key or (db.by_id(int(wanted)) if wanted.isdecimal() and len(wanted) < 19 else None)
    if found is None:
        click.echo("Invalid Node ID!")
        raise SystemExit(1)
    return found


def _asked(rows: Sequence[Client]) -> Client:
    types = [", ".join(row.allowed_types) for row in rows]
    lines = [(str(row.client_id), row.name, text) for row, text in zip(rows, types, strict=True)]
    table("HiveMind Clients", ("ID", "Name", "Allowed Msg Types"), lines)
    by_id = {row.client_id: row for row in rows}
    leave = max(by_id) + 1
    while True:
        answer = click.prompt(f"Which client do you want to select? ({leave} = 'Exit')", type=int)
        if answer == leave:
            click.echo("User exit")
            click.get_current_context().exit(0)
        if answer in by_id:
            return by_id[answer]
        click.echo("Please select one of the available options")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; nothing in it is ever cut off."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title)
    for column in columns:
        drawn.add_column(column, no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    wide = None if sys.stdout.isatty() else 100_000
    console = Console(file=sys.stdout, width=wide, soft_wrap=True)
    console.print(drawn, soft_wrap=True)


def json_object(text: str | None) -> dict[str, Any] | None:
    """Parse an option that holds a JSON object. Raises BadParameter."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        raise click.BadParameter("must be valid JSON") from None
    if not isinstance(value, dict):
        raise click.BadParameter("must be a JSON object")
    return value


def gone(client: Client) -> NoReturn:
    """Say that somebody else deleted the client meanwhile."""
    raise Failure(f"Client {client.client_id} was deleted meanwhile.")
