"""``hivemind-core cluster``: make a cluster of this hub, join one, see who is in it."""

from __future__ import annotations

import click

from ..console import Commands, configuration
from ..environment import CLUSTER_JOIN_CODE


@click.group("cluster", cls=Commands)
def cluster() -> None:
    """Run several hubs as one hive, over Redis."""


@cluster.command()
@click.option("--new-code", is_flag=True, help="This hub is a member: make a new join code, and the former one void.")
@click.option("--replace", is_flag=True, help="Take the place of another identity, whose members must join anew.")
def create(new_code: bool, replace: bool) -> None:
    """Give the cluster this hub's identity, and print the code with which other hubs join."""
    from . import enrolment

    if new_code and replace:
        raise click.UsageError("--new-code and --replace do not go together.")
    enrolment.create(configuration(), new_code=new_code, replace=replace)


@cluster.command()
@click.option("--code", metavar="CODE", help=f"The join code; else {CLUSTER_JOIN_CODE}, else it is asked for.")
@click.option("--replace", is_flag=True, help="Do it although this hub has devices that know its present identity.")
def join(code: str | None, replace: bool) -> None:
    """Make this hub a member: take over the cluster's identity. Nothing is done if it has it already."""
    from . import enrolment

    enrolment.join(configuration(), code, replace=replace)


@cluster.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show the cluster and the hubs that run in it."""
    from . import roll

    roll.show(configuration(), as_json=as_json)


COMMANDS = (cluster,)
