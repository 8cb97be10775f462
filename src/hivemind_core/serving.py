"""``hivemind-core listen`` and ``print-config``: the hub itself, and what it goes by."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

from .config import WEBSOCKET_MODULE, check_transports
from .console import configuration, masked

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
SECRETS = frozenset({"password", "broker_password", "redis_url", "session_redis_url"})
"""Keys of server.json whose texts are not shown unasked."""

CONFIG_OPTION: dict[str, Any] = {
    "type": click.Path(path_type=Path),
    "metavar": "FILE",
    "help": "Use this server.json.",
}



@click.command()
@click.option("--host", help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen at (default: 5678).")
@click.option("--config", "own_config", **CONFIG_OPTION)
@click.option("--agent", help="Agent to use instead of the configured one: auto, embedded, builtin, ...")
@click.option("--quick-start", is_flag=True, help="Make a first client and print how to join it.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS, case_sensitive=False), default="INFO", show_default=True)
def listen(own_config: Path | None, quick_start: bool, log_level: str, **given: Any) -> None:
    """Run the hub until it is told to stop."""
    if own_config is not None:
        click.get_current_context().find_root().params["config_file"] = own_config
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    config = configuration(**_overrides(**given))
    check_transports(config)
    from . import service

    raise SystemExit(service.run(config, quick_start=quick_start))


def _overrides(host: str | None, port: int | None, agent: str | None) -> dict[str, Any]:
    """Return what the command line says as a part of server.json."""
    address = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    overrides: dict[str, Any] = {"network_protocol": {WEBSOCKET_MODULE: address}} if address else {}
    return overrides | ({"agent_protocol": {"module": agent}} if agent else {})


@click.command("print-config")
@click.option("--show-secrets", is_flag=True, help="Show passwords, too.")
def print_config(show_secrets: bool) -> None:
    """Print the configuration as it is in effect, as JSON."""
    document = configuration().raw
    shown = document if show_secrets else masked(document, SECRETS)
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


COMMANDS = (listen, print_config)
