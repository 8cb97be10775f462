"""``hivemind-core``: the hub's command line. What was asked for goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hivemind_bus_client.version import __version__

from . import rights, serving
from .clients import REVOKED, Client
from .config import Config
from .console import Commands, Failure, choose, configuration, database, friendly_name, table
from .passwords import random_secret, strength_bits
from .roles import DEFAULT_ROLE, ROLES, UTTERANCES
from .storage import DuplicateKey

ANYWHERE = ("0.0.0.0", "::", "")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", **serving.CONFIG_OPTION)
@click.version_option(__version__, prog_name="hivemind-core")
def hmcore_cmds(config_file: Path | None) -> None:
    """Run a HiveMind hub and manage the clients that may join it."""


for _command in (*serving.COMMANDS, *rights.COMMANDS):
    hmcore_cmds.add_command(_command)


@hmcore_cmds.command("derive-psk")
@click.option("--password", required=True)
@click.option("--node-id", required=True, help="The hub's node id, exactly as its HELLO says it.")
def derive_psk(password: str, node_id: str) -> None:
    """Print the pre-shared key that a password gives with a hub."""
    from hivemind_bus_client import noise

    click.echo(noise.derive_psk(password, node_id).hex())


# --- adding clients -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """What the options of ``add-client`` say."""

    name: str | None
    access_key: str | None
    password: str | None
    admin: bool
    metadata: dict[str, Any] | None
    allow_weak_password: bool
    allow: tuple[str, ...]
    role: str

    def client(self) -> Client:
        """Return the record to add, with random secrets where none were given."""
        waived = {"allow_weak_password": True} if self.allow_weak_password else {}
        return Client(
            0,
            self.access_key or random_secret(),
            self.name or "",
            is_admin=self.admin,
            password=self.password or random_secret(),
            allowed_types=tuple(dict.fromkeys((*ROLES[self.role], *self.allow))),
            metadata={**(self.metadata or {}), **waived},
        )


def _usable_key(ctx: click.Context, param: click.Parameter, key: str | None) -> str | None:
    if key in ("", REVOKED):
        raise click.BadParameter(f"{key!r} cannot be an access key")
    return key


def _json_object(ctx: click.Context, param: click.Parameter, text: str | None) -> dict[str, Any] | None:
    from hivemind_bus_client import codec

    if text is None:
        return None
    try:
        value = codec.loads(text)
    except ValueError:
        raise click.BadParameter("must be valid JSON") from None
    if not isinstance(value, dict):
        raise click.BadParameter("must be a JSON object")
    return value


def _message_types(ctx: click.Context, param: click.Parameter, types: tuple[str, ...]) -> tuple[str, ...]:
    for problem in filter(None, map(rights.type_problem, types)):
        raise click.BadParameter(problem)
    return types


@hmcore_cmds.command("add-client")
@click.option("--name", callback=friendly_name, help="A friendly name.")
@click.option("--access-key", callback=_usable_key, help="The access key (default: a random one).")
@click.option("--password", help="The password (default: a random one).")
@click.option("--admin", type=bool, default=False, help="Give it administrator powers.")
@click.option("--metadata", metavar="JSON", callback=_json_object, help="A JSON object to keep with the client.")
@click.option("--allow-weak-password", is_flag=True, help="Accept a password that is easy to guess.")
@click.option(
    "--allow", multiple=True, metavar="TYPE", callback=_message_types, help="Let it send this type of message, too."
)
@click.option(
    "--role",
    type=click.Choice(list(ROLES)),
    default=DEFAULT_ROLE,
    show_default=True,
    help="What it may send: chat (utterances and playback acknowledgements) or none.",
)
def add_client(**options: Any) -> None:
    """Let a new satellite join, and print what to run on it."""
    wish = Wish(**options)
    config = configuration()
    if wish.password is not None:
        _check_password(wish, config.min_password_bits)
    with database() as db:
        try:
            client = db.add(wish.client())
        except DuplicateKey as error:
            remove = f"hivemind-core delete-client {error.other.client_id}"
            raise Failure(f"{error} Choose another key, or remove that client with `{remove}`.") from None
        click.echo(f"Database backend: {db.store.name}")
    _print_added(client, wish)
    _print_next(client, config)


def _check_password(wish: Wish, needed: float) -> None:
    if not wish.password:
        raise click.BadParameter("a password cannot be empty", param_hint="--password")
    if wish.allow_weak_password or needed <= 0:
        return
    bits = strength_bits(wish.password)
    if bits < needed:
        raise click.BadParameter(
            f"password is too guessable (~{bits:.0f} bits of resistance; {needed:.0f} required)."
            " Leave --password out to get a random one. Pass --allow-weak-password to override.",
            param_hint="--password",
        )


def _print_added(client: Client, wish: Wish) -> None:
    click.echo("Credentials added to database!\n")
    click.echo(f"Node ID: {client.client_id}")
    click.echo(f"Admin Privileges: {client.is_admin}")
    click.echo(f"Friendly Name: {client.name}")
    click.echo(f"Access Key: {client.api_key}")
    click.echo(f"Password: {client.password}")
    if wish.metadata is not None:
        click.echo(f"Metadata: {json.dumps(wish.metadata, ensure_ascii=False)}")
    if client.allowed_types:
        click.echo(f"Allowed Message Types: {', '.join(client.allowed_types)}")
        return
    click.echo("Allowed Message Types: (none — the client is DENIED on every message)")
    click.echo(
        "\nNOTE: it can join, but the hub refuses all it says, administrator or not. To let it talk to the assistant,"
        f" run\n    hivemind-core allow-msg {' '.join(reversed(UTTERANCES))} {client.client_id}"
    )


def _print_next(client: Client, config: Config) -> None:
    """Print what to run on the satellite."""
    host = config.websocket.host
    options = {
        "--key": client.api_key,
        "--password": client.password or "",
        "--host": _own_address() if host in ANYWHERE else host,
        "--port": str(config.websocket.port),
        "--siteid": client.name,
    }
    line = shlex.join(["hivemind-client", "set-identity", *(part for option in options.items() for part in option)])
    click.echo(f"\nOn the satellite, run\n    {line}\n    hivemind-client terminal")


def _own_address() -> str:
    """Return the address others reach this machine at, as far as it can tell without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address kept for documentation: only the route to it is asked
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


# --- listing and deleting -----------------------------------------------------------------------------------


@hmcore_cmds.command("list-clients")
@click.option("--show-secrets", is_flag=True, help="Show passwords, too.")
def list_clients(show_secrets: bool) -> None:
    """List the clients that may join."""
    with database() as db:
        rows = [(str(row.client_id), row.name, row.api_key, row.password or "") for row in db.all()]
    columns = ("ID", "Name", "Access Key", "Password")
    shown = len(columns) if show_secrets else len(columns) - 1
    table("HiveMind Credentials:", columns[:shown], [row[:shown] for row in rows])


@hmcore_cmds.command("delete-client")
@click.argument("node_id", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_client(node_id: str | None, yes: bool) -> None:
    """Revoke a client's credentials for good."""
    with database() as db:
        client = choose(db, node_id)
        question = f"Delete client '{client.name}' (id {client.client_id})? This permanently revokes its credentials."
        if not yes and not click.confirm(question):
            click.echo("Aborted.")
            return
        if not db.delete(client.client_id):
            raise Failure(f"Client {client.client_id} was deleted meanwhile.")
    click.echo("Revoked credentials!\n")
    click.echo(f"Node ID: {client.client_id}")
    click.echo(f"Friendly Name: {client.name}")
    click.echo(f"Access Key: {client.api_key}")
    click.echo(f"Password: {client.password}")


if __name__ == "__main__":
    hmcore_cmds()
