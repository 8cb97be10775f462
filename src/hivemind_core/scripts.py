"""``hivemind-core``: the hub's command line. What was asked for goes to stdout, everything else to stderr."""

from __future__ import annotations

from pathlib import Path

import click

from hivemind_bus_client.version import __version__

from . import (
    adding,
    audit_command,
    deleting,
    doctor_command,
    healthcheck,
    install_service,
    listing,
    metadata_command,
    migration,
    options,
    policy_commands,
    rights,
    rotation,
    serving,
)
from .cluster import commands as cluster_commands
from .console import Commands

MODULES = (
    *(serving, adding, listing, deleting, rights, rotation, metadata_command, policy_commands, migration),
    *(audit_command, healthcheck, doctor_command, install_service, cluster_commands),
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", **serving.CONFIG_OPTION)
@click.version_option(__version__, prog_name="hivemind-core")
def hmcore_cmds(config_file: Path | None) -> None:
    """Run a HiveMind hub and manage the clients that may join it."""


@hmcore_cmds.command("derive-psk")
@click.option("--password", required=True, callback=options.not_empty)
@click.option(
    "--node-id", required=True, callback=options.not_empty, help="The hub's node id, exactly as its HELLO says it."
)
def derive_psk(password: str, node_id: str) -> None:
    """Print the pre-shared key that a password gives with a hub."""
    from hivemind_bus_client import noise

    click.echo(noise.derive_psk(password, node_id).hex())


for _module in MODULES:
    for _command in _module.COMMANDS:
        hmcore_cmds.add_command(_command)


if __name__ == "__main__":
    hmcore_cmds()
