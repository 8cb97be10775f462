"""``hivemind-core rotate-password``: a new password for a client, while the previous one stays valid for some time."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from . import grace, options
from .clients import Client
from .console import Failure, choose, configuration, database, edit, print_json
from .moments import UNITS_S, local_time
from .passwords import random_secret

DEFAULT_GRACE, DEFAULT_GRACE_S = "24h", 24 * UNITS_S["h"]
RSA_ONLY = (
    "{name} has no password: it joins with its RSA key, which is not accepted any more once there is a password, and"
    " there is none before the new one to stay valid. Pass --grace 0 to give it one all the same."
)


@dataclass(frozen=True)
class Rotation:
    """What the command is to do."""

    password: str
    grace_s: int
    now: int
    """Unix time, seconds."""
    allow_weak: bool

    def columns(self, row: Client) -> Mapping[str, Any]:
        """Return what to write into the row as it is now. Raises Failure."""
        if self.password == row.password:
            raise Failure(f"That is the password {row.name} has already; nothing was changed.")
        if self.grace_s and not row.password:
            raise Failure(RSA_ONLY.format(name=row.name))
        until = self.now + self.grace_s if self.grace_s else None
        return grace.rotated(row, self.password, until, allow_weak=self.allow_weak)


@click.command("rotate-password")
@click.argument("node_id", required=False)
@click.option("--password", help="The new password (default: a random one).")
@click.option(
    "--grace",
    "grace_s",
    metavar="DURATION",
    callback=options.duration,
    help=f"How long the previous password stays valid: 90m, 24h, 7d; 0 ends it at once. [default: {DEFAULT_GRACE}]",
)
@click.option("--allow-weak-password", is_flag=True, help="Accept a password that is easy to guess.")
@click.option("--end-grace", is_flag=True, help="Make no new password; the previous one is no longer valid.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rotate_password(
    node_id: str | None,
    password: str | None,
    grace_s: int | None,
    allow_weak_password: bool,
    end_grace: bool,
    as_json: bool,
) -> None:
    """Give a client a new password. The one it has stays valid for a while, so that nobody is locked out.

    Only the password before the new one stays valid; one before that, from an earlier rotation, ends at once.
    """
    if end_grace:
        if password is not None or grace_s is not None or allow_weak_password:
            raise click.UsageError("--end-grace goes with none of --password, --grace and --allow-weak-password.")
        _end_grace(node_id, as_json=as_json)
        return
    options.check_password(password, 0 if allow_weak_password else configuration().min_password_bits)
    wish = Rotation(
        password or random_secret(),
        DEFAULT_GRACE_S if grace_s is None else grace_s,
        int(time.time()),
        allow_weak_password and password is not None,
    )
    _rotate(node_id, wish, as_json=as_json)


def _rotate(node_id: str | None, wish: Rotation, *, as_json: bool) -> None:
    before: list[grace.Grace | None] = []

    def change(row: Client) -> Mapping[str, Any]:
        before[:] = [grace.grace_of(row, wish.now)]
        return wish.columns(row)

    with database() as db:
        client = edit(db, choose(db, node_id), change)
    line = shlex.join(["hivemind-client", "set-identity", "--password", wish.password])
    if as_json:
        print_json({**_document(client, wish.now), "password": wish.password, "run": line})
    else:
        _print_rotated(client, wish, line)
    if before[0] is not None:
        click.echo(f"NOTE: {_replaced(before[0])}", err=True)


def _print_rotated(client: Client, wish: Rotation, line: str) -> None:
    valid = grace.grace_of(client, wish.now)
    until = "no longer valid" if valid is None else f"valid until {local_time(valid.until)}"
    click.echo(f"Gave {client.name} a new password\n")
    click.echo(f"Node ID: {client.client_id}")
    click.echo(f"Friendly Name: {client.name}")
    click.echo(f"Password: {wish.password}")
    click.echo(f"Previous Password: {until}")
    click.echo(f"\nOn the satellite, run\n    {line}")


def _replaced(before: grace.Grace) -> str:
    used = "" if before.used is None else f" A device used it last at {local_time(before.used)}."
    return f"the password before the previous one was valid until {local_time(before.until)}, and is no more.{used}"


def _end_grace(node_id: str | None, *, as_json: bool) -> None:
    now, before = time.time(), []

    def change(row: Client) -> Mapping[str, Any]:
        before.append(grace.grace_of(row, now))
        return grace.ended(row)

    with database() as db:
        client = edit(db, choose(db, node_id), change)
    if as_json:
        print_json(_document(client, now))
    elif before[-1] is None:
        click.echo(f"{client.name} has no previous password that is valid — nothing to end")
    else:
        click.echo(f"The previous password of {client.name} is no longer valid")


def _document(client: Client, now: float) -> dict[str, Any]:
    valid = grace.grace_of(client, now)
    return {
        "client_id": client.client_id,
        "name": client.name,
        "previous_password_valid_until": None if valid is None else valid.until,
    }


COMMANDS = (rotate_password,)
