"""What `make run` does besides running a hub: it says how to talk to it from another terminal and how to add another
satellite, and opens a chatroom for browsers where that is installed.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from . import chatroom_process
from .chatroom_process import ChatroomProcess
from .clients import Client
from .config import Config
from .database import ClientDatabase
from .hub import Hub
from .passwords import random_secret
from .roles import ROLES

FIRST_SATELLITE = "first-satellite"
CHATROOM = "chatroom"
_THIS_MACHINE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}
"""What to dial where a hub listens at every address."""


def own_client(db: ClientDatabase, name: str = FIRST_SATELLITE) -> Client:
    """Return the client made for trying the hub out, of the role `chat`; it is made when it is not there."""
    for row in db.all():
        if row.name == name and not row.is_revoked and row.password:
            return row
    types = ROLES["chat"].types
    return db.add(Client(0, random_secret(), name, password=random_secret(), allowed_types=types))


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
    print(welcome(own_client(hub.db), port, hub.agent.name, hub.config.front.scheme), flush=True)


async def open_chatroom(hub: Hub, port: int) -> ChatroomProcess | None:
    """Start the chatroom as a client of its own, which prints where it is; None where it is not installed."""
    if not chatroom_process.is_installed():
        print(f"\nA chatroom for browsers comes with it: {chatroom_process.INSTALL}", flush=True)
        return None
    try:
        environ = chatroom_process.environment(own_client(hub.db, CHATROOM), _dialled(hub.config), port)
    except OSError as error:
        print(f"The chatroom is not started: {error}.", file=sys.stderr)
        return None
    room = ChatroomProcess(environ)
    print("\nTalk to it in a browser:\n", flush=True)
    await room.start()
    return room


def _dialled(config: Config) -> str:
    """Return the address at which this machine reaches the hub."""
    host = config.front.host
    return f"{config.front.scheme}://{_THIS_MACHINE.get(host) or (f'[{host}]' if ':' in host else host)}"
