"""``hivemind-core add-client``, and the roles it grants."""

from __future__ import annotations

import json
import os
import shlex
import socket
from dataclasses import dataclass
from typing import Any

import click

from . import client_metadata, options
from .clients import Client
from .config import Config
from .console import Failure, configuration, database, friendly_name, print_json, table
from .environment import ADVERTISED_HOST, ADVERTISED_PORT
from .passwords import random_secret
from .roles import DEFAULT_ROLE, ROLES, UTTERANCES
from .storage import DuplicateKey
from .whereabouts import as_it_runs

ANYWHERE = ("0.0.0.0", "::", "")
RSA_PROTOCOL = 1
PRE_SHARED_PROTOCOL = 0
ROLES_HELP = "\b\nRoles:\n" + "\n".join(f"  {name:<7} {role.meaning}" for name, role in ROLES.items())


@dataclass(frozen=True)
class Wish:
    """What the options of ``add-client`` say."""

    name: str | None
    access_key: str | None
    password: str | None
    no_password: bool
    crypto_key: str | None
    admin: bool | None
    metadata: dict[str, Any] | None
    allow_weak_password: bool
    allow: tuple[str, ...]
    role: str

    def client(self) -> Client:
        """Return the record to add, with random secrets where none were given."""
        role = ROLES[self.role]
        columns: dict[str, Any] = dict(role.columns)
        if self.admin is not None:
            columns["is_admin"] = self.admin
        return Client(
            0,
            self.access_key or random_secret(),
            self.name or "",
            password=None if self.no_password else self.password or random_secret(),
            allowed_types=tuple(dict.fromkeys((*role.types, *self.allow))),
            metadata={**(self.metadata or {}), **self._marks()},
            **columns,
        )

    def _marks(self) -> dict[str, Any]:
        marks: dict[str, Any] = {}
        if self.allow_weak_password and self.password is not None:
            marks["allow_weak_password"] = True
        if self.crypto_key is not None:
            marks["crypto_key"] = self.crypto_key
        return marks


@click.command("add-client", epilog=ROLES_HELP)
@click.option("--name", callback=friendly_name, help="A friendly name.")
@click.option("--access-key", callback=options.access_key, help="The access key (default: a random one).")
@click.option("--password", help="The password (default: a random one).")
@click.option("--no-password", is_flag=True, help="Make one without a password, for satellites of protocol 1 (RSA).")
@click.option("--crypto-key", callback=options.crypto_key, help="A pre-shared key for satellites of protocol 0.")
@click.option("--admin", type=bool, help="Give it administrator powers, or not (default: as its role says).")
@click.option("--metadata", metavar="JSON", callback=options.json_object, help="A JSON object to keep with the client.")
@click.option("--allow-weak-password", is_flag=True, help="Accept a password that is easy to guess.")
@click.option(
    "--allow",
    multiple=True,
    metavar="TYPE",
    callback=options.message_types,
    help="Let it send this type of message, too. May be given several times.",
)
@click.option(
    "--role", type=click.Choice(list(ROLES)), default=DEFAULT_ROLE, show_default=True, help="What it may do; see below."
)
def add_client(**given: Any) -> None:
    """Let a new satellite join, and print what to run on it."""
    wish = Wish(**given)
    config = configuration()
    if wish.password is not None and wish.no_password:
        raise click.UsageError("--password and --no-password exclude each other.")
    options.check_password(wish.password, 0 if wish.allow_weak_password else config.min_password_bits)
    with database() as db:
        try:
            client = db.add(wish.client())
        except DuplicateKey as error:
            remove = f"hivemind-core delete-client {error.other.client_id}"
            raise Failure(f"{error} Choose another key, or remove that client with `{remove}`.") from None
        backend = db.store.name
    click.echo(f"Database backend: {backend}")
    _print_added(client, wish)
    if client.password is not None:
        _print_next(client, config)
    options.warn_of_hub_keys(wish.metadata or {})
    _print_legacy(client, config)


# --- what is printed ----------------------------------------------------------------------------------------


def _print_added(client: Client, wish: Wish) -> None:
    click.echo("Credentials added to database!\n")
    click.echo(f"Node ID: {client.client_id}")
    click.echo(f"Admin Privileges: {client.is_admin}")
    click.echo(f"Friendly Name: {client.name}")
    click.echo(f"Access Key: {client.api_key}")
    click.echo(f"Password: {client.password or '(none)'}")
    if wish.crypto_key is not None:
        click.echo(f"Encryption Key: {wish.crypto_key}")
    if wish.metadata is not None:
        shown = client_metadata.shown(wish.metadata)
        click.echo(f"Metadata: {json.dumps(shown, ensure_ascii=False, sort_keys=True)}")
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
    config = as_it_runs(config)
    listens_at = config.front.host
    host = os.environ.get(ADVERTISED_HOST) or (_own_address() if listens_at in ANYWHERE else listens_at)
    arguments = {
        "--key": client.api_key,
        "--password": client.password or "",
        "--host": config.front.dialled_as(host),
        "--port": os.environ.get(ADVERTISED_PORT) or str(config.front.port),
        "--siteid": client.name,
    }
    line = shlex.join(["hivemind-client", "set-identity", *(part for pair in arguments.items() for part in pair)])
    click.echo(f"\nOn the satellite, run\n    {line}\n    hivemind-client terminal")


def _print_legacy(client: Client, config: Config) -> None:
    """Say on stderr what an old way to join needs that this hub does not allow."""
    if client.password is None:
        _print_floor("A client without a password joins by", RSA_PROTOCOL, config)
    if "crypto_key" in client.metadata:
        _print_floor("The encryption key serves satellites of", PRE_SHARED_PROTOCOL, config)


def _print_floor(what: str, protocol: int, config: Config) -> None:
    if config.min_protocol_version > protocol:
        click.echo(
            f"NOTE: {what} protocol {protocol}, which this hub refuses: `min_protocol_version` is"
            f" {config.min_protocol_version}. Set it to {protocol} in {config.path}.",
            err=True,
        )


def _own_address() -> str:
    """Return the address others reach this machine at, as far as it can tell without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address kept for documentation: only the route to it is asked
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


# --- roles --------------------------------------------------------------------------------------------------


@click.command("roles")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_roles(as_json: bool) -> None:
    """List the roles a new client can be given, with the message types of each."""
    if as_json:
        documents = {
            name: {"meaning": role.meaning, "allowed_types": role.types, **role.columns} for name, role in ROLES.items()
        }
        print_json(documents)
    else:
        rows = [(name, role.meaning, "\n".join(role.types)) for name, role in ROLES.items()]
        table("Roles", ("Role", "Meaning", "Message Types"), rows)


COMMANDS = (add_client, list_roles)
