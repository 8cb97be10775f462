"""``hivemind-core set-metadata``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from . import client_metadata, options
from .clients import Client
from .console import choose, database, edit


@click.command("set-metadata")
@click.argument("node_id", required=False)
@click.option("--metadata", metavar="JSON", callback=options.json_object, help="A JSON object to merge in.")
@click.option("--key", "keys", multiple=True, help="A key to set. May be given several times, each with its --value.")
@click.option("--value", "values", multiple=True, help="The value of the key: JSON, or else a text.")
@click.option("--unset", multiple=True, metavar="KEY", help="A key to remove. May be given several times.")
def set_metadata(
    node_id: str | None,
    metadata: dict[str, Any] | None,
    keys: tuple[str, ...],
    values: tuple[str, ...],
    unset: tuple[str, ...],
) -> None:
    """Change what is kept with a client for policies to read.

    First --metadata is merged in, then each --key is set, then each --unset is removed.
    """
    put = {**(metadata or {}), **_pairs(keys, values)}
    if metadata is None and not keys and not unset:
        raise click.BadParameter("pass --metadata, --key/--value, or --unset")
    options.warn_of_hub_keys((*put, *unset))
    with database() as db:
        client = edit(db, choose(db, node_id), lambda row: _merged(row, put, unset))
    shown = client_metadata.shown(client.metadata)
    click.echo(f"Updated metadata for {client.name}: {json.dumps(shown, ensure_ascii=False, sort_keys=True)}")


def _pairs(keys: tuple[str, ...], values: tuple[str, ...]) -> dict[str, Any]:
    if len(keys) > len(values):
        raise click.BadParameter("--key requires --value")
    if len(values) > len(keys):
        raise click.BadParameter("--value requires --key" if keys else "pass --metadata, --key/--value, or --unset")
    if "" in keys:
        raise click.BadParameter("a key cannot be empty")
    put = {key: _value(key, text) for key, text in zip(keys, values, strict=True)}
    problem = client_metadata.problem_with(put)
    if problem is not None:
        raise click.BadParameter(problem)
    return put


def _value(key: str, text: str) -> Any:
    from hivemind_bus_client import codec

    try:
        value = codec.loads(text)
    except ValueError:
        return text
    is_text = client_metadata.problem_with({key: value}) and not client_metadata.problem_with({key: text})
    return text if is_text else value  # a key of digits is a number in JSON


def _merged(row: Client, put: Mapping[str, Any], unset: Iterable[str]) -> Mapping[str, Any]:
    dropped = set(unset)
    return {"metadata": {key: value for key, value in {**row.metadata, **put}.items() if key not in dropped}}


COMMANDS = (set_metadata,)
