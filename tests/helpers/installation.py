"""What a released hub has made of an account: its own server.json, identity and clients. Any make may run on it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from . import bus_stub
from .hub_process import HOST, HubProcess
from .pair import DRIVERS, SLOW_S, converse, programs
from .processes import Child, Children, Home
from .released import OLDEST_CLIENTS

SQLITE, JSON = "hivemind-sqlite-db-plugin", "hivemind-json-db-plugin"
LISTS = ("skill_blacklist", "intent_blacklist", "message_blacklist")
NOTHING_IF_EMPTY = (*LISTS, "crypto_key", "description", "name", "password")
IN_JSON = {*LISTS, "allowed_types", "metadata"}


class Installation(HubProcess):
    """One account with the files that a released hub made there on its first run."""

    def __init__(self, children: Children, make: str, module: str, *, model: Installation | None = None) -> None:
        """Let a released hub make its files, or begin with those of a model as if they had been made here."""
        self.bus = children.spawn("bus", [sys.executable, bus_stub.__file__])
        super().__init__(children, programs(make) / "hivemind-core", self.bus.expect("ready")["port"])
        self.module = module
        self.server_json.unlink()
        if model is None:
            self.command("list-clients")
            for file in self.data.glob("*"):
                file.unlink()
        else:
            self._take_over(model.home.path)
        self._settle()

    def _take_over(self, model: Path) -> None:
        shutil.copytree(model, self.home.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("logs", "tmp"))
        for file in self.home.config.rglob("*.json"):
            file.write_text(file.read_text("utf-8").replace(str(model), str(self.home.path)), "utf-8")

    def _settle(self) -> None:
        """Change in the file that the hub has made what an owner would: ports, and which database.

        Of a hub 4.0.0 with its HTTP transport, the WebSocket transport does not answer every fourth time or so.
        """
        document = json.loads(self.server_json.read_text("utf-8"))
        document["network_protocol"].pop("hivemind-http-plugin", None)
        document["network_protocol"]["hivemind-websocket-plugin"].update(host=HOST, port=self.port)
        document["agent_protocol"]["hivemind-ovos-agent-plugin"]["port"] = self.bus_port
        document["presence"] = {"enabled": False}
        self.server_json.write_text(json.dumps(document, indent=4), "utf-8")
        self.use(self.module)

    def use(self, module: str) -> None:
        """Name another database in server.json."""
        document = json.loads(self.server_json.read_text("utf-8"))
        document["database"] = {"module": module, module: {"name": "clients", "subfolder": "hivemind-core"}}
        self.server_json.write_text(json.dumps(document, indent=4), "utf-8")
        self.module = module

    def run_by(self, make: str) -> None:
        """Whose programs run from now on."""
        self._program = programs(make) / "hivemind-core"

    @property
    def server_json(self) -> Path:
        return self.home.config / "hivemind-core" / "server.json"

    @property
    def data(self) -> Path:
        return self.home.data / "hivemind-core"

    def listed(self) -> list[dict[str, Any]]:
        """What our `list-clients` says of the clients."""
        return list(json.loads(self.command("list-clients", "--json", "--show-secrets")))

    def stored(self) -> dict[int, dict[str, Any]]:
        """The rows as they are in the file, by id, without the fields that are as if they were not there."""
        rows = self._in_json() if self.module == JSON else self._in_sqlite()
        for row in rows:
            for field in NOTHING_IF_EMPTY:
                if not row.get(field):
                    row.pop(field, None)
        return {row["client_id"]: row for row in rows}

    def _in_json(self) -> list[dict[str, Any]]:
        return list(json.loads((self.data / "clients.json").read_text("utf-8")).values())

    def _in_sqlite(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.data / "clients.db")) as db:
            db.row_factory = sqlite3.Row
            rows = [dict(row) for row in db.execute("SELECT * FROM clients ORDER BY client_id")]
        for row in rows:
            for column in IN_JSON & row.keys():
                row[column] = json.loads(row[column] or "null")
        return rows

    def satellite(self, make: str, home: Home, key: str = "", password: str = "") -> Child:
        """Start a satellite of some make, which uses its identity file unless it is told a key, until it has spoken."""
        argv: list[str | Path] = [programs(make) / "python", DRIVERS / "satellite.py", "--port", str(self.port)]
        told = ["--key", key, "--password", password] if key else []
        child = self._children.spawn("satellite", [*argv, *told], home)
        child.expect("connected", SLOW_S)
        converse(child, "hello world", stumbles=make in OLDEST_CLIENTS)
        return child

    def visit(self, make: str, home: Home, key: str = "", password: str = "") -> None:
        """Let a satellite speak and go."""
        child = self.satellite(make, home, key, password)
        child.send("close")
        child.expect("done")
        child.kill()
