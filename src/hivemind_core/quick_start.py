"""What `make run` says: where the hub is, how to talk to it from another terminal, how to add another satellite."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from .clients import Client
from .database import ClientDatabase
from .hub import Hub
from .passwords import random_secret
from .roles import ROLES

FIRST_SATELLITE = "first-satellite"


def first_client(db: ClientDatabase) -> Client:
    """Return the client made for trying the hub out, making it when it is not there."""
    for row in db.all():
        if row.name == FIRST_SATELLITE and not row.is_revoked and row.password:
            return row
    types = ROLES["chat"].types
    fresh = Client(0, random_secret(), FIRST_SATELLITE, password=random_secret(), allowed_types=types)
    return db.add(fresh)


def _command(name: str, *arguments: str) -> str:
    """Return a command line a person can paste, with the path of this very installation."""
    beside = Path(sys.executable).parent / name
    here = Path.cwd()
    program = str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)
    return shlex.join([program if beside.exists() else name, *arguments])


def welcome(client: Client, port: int, agent: str, scheme: str = "ws") -> str:
    """Return the text."""
    join = _command(
        "hivemind-client", "terminal", "--host", f"{scheme}://127.0.0.1", "--port", str(port),
        "--key", client.api_key, "--password", client.password or "",
    )  # fmt: skip
    add = _command("hivemind-core", "add-client", "--name", "kitchen")
    return (
        f"\nThe hub is up on port {port}; its agent is '{agent}'. Stop it with Ctrl-C.\n\n"
        f"Talk to it from another terminal:\n\n    {join}\n\n"
        f"Join another device (it prints what to run there):\n\n    {add}\n"
    )


def greet(hub: Hub, port: int) -> None:
    """Print how to go on."""
    print(welcome(first_client(hub.db), port, hub.agent.name, hub.config.front.scheme), flush=True)
