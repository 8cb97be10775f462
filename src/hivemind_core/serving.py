"""``hivemind-core listen`` and ``print-config``: the hub itself, and what it goes by."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

from hivemind_bus_client.log_lines import formatter

from .config import WEBSOCKET_MODULE, check_transports, warnings
from .console import configuration, masked
from .environment import LOG_FORMATS, LOG_LEVELS

log = logging.getLogger(__name__)

SECRETS = frozenset({"key", "api_key", "password", "broker_password", "redis_url", "session_redis_url", "token"})
"""Keys of server.json whose texts are not shown unasked."""

CONFIG_OPTION: dict[str, Any] = {
    "type": click.Path(path_type=Path),
    "metavar": "FILE",
    "help": "Use this server.json.",
}


@click.command()
@click.option("--host", help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen at (default: 5678).")
@click.option("--ssl/--no-ssl", default=None, help="Serve TLS (wss://), with a certificate made on demand, or not.")
@click.option("--config", "own_config", **CONFIG_OPTION)
@click.option("--agent", help="Agent to use instead of the configured one: auto, embedded, builtin, ...")
@click.option(
    "--quick-start", is_flag=True, help="Make a first client, print how to join it, and open a chatroom for browsers."
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS, case_sensitive=False), help="How much to log.")
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS, case_sensitive=False),
    help="How its lines look (default: journal where systemd keeps the log, else plain).",
)
def listen(own_config: Path | None, quick_start: bool, **given: Any) -> None:
    """Run the hub until it is told to stop.

    What counts, in this order: these options, the environment (HIVEMIND_PORT and others), server.json, the defaults.
    """
    if own_config is not None:
        click.get_current_context().find_root().params["config_file"] = own_config
    config = configuration(**_overrides(**given))
    check_transports(config)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(config.log_format, sys.stderr))
    logging.basicConfig(level=config.log_level, handlers=[handler])
    for warning in warnings(config):
        log.warning("%s", warning)
    from . import service

    raise SystemExit(service.run(config, quick_start=quick_start))


def _overrides(agent: str | None, log_level: str | None, log_format: str | None, **websocket: Any) -> dict[str, Any]:
    """Return what the command line says as a part of server.json."""
    listening = {key: value for key, value in websocket.items() if value is not None}
    overrides: dict[str, Any] = {"network_protocol": {WEBSOCKET_MODULE: listening}} if listening else {}
    overrides |= {"agent_protocol": {"module": agent}} if agent else {}
    logs = {"log_level": log_level, "log_format": log_format}
    return overrides | {key: value for key, value in logs.items() if value}


@click.command("print-config")
@click.option("--show-secrets", is_flag=True, help="Show passwords and keys, too.")
def print_config(show_secrets: bool) -> None:
    """Print the configuration as it is in effect, as JSON."""
    document = configuration().raw
    shown = document if show_secrets else masked(document, SECRETS)
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


COMMANDS = (listen, print_config)
