"""``hivemind-core``: the hub's command line. Payload goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import shlex
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hivemind_bus_client.version import __version__

from . import rights
from .clients import Client
from .config import Config
from .console import Failure, choose, configuration, database, failures, json_object, living, table
from .database import ClientDatabase
from .passwords import random_secret, strength_bits
from .roles import DEFAULT_ROLE, ROLES, UTTERANCES
from .storage import DuplicateKey

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="Use this server.json."
)
@click.version_option(__version__, prog_name="hivemind-core")
def hmcore_cmds(config_file: Path | None) -> None:
    """Run a HiveMind hub and manage the clients that may join it."""


for _command in rights.COMMANDS:
    hmcore_cmds.add_command(_command)


# --- the hub ------------------------------------------------------------------------------------------------


@hmcore_cmds.command()
@click.option("--host", help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen at (5678).")
@click.option("--config", "own_config", type=click.Path(path_type=Path, dir_okay=False), help="Use this server.json.")
@click.option("--agent", help="Agent to use instead of the configured one: auto, embedded, builtin, ...")
@click.option("--quick-start", is_flag=True, help="Make a first client and print how to join it.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS, case_sensitive=False), default="INFO", show_default=True)
def listen(
    host: str | None,
    port: int | None,
    own_config: Path | None,
    agent: str | None,
    quick_start: bool,
    log_level: str,
) -> None:
    """Run the hub until it is told to stop."""
    if own_config is not None:
        click.get_current_context().find_root().params["config_file"] = own_config
    with failures():
        config = _overridden(configuration(), host, port, agent)
        from . import service
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=log_level.upper(), format=form, stream=sys.stderr)
    raise SystemExit(service.run(config, quick_start=quick_start))


def _overridden(config: Config, host: str | None, port: int | None, agent: str | None) -> Config:
    websocket = config.websocket
    if host is not None:
        websocket = replace(websocket, host=host)
    if port is not None:
        websocket = replace(websocket, port=port)
    return replace(config, websocket=websocket, agent_module=agent or config.agent_module)


@hmcore_cmds.command("print-config")
def print_config() -> None:
    """Print the configuration as it is in effect, as JSON."""
    with failures():
        click.echo(json.dumps(configuration().raw, indent=2, ensure_ascii=False))


@hmcore_cmds.command("derive-psk")
@click.option("--password", required=True)
@click.option("--node-id", required=True, help="The hub's node id, exactly as its HELLO says it.")
def derive_psk(password: str, node_id: str) -> None:
    """Print the pre-shared key that a password gives with a hub."""
    from hivemind_bus_client import noise

    click.echo(noise.derive_psk(password, node_id).hex())


# --- clients ------------------------------------------------------------------------------------------------


@hmcore_cmds.command("add-client")
@click.option("--name", help="A friendly name.")
@click.option("--access-key", help="The access key (default: a random one).")
@click.option("--password", help="The password (default: a random one).")
@click.option("--admin", type=bool, default=False, help="Give it administrator powers.")
@click.option("--metadata", help="A JSON object to keep with the client.")
@click.option("--allow-weak-password", is_flag=True, help="Accept a password that is easy to guess.")
@click.option("--allow", multiple=True, metavar="TYPE", help="Let it send bus messages of this type, too.")
@click.option(
    "--role",
    type=click.Choice(sorted(ROLES)),
    default=DEFAULT_ROLE,
    show_default=True,
    help="What it may do: chat (utterances and playback acknowledgements) or none.",
)
def add_client(
    name: str | None,
    access_key: str | None,
    password: str | None,
    admin: bool,
    metadata: str | None,
    allow_weak_password: bool,
    allow: tuple[str, ...],
    role: str,
) -> None:
    """Let a new satellite join."""
    extra = json_object(metadata)
    types = _granted(role, allow)
    with failures():
        config = configuration()
        if password is not None and not allow_weak_password:
            _check_strength(password, config.min_password_bits)
    kept = dict(extra or {})
    if password is not None and allow_weak_password:
        kept["allow_weak_password"] = True
    fresh = Client(
        0,
        access_key or random_secret(),
        name or "",
        is_admin=admin,
        password=password or random_secret(),
        allowed_types=types,
        metadata=kept,
    )
    with database() as db:
        client = _added(db, fresh if name else replace(fresh, name=f"HiveMind-Node-{len(db)}"))
        _print_added(db, client, extra)
    _print_next(client, config)


def _granted(role: str, allow: tuple[str, ...]) -> tuple[str, ...]:
    for msg_type in allow:
        if not msg_type:
            raise click.BadParameter("a message type cannot be empty", param_hint="--allow")
        if msg_type.split() != [msg_type]:
            raise click.BadParameter("a message type cannot contain white space", param_hint="--allow")
    return tuple(dict.fromkeys((*ROLES[role], *allow)))


def _check_strength(password: str, needed: float) -> None:
    bits = strength_bits(password)
    if bits < needed:
        raise click.BadParameter(
            f"password is too guessable (~{bits:.0f} bits of resistance; {needed:.0f} required)."
            " Leave --password out to get a random one. Pass --allow-weak-password to override.",
            param_hint="--password",
        )


def _added(db: ClientDatabase, fresh: Client) -> Client:
    try:
        return db.add(fresh)
    except DuplicateKey as error:
        other = error.other
        raise Failure(
            f"A client already exists for access key '{other.api_key}'"
            f" (Node ID: {other.client_id}, Friendly Name: {other.name})."
            " Choose another key, or remove that client with `hivemind-core delete-client"
            f" {other.client_id}`."
        ) from None


def _print_added(db: ClientDatabase, client: Client, extra: dict[str, Any] | None) -> None:
    click.echo(f"Database backend: {db.store.name}")
    click.echo("Credentials added to database!\n")
    click.echo(f"Node ID: {client.client_id}")
    click.echo(f"Admin Privileges: {client.is_admin}")
    click.echo(f"Friendly Name: {client.name}")
    click.echo(f"Access Key: {client.api_key}")
    click.echo(f"Password: {client.password}")
    if extra is not None:
        click.echo(f"Metadata: {json.dumps(extra, ensure_ascii=False)}")
    if client.allowed_types:
        click.echo(f"Allowed Message Types: {', '.join(client.allowed_types)}")
        return
    click.echo("Allowed Message Types: (none — the client is DENIED on every message)")
    click.echo(
        "\nNOTE: it can join, but the hub refuses all it says. To let it talk to the assistant, run\n"
        f"    hivemind-core allow-msg {' '.join(reversed(UTTERANCES))} {client.client_id}"
    )


def _print_next(client: Client, config: Config) -> None:
    """Print what to run on the satellite."""
    line = shlex.join(
        ("hivemind-client", "set-identity", "--key", client.api_key, "--password", client.password or "",
         "--host", _own_address(), "--port", str(config.websocket.port), "--siteid", client.name)
    )  # fmt: skip
    click.echo(f"\nOn the satellite, run\n    {line}\n    hivemind-client terminal")


def _own_address() -> str:
    """Return the address others reach this machine at, as far as it can tell without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 1))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


@hmcore_cmds.command("list-clients")
@click.option("--show-secrets", is_flag=True, help="Show passwords, too.")
def list_clients(show_secrets: bool) -> None:
    """List the clients that may join."""
    with database() as db:
        rows = living(db)
        columns = ["ID", "Name", "Access Key", *(["Password"] if show_secrets else [])]
        lines = [
            [str(row.client_id), row.name, row.api_key, *([row.password or ""] if show_secrets else [])]
            for row in rows
        ]
        table("HiveMind Credentials:", columns, lines)


@hmcore_cmds.command("delete-client")
@click.argument("node_id", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_client(node_id: str | None, yes: bool) -> None:
    """Revoke a client's credentials for good."""
    with database() as db:
        client = choose(db, node_id)
        question = (
            f"Delete client '{client.name}' (id {client.client_id})? This permanently revokes its credentials."
        )
        if not yes and not click.confirm(question):
            click.echo("Aborted.")
            return
        db.delete(client.client_id)
        click.echo("Revoked credentials!\n")
        click.echo(f"Node ID: {client.client_id}")
        click.echo(f"Friendly Name: {client.name}")
        click.echo(f"Access Key: {client.api_key}")
        click.echo(f"Password: {client.password}")


if __name__ == "__main__":
    hmcore_cmds()
