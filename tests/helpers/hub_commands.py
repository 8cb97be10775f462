"""``hivemind-core`` in this process: what a command printed and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from hivemind_core.clients import Client
from hivemind_core.config import load_config
from hivemind_core.database import ClientDatabase, open_database
from hivemind_core.scripts import hmcore_cmds


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """What follows `Error: ` on stderr; there must be exactly one such line."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        return line.removeprefix("Error: ")


def hub_command(*arguments: str, typed: str = "") -> Ran:
    """Run a command with something typed at it; what it raises and does not explain is raised here."""
    result = CliRunner().invoke(hmcore_cmds, arguments, input=typed, prog_name="hivemind-core")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def said(*arguments: str, typed: str = "") -> str:
    """Run a command that must succeed; what it printed, without the last end of line."""
    ran = hub_command(*arguments, typed=typed)
    assert (ran.code, ran.err) == (0, ""), ran
    return ran.out.rstrip("\n")


def database() -> ClientDatabase:
    """Open the database that the commands work on."""
    return open_database(load_config())


def stored(client_id: int) -> Client:
    """Return a client as it is in the database now."""
    db = database()
    client = db.by_id(client_id)
    db.close()
    assert client is not None
    return client


def add(key: str, **columns: Any) -> Client:
    """Put a client into the database."""
    db = database()
    client = db.add(Client(0, key, **columns))
    db.close()
    return client
