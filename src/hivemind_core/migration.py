"""``hivemind-core migrate-db``: copy the clients from one kind of database to another."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from .clients import Client
from .config import SQLITE_MODULE, Config, ConfigError
from .console import Failure, configuration
from .database import JSON_MODULE, STORES, chosen_module, database_path
from .storage import StorageError
from .storage.checks import check_same

SHORT_NAMES = {"json": JSON_MODULE, "sqlite": SQLITE_MODULE}
LEFT_BEHIND = ".lock"


def _module(context: click.Context, parameter: click.Parameter, value: str) -> str:
    module = SHORT_NAMES.get(value, value)
    if module not in STORES:
        known = ", ".join(f"{name} ({short})" for short, name in SHORT_NAMES.items())
        raise click.BadParameter(f"{value!r} is no kind of client database that this hub knows; it knows {known}")
    return module


@click.command("migrate-db")
@click.option("--from", "source", default=JSON_MODULE, show_default=True, callback=_module, metavar="MODULE")
@click.option("--to", "target", default=SQLITE_MODULE, show_default=True, callback=_module, metavar="MODULE")
def migrate_db(source: str, target: str) -> None:
    """Copy all clients from one kind of database to another; the one they come from stays as it is.

    MODULE is a name as in server.json, or json or sqlite. The files are those that server.json names for each. Stop
    the hub first: what it changes afterwards is not in the copy.
    """
    if source == target:
        raise Failure("--from and --to are the same backend; nothing to do.")
    config = configuration()
    origin, goal = (database_path(module, _options(config, module)) for module in (source, target))
    if not origin.is_file():
        raise Failure(f"There is no client database {origin} to copy from.")
    rows = STORES[source].read_only(origin)
    _copy(rows, target, goal)
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


def _copy(rows: Sequence[Client], module: str, path: Path) -> None:
    """Put rows into a database that is new or has none, and see that they are there; all of them or nothing."""
    if path.exists():
        _check_empty(STORES[module].read_only(path), path)
        _fill(rows, module, path)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        _fill(rows, module, made)
        _put_in_place(made, path)


def _check_empty(rows: Sequence[Client], path: Path) -> None:
    if rows:
        raise Failure(
            f"The client database {path} holds {len(rows)} client(s) already, deleted ones included; nothing was"
            " copied. Move that file away first."
        )


def _fill(rows: Sequence[Client], module: str, path: Path) -> None:
    with closing(STORES[module].open(path)) as store, _progress(rows) as watched:
        store.restore(watched)
    check_same(rows, STORES[module].read_only(path), path)


def _put_in_place(made: Path, path: Path) -> None:
    """Move the files of a finished database to where it belongs, the one with the rows last."""
    for file in made.parent.iterdir():
        if file != made and not file.name.endswith(LEFT_BEHIND):
            os.replace(file, path.parent / file.name)
    try:
        os.link(made, path)
    except FileExistsError:
        raise StorageError(f"Somebody has made {path} meanwhile; nothing was copied.") from None


@contextmanager
def _progress(rows: Sequence[Client]) -> Iterator[Iterable[Client]]:
    """Show on a terminal how far it is."""
    if not sys.stderr.isatty():
        yield rows
        return
    with click.progressbar(rows, label="Copying clients", file=sys.stderr) as bar:
        yield bar


COMMANDS = (migrate_db,)
