"""The roll of a cluster: the hubs that run in it, as they last told of themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from ..config import Config
from ..console import print_json, table
from . import identity_files, shared_identity, vault
from .reaching import NO_IDENTITY, NOT_MEMBER, fail, reached, settings_of
from .records import Listed

COLUMNS = ("Name", "Id", "Address", "Since", "Leader", "Satellites", "Agent", "Hub above", "Last beat")


def show(config: Config, *, as_json: bool) -> None:
    """Print it. Raises ConfigError, Failure."""
    settings = settings_of(config)
    with reached(settings) as opened:
        stored = opened.stored()
        if stored is None:
            fail(NO_IDENTITY, settings)
        if vault.sealed_identity(settings, stored).fingerprint != identity_files.own_fingerprint():
            fail(NOT_MEMBER, settings)
        members = opened.members(shared_identity.cluster_secret(identity_files.own().noise_key))
    rows = [_row(listed, silent_s) for listed, silent_s in members]
    if as_json:
        print_json({"name": settings.name, "url": settings.url, "this_hub": settings.hub_name, "members": rows})
        return
    click.echo(f"Cluster {settings.name!r} at {settings.url}")
    if not rows:
        click.echo("No hub of it runs.")
        return
    table("Members", COLUMNS, [_cells(row) for row in rows])


def _row(listed: Listed, silent_s: float) -> dict[str, Any]:
    member = listed.member
    return {
        "name": member.name,
        "id": member.hub,
        "address": listed.address or None,
        "since": datetime.fromtimestamp(member.since_ms / 1000).astimezone().isoformat(timespec="seconds"),
        "leader": listed.is_leader,
        "satellites": member.peers,
        "agent": member.has_agent,
        "upstream": member.has_parent,
        "last_beat_s": round(silent_s, 1),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    def yes(key: str) -> str:
        return "yes" if row[key] else ""

    since = str(row["since"]).replace("T", " ")[:19]
    ids = (row["name"], row["id"], row["address"] or "", since)
    return (*ids, yes("leader"), str(row["satellites"]), yes("agent"), yes("upstream"), f"{row['last_beat_s']} s ago")
