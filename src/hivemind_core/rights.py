"""Commands that change one thing of one client, made from tables: rights, lists, the admin flag, name and pin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from .clients import Client
from .console import choose, database, edit, friendly_name
from .options import type_problem

# --- flags --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flag:
    """A command that switches a column."""

    command: str
    column: str
    value: bool
    done: str
    already: str
    help: str


FLAGS = (
    Flag("make-admin", "is_admin", True, "Gave administrator powers to {name}", "{name} is already an administrator!",
         "Make a client an administrator."),
    Flag("revoke-admin", "is_admin", False, "Revoked administrator powers for {name}",
         "{name} is not an administrator", "Take administrator powers from a client."),
    *(
        flag
        for verb in ("escalate", "propagate", "broadcast")
        for flag in (
            Flag(f"allow-{verb}", f"can_{verb}", True, f"Allowed '{verb.upper()}' messages for {{name}}",
                 f"Client {{name}} already allowed to send '{verb.upper()}' messages",
                 f"Let a client send {verb.upper()} messages."),
            Flag(f"blacklist-{verb}", f"can_{verb}", False, f"Blacklisted '{verb.upper()}' messages for {{name}}",
                 f"Client '{{name}}' '{verb.upper()}' messages already blacklisted",
                 f"Stop a client from sending {verb.upper()} messages."),
        )
    ),
)  # fmt: skip


def _flag_command(flag: Flag) -> click.Command:
    @click.command(flag.command, help=flag.help)
    @click.argument("node_id", required=False)
    def command(node_id: str | None) -> None:
        column: dict[str, Any] = {flag.column: flag.value}
        with database() as db:
            client = choose(db, node_id)
            changed = replace(client, **column) != client
            if changed:
                edit(db, client, lambda row: column)
            click.echo((flag.done if changed else flag.already).replace("{name}", client.name))
            if changed and flag.command == "allow-broadcast" and not client.is_admin:
                click.echo(f"NOTE: {client.name} is not an admin, so it still can not broadcast")

    return command


# --- lists --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Barred:
    """What a client's utterances are kept from: a list of names in the metadata."""

    word: str
    key: str
    read: Callable[[Client], list[str]]


BARRED = (
    Barred("skill", "skill_blacklist", lambda client: client.skill_blacklist),
    Barred("intent", "intent_blacklist", lambda client: client.intent_blacklist),
)


def _barring_command(barred: Barred, *, add: bool) -> click.Command:
    verb, purpose = ("blacklist", "Keep a client from one") if add else ("allow", "No longer keep a client from one")

    @click.command(f"{verb}-{barred.word}", help=f"{purpose} {barred.word}.")
    @click.argument("value")
    @click.argument("node_id", required=False)
    def command(value: str, node_id: str | None) -> None:
        if add and not (value and value.isprintable()):
            raise click.UsageError(f"{value!r} cannot be the name of a {barred.word}; nothing was barred.")

        def change(row: Client) -> Mapping[str, Any]:
            others = [item for item in barred.read(row) if item != value]
            return {"metadata": {**row.metadata, barred.key: [*others, value] if add else others}}

        with database() as db:
            client = choose(db, node_id)
            if (value in barred.read(client)) is not add:
                edit(db, client, change)
                click.echo(f"{'Blacklisted' if add else 'Unblacklisted'} '{value}' for {client.name}")
            elif add:
                click.echo(f"Client {client.name} already has '{value}' in {barred.key}")
            else:
                click.echo(f"'{value}' is not in {barred.key} for client {client.name}")

    return command


LAST_IS_CLIENT = "Of two or more arguments the last one names the client."


@click.command("allow-msg")
@click.argument("arguments", nargs=-1, required=True, metavar="MSG_TYPE... [NODE_ID]")
def allow_msg(arguments: tuple[str, ...]) -> None:
    """Let a client send bus messages of these types. Of two or more arguments the last one names the client."""
    types, node_id = (arguments, None) if len(arguments) == 1 else (arguments[:-1], arguments[-1])
    for problem in filter(None, map(type_problem, types)):
        raise click.UsageError(f"{problem.capitalize()}; nothing was granted.")
    with database() as db:
        client = choose(db, node_id, hint=LAST_IS_CLIENT)
        if not set(types) <= set(client.allowed_types):
            edit(db, client, lambda row: {"allowed_types": tuple(dict.fromkeys((*row.allowed_types, *types)))})
        named = list(dict.fromkeys(types))
        for msg_type in (item for item in named if item not in client.allowed_types):
            click.echo(f"Allowed '{msg_type}' for {client.name}")
        for msg_type in (item for item in named if item in client.allowed_types):
            click.echo(f"Client {client.name} already allowed '{msg_type}'")


@click.command("blacklist-msg")
@click.argument("msg_type")
@click.argument("node_id", required=False)
def blacklist_msg(msg_type: str, node_id: str | None) -> None:
    """Stop a client from sending bus messages of a type."""
    with database() as db:
        client = choose(db, node_id)
        if msg_type not in client.allowed_types:
            click.echo(f"Client '{client.name}' message already blacklisted: '{msg_type}'")
            return
        edit(db, client, lambda row: {"allowed_types": tuple(kept for kept in row.allowed_types if kept != msg_type)})
        click.echo(f"Blacklisted '{msg_type}' for {client.name}")


# --- name and pin -------------------------------------------------------------------------------------------


PIN = "noise_pubkey"


@click.command("rename-client")
@click.argument("node_id", required=False)
@click.option("--name", required=True, callback=friendly_name, help="The new name.")
def rename_client(node_id: str | None, name: str) -> None:
    """Give a client another name."""
    with database() as db:
        client = choose(db, node_id)
        edit(db, client, lambda row: {"name": name})
        click.echo(f"Renamed '{client.name}' to '{name}'")


@click.command("reset-noise-pin")
@click.argument("node_id", required=False)
def reset_noise_pin(node_id: str | None) -> None:
    """Let a client's next connection present a new device key."""
    with database() as db:
        client = choose(db, node_id)
        if not client.metadata.get(PIN):
            click.echo(f"{client.name} has no pinned Noise key — nothing to reset")
            return
        edit(db, client, _unpinned)
        click.echo(f"Forgot the pinned Noise key for {client.name}. Its next connection will pin the key it presents.")


def _unpinned(row: Client) -> Mapping[str, Any]:
    return {"metadata": {key: value for key, value in row.metadata.items() if key != PIN}}


COMMANDS: tuple[click.Command, ...] = (
    allow_msg,
    blacklist_msg,
    rename_client,
    reset_noise_pin,
    *(_flag_command(flag) for flag in FLAGS),
    *(_barring_command(barred, add=add) for barred in BARRED for add in (False, True)),
)
