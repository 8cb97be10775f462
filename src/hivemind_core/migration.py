"""``hivemind-core migrate-db``: copy the clients from one kind of database to another."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import click

from .audit import MIGRATION
from .audit_log import note
from .clients import Client
from .config import SQLITE_MODULE, Config, ConfigError
from .console import Failure, configuration
from .database import chosen_module
from .database_places import JSON_MODULE, KINDS, Place, place_of
from .storage.checks import check_same
from .storage.redis_settings import REDIS_MODULE

SHORT_NAMES = {"json": JSON_MODULE, "sqlite": SQLITE_MODULE, "redis": REDIS_MODULE}


def _module(context: click.Context, parameter: click.Parameter, value: str) -> str:
    module = SHORT_NAMES.get(value, value)
    if module not in KINDS:
        known = ", ".join(f"{name} ({short})" for short, name in SHORT_NAMES.items())
        raise click.BadParameter(f"{value!r} is no kind of client database that this hub knows; it knows {known}")
    return module


@click.command("migrate-db")
@click.option("--from", "source", default=JSON_MODULE, show_default=True, callback=_module, metavar="MODULE")
@click.option("--to", "target", default=SQLITE_MODULE, show_default=True, callback=_module, metavar="MODULE")
def migrate_db(source: str, target: str) -> None:
    """Copy all clients from one kind of database to another; the one they come from stays as it is.

    MODULE is a name as in server.json, or json, sqlite or redis. Where each is, server.json says. Stop the hub first:
    what it changes afterwards is not in the copy.
    """
    if source == target:
        raise Failure("--from and --to are the same backend; nothing to do.")
    config = configuration()
    origin, goal = (place_of(module, _options(config, module)) for module in (source, target))
    if not origin.is_there():
        raise Failure(f"There is no client database {origin} to copy from.")
    rows = origin.read()
    _copy(rows, goal)
    note(MIGRATION, {"from": source, "to": target, "place": str(goal), "clients": len(rows)})
    click.echo(f"Migrated {len(rows)} client(s) from {source} to {target}.")
    _tell_how_to_use_it(config, target)


def _options(config: Config, module: str) -> dict[str, Any]:
    """Return what server.json says of a kind of database, whether it is the one in use or not."""
    options = config.raw.get("database", {}).get(module) or {}
    if not isinstance(options, dict):
        raise ConfigError(f"{config.path}: `database.{module}` must be an object.")
    return options


def _tell_how_to_use_it(config: Config, target: str) -> None:
    used = chosen_module(config)
    if used != target:
        click.echo(
            f'The hub still uses {used}. To use the copy, set `database.module` to "{target}" in {config.path} and'
            " restart the hub.",
            err=True,
        )


# --- copying ------------------------------------------------------------------------------------------------


def _copy(rows: Sequence[Client], goal: Place) -> None:
    """Put rows into a database that is new or has none, and see that they are there; all of them or nothing."""
    if goal.is_there():
        _check_empty(goal.read(), goal)
        _fill(rows, goal)
        return
    with goal.made() as made:
        _fill(rows, made)


def _check_empty(rows: Sequence[Client], goal: Place) -> None:
    if rows:
        raise Failure(
            f"The client database {goal} holds {len(rows)} client(s) already, deleted ones included; nothing was"
            f" copied. {goal.way_out}"
        )


def _fill(rows: Sequence[Client], goal: Place) -> None:
    with closing(goal.open()) as store, _progress(rows) as watched:
        store.restore(watched)
    check_same(rows, goal.read(), goal)


@contextmanager
def _progress(rows: Sequence[Client]) -> Iterator[Iterable[Client]]:
    """Show on a terminal how far it is."""
    if not sys.stderr.isatty():
        yield rows
        return
    with click.progressbar(rows, label="Copying clients", file=sys.stderr) as bar:
        yield bar


COMMANDS = (migrate_db,)
