"""Commands that change one thing of one client, made from tables: rights, lists, the admin flag, the pin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import click

from .clients import Client
from .console import choose, database, gone
from .database import ClientDatabase

Change = Callable[[ClientDatabase, Client], Client | None]


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
        with database() as db:
            client = choose(db, node_id)
            changed = getattr(client, flag.column) is not flag.value
            if changed and db.update(client.client_id, {flag.column: flag.value}) is None:
                gone(client)
            click.echo((flag.done if changed else flag.already).format(name=client.name))
            if flag.column == "can_broadcast" and flag.value and not client.is_admin:
                click.echo(f"NOTE: {client.name} is not an admin, so it still can not broadcast")

    return command


@dataclass(frozen=True)
class Listing:
    """A list of names in the metadata: what is blacklisted for a client."""

    word: str
    key: str


LISTINGS = (Listing("skill", "skill_blacklist"), Listing("intent", "intent_blacklist"))


def _listing_command(listing: Listing, *, add: bool) -> click.Command:
    verb = "blacklist" if add else "allow"
    purpose = f"Keep a client's utterances from one {listing.word}" if add else f"Undo blacklist-{listing.word}"

    @click.command(f"{verb}-{listing.word}", help=f"{purpose}.")
    @click.argument("value")
    @click.argument("node_id", required=False)
    def command(value: str, node_id: str | None) -> None:
        with database() as db:
            client = choose(db, node_id)
            present: list[str] = getattr(client, listing.key)
            if (value in present) is add:
                state = f"Client {client.name} already has '{value}' in {listing.key}"
                click.echo(state if add else f"'{value}' is not in {listing.key} for client {client.name}")
                return
            wanted = [*present, value] if add else [item for item in present if item != value]
            if db.patch_metadata(client.client_id, {listing.key: wanted}) is None:
                gone(client)
            click.echo(f"{'Blacklisted' if add else 'Unblacklisted'} '{value}' for {client.name}")

    return command


def _types_of(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """Split what follows ``allow-msg``: with two or more, the last one names the client."""
    return (arguments, None) if len(arguments) == 1 else (arguments[:-1], arguments[-1])


def _type_problem(msg_type: str) -> str | None:
    if not msg_type:
        return "A message type cannot be empty"
    return "A message type cannot contain white space" if msg_type.split() != [msg_type] else None


@click.command("allow-msg")
@click.argument("arguments", nargs=-1, required=True, metavar="MSG_TYPE... [NODE_ID]")
def allow_msg(arguments: tuple[str, ...]) -> None:
    """Let a client send bus messages of these types."""
    types, node_id = _types_of(arguments)
    for msg_type in types:
        problem = _type_problem(msg_type)
        if problem:
            click.echo(f"{problem}; nothing was granted.")
            raise SystemExit(1)
    with database() as db:
        client = choose(db, node_id)
        allowed = list(client.allowed_types)
        for msg_type in types:
            if msg_type in allowed:
                click.echo(f"Client {client.name} already allowed '{msg_type}'")
                continue
            allowed.append(msg_type)
            if db.update(client.client_id, {"allowed_types": allowed}) is None:
                gone(client)
            click.echo(f"Allowed '{msg_type}' for {client.name}")


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
        kept = [item for item in client.allowed_types if item != msg_type]
        if db.update(client.client_id, {"allowed_types": kept}) is None:
            gone(client)
        click.echo(f"Blacklisted '{msg_type}' for {client.name}")


@click.command("rename-client")
@click.argument("node_id", required=False)
@click.option("--name", required=True, help="The new name.")
def rename_client(node_id: str | None, name: str) -> None:
    """Give a client another name."""
    with database() as db:
        client = choose(db, node_id)
        if db.update(client.client_id, {"name": name}) is None:
            gone(client)
        click.echo(f"Renamed '{client.name}' to '{name}'")


@click.command("reset-noise-pin")
@click.argument("node_id", required=False)
def reset_noise_pin(node_id: str | None) -> None:
    """Let a client's next connection present a new device key."""
    with database() as db:
        client = choose(db, node_id)
        if "noise_pubkey" not in client.metadata:
            click.echo(f"{client.name} has no pinned Noise key — nothing to reset")
            return
        if db.patch_metadata(client.client_id, {}, ["noise_pubkey"]) is None:
            gone(client)
        click.echo(
            f"Forgot the pinned Noise key for {client.name}. Its next connection will pin the key it presents."
        )


COMMANDS: tuple[click.Command, ...] = (
    allow_msg,
    blacklist_msg,
    rename_client,
    reset_noise_pin,
    *(_flag_command(flag) for flag in FLAGS),
    *(_listing_command(listing, add=add) for listing in LISTINGS for add in (False, True)),
)
