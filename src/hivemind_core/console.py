"""What the hub's commands share: opening what they work on, choosing a client, tables, failures in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import click

from .clients import Client
from .config import Config, ConfigError, load_config
from .database import ClientDatabase, open_database
from .ownership import explained
from .storage import Change, StorageError

HUB_PACKAGES = frozenset({"aiohttp", "msgspec", "rich", "zxcvbn"})
TYPES_WIDTH = 60
ID_DIGITS = 20
INSTALL_HUB = "pip install 'hivemind-mesh[hub]'"
MAX_NAME = 64


def friendly_name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Check a client's name, which stands in addresses, logs and tables. Raises BadParameter."""
    if value and not (len(value) <= MAX_NAME and value.isprintable()):
        raise click.BadParameter(f"a name is printable text of at most {MAX_NAME} characters")
    return value


class Failure(click.ClickException):
    """One line on stderr, exit code 1."""


class WrongConfiguration(Failure):
    """One line on stderr, exit code 2."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands fail in one line and with the exit code that goes with it; never with a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        for argument in args:
            if not _is_text(argument):
                raise click.UsageError(f"{argument!a} is not text in this terminal's encoding.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise WrongConfiguration(explained(error)) from None
        except BrokenPipeError:
            raise
        except (StorageError, OSError) as error:
            raise Failure(explained(error)) from None
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in HUB_PACKAGES:
                raise
            raise Failure(f"The hub needs {error.name}, which is not installed. Run: {INSTALL_HUB}") from None


def _is_text(argument: str) -> bool:
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def configuration(**overrides: Any) -> Config:
    """Return the configuration that the command line chose; see `load_config`."""
    path: Path | None = click.get_current_context().find_root().params.get("config_file")
    return load_config(path, overrides=overrides)


@contextmanager
def database() -> Iterator[ClientDatabase]:
    """Open the client database for one command.

    The hub's identity comes first: a database without one is the sign of a released installation to adopt.
    """
    from .audit import Author
    from .audit_log import AuditLog, audit_path, this_account
    from .hub_identity import load_identity

    config = configuration()
    load_identity()
    author = Author("command", this_account(), click.get_current_context().command.name)
    with closing(open_database(config)) as db:
        db.changed = AuditLog(audit_path()).recorder(author)
        yield db


# --- choosing a client --------------------------------------------------------------------------------------


def choose(db: ClientDatabase, wanted: str | None, hint: str = "") -> Client:
    """Return the client with this access key, id or name; ask when nothing is named and there are several.

    `hint` is said where there is no such client.
    """
    if wanted is not None:
        return _named(db, wanted, hint)
    rows = db.all()
    if not rows:
        click.echo("No clients found!")
        click.get_current_context().exit(0)
    if len(rows) > 1:
        return _asked(rows)
    click.echo(f"Taking the only client there is: '{rows[0].name}' (id {rows[0].client_id}).", err=True)
    return rows[0]


def find(db: ClientDatabase, wanted: str) -> Client | None:
    """Return the client with this access key, else this id, else this name. Raises Failure where a name is shared."""
    found = db.by_key(wanted)
    if found is not None:
        return found
    if wanted.isascii() and wanted.isdecimal():  # never a name: the id may have been somebody else's
        return db.by_id(int(wanted)) if len(wanted) < ID_DIGITS else None
    called = [row for row in db.all() if row.name == wanted] if wanted else []
    if len(called) > 1:
        ids = ", ".join(str(row.client_id) for row in called)
        raise Failure(f"Invalid Node ID! Several clients are called {wanted!r}; name one by its id: {ids}.")
    return called[0] if called else None


def _named(db: ClientDatabase, wanted: str, hint: str) -> Client:
    found = find(db, wanted)
    if found is None:
        sentence = f"Invalid Node ID! No client has the id, access key or name {wanted!r}."
        raise Failure(" ".join(filter(None, (sentence, "See `hivemind-core list-clients`.", hint))))
    return found


def _asked(rows: Sequence[Client]) -> Client:
    lines = [(str(row.client_id), row.name, fill(", ".join(row.allowed_types), TYPES_WIDTH)) for row in rows]
    table("HiveMind Clients", ("ID", "Name", "Allowed Msg Types"), lines)
    by_id = {str(row.client_id): row for row in rows}
    leave = str(rows[-1].client_id + 1)
    question = f"Which client do you want to select? ({leave} = 'Exit') [{'/'.join((*by_id, leave))}]"
    while True:
        answer = click.prompt(question).strip()
        if answer == leave:
            click.echo("User exit")
            click.get_current_context().exit(0)
        if answer in by_id:
            return by_id[answer]
        click.echo("Please select one of the available options")


def edit(db: ClientDatabase, client: Client, change: Change) -> Client:
    """Change columns of the chosen client; see `ClientDatabase.edit`."""
    changed = db.edit(client.client_id, change)
    if changed is None:
        raise Failure(f"Client {client.client_id} was deleted meanwhile.")
    return changed


# --- printing -----------------------------------------------------------------------------------------------


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as what is in it; nothing is ever cut off."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title)
    for column in columns:
        drawn.add_column(column, no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    text = io.StringIO()
    Console(file=text, width=100_000).print(drawn, crop=False, soft_wrap=True)
    click.echo(text.getvalue(), nl=False)


def print_json(document: Any) -> None:
    """Print one JSON document; a number that JSON has no spelling for is printed as null."""
    from hivemind_bus_client import codec

    click.echo(json.dumps(codec.finite(document), indent=2, ensure_ascii=False))


def masked(document: Any, secrets: frozenset[str]) -> Any:
    """Return a JSON document with the texts under these keys replaced, wherever they are."""
    if isinstance(document, dict):
        return {
            key: "********" if key in secrets and isinstance(value, str) and value else masked(value, secrets)
            for key, value in document.items()
        }
    return [masked(item, secrets) for item in document] if isinstance(document, list) else document
