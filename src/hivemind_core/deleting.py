"""``hivemind-core delete-client``."""

from __future__ import annotations

import click

from .console import Failure, choose, database


@click.command("delete-client")
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


COMMANDS = (delete_client,)
