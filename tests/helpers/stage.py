"""Hubs of one make, one for each server.json that the matrix needs, and satellites of every make at them.

Everything is started once and when first needed: what one column needs of all rows comes up together.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

from . import bus_stub, wire_tap
from .actor import Actor
from .hub_process import HubProcess
from .matrix import (
    BINARIZED,
    ENCODINGS,
    HUB_40,
    HUB_415,
    LATE,
    MAIN,
    OURS,
    REFUSALS,
    TOKEN,
    V0,
    V1,
    WRONG_KEY,
    WRONG_PASSWORD,
    Row,
    columns,
    settings,
)
from .pair import DRIVERS, OTHER_PASSWORD, PASSWORD, programs
from .processes import Child, Children, free_port

CRYPTO_KEY, OTHER_CRYPTO_KEY = "0123456789abcdef", "fedcba9876543210"
PLUGIN = "hivemind-interop-sounding-plugin"
USERAGENT = "InteropDriver"
STARTED_TOGETHER = (MAIN, (BINARIZED, *ENCODINGS), REFUSALS)


class StageHub(HubProcess):
    """A hub with the client rows that its cells need, and a handler for binary data."""

    def __init__(self, children: Children, make: str, bus_port: int, name: str) -> None:
        super().__init__(children, programs(make) / "hivemind-core", bus_port, name=name)
        self.make = make

    def add_client(self, access_key: str, password: str, *, name: str = "satellite", allow: str = "") -> None:
        """Make a client row that may speak, with the commands that every generation has."""
        self.command("add-client", "--name", name, "--access-key", access_key, "--password", password)
        self.command("allow-msg", allow or "recognizer_loop:utterance", "1")

    def start(self) -> Child:
        """The same, with the plugin installed."""
        return self._started({"PYTHONPATH": str(plugin_folder(self.home.path))})


def plugin_folder(home: Path) -> Path:
    """A folder that holds the handler for binary data as an installed plugin."""
    folder = home / "plugins"
    about = folder / "hivemind_interop_sounding-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    shutil.copy(DRIVERS / "sounding_plugin.py", folder)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hivemind-interop-sounding\nVersion: 1.0\n", "utf-8")
    entry = f"[hivemind.binary.protocol]\n{PLUGIN} = sounding_plugin:SoundingPlugin\n"
    (about / "entry_points.txt").write_text(entry, "utf-8")
    return folder


class Stage:
    """All hubs of one make and all satellites of its rows."""

    def __init__(self, children: Children, make: str, rows: tuple[Row, ...]) -> None:
        self.children = children
        self.make = make
        self.rows = tuple(row for row in rows if row.hub == make)
        self.actors: dict[tuple[Row, str], Actor] = {}
        self.links_before: dict[Row, int] = {}
        self.problems: dict[Row, str] = {}
        self._hubs: dict[str, StageHub] = {}
        self._model: StageHub | None = None
        self.bus = children.spawn("bus", [sys.executable, bus_stub.__file__])
        self.bus_port = self.bus.expect("ready")["port"]

    def close(self) -> None:
        """End everything."""
        self.children.stop()

    # hubs

    def hub(self, row: Row, column: str) -> StageHub:
        """The running hub whose server.json is the one for a cell."""
        wanted = settings(row, column)
        name = json.dumps(wanted, sort_keys=True)
        if name not in self._hubs:
            hub = self._hubs[name] = self._new_hub(f"hub-{len(self._hubs)}")
            hub.configure({"binary_protocol": {"module": PLUGIN, PLUGIN: {}}, **self._database(), **wanted})
            cells = [(row, column) for row in self.rows for column in columns(row)]
            write_rows(hub, [self._client(*cell) for cell in cells if settings(*cell) == wanted])
            hub.start()
        return self._hubs[name]

    def _new_hub(self, name: str) -> StageHub:
        """A hub that knows one client; made by its own commands once, then copied."""
        hub = StageHub(self.children, self.make, self.bus_port, name)
        if self._model is None:
            self._model = StageHub(self.children, self.make, self.bus_port, "model")
            self._model.configure(self._database())
            self._model.add_client("model", PASSWORD)
        shutil.copytree(self._model.home.data, hub.home.data, dirs_exist_ok=True)
        return hub

    def _database(self) -> dict[str, Any]:
        """The JSON store for the hubs that had pre-shared keys: their SQLite has no place for them."""
        module = f"hivemind-{'json' if self.make in (HUB_415, HUB_40) else 'sqlite'}-db-plugin"
        return {"database": {"module": module, module: {"name": "clients", "subfolder": "hivemind-core"}}}

    @staticmethod
    def _client(row: Row, column: str) -> dict[str, Any]:
        """What the client row of a cell has of its own; the rest is as the hub's command made it."""
        own: dict[str, Any] = {"api_key": access_key(row, column)}
        if row.protocol in (V0, V1):
            own["password"] = None
            own["crypto_key"] = CRYPTO_KEY if row.protocol == V0 else None
        return own

    def restart(self, row: Row) -> int:
        """End the main hubs as a power cut does, once for all rows, and start them again.

        Returns how many connections the satellite of this row had made until then.
        """
        if not self.links_before:
            mains = [other for other in self.rows if (other, MAIN[0]) in self.actors]
            self.links_before = {other: len(self.actors[other, MAIN[0]].wire("up")) for other in mains}
            hubs = {id(hub): hub for hub in (self.hub(other, MAIN[0]) for other in mains)}.values()
            for hub in hubs:
                hub.kill()
            for hub in hubs:
                hub.start()
        return self.links_before[row]

    # satellites

    def actor(self, row: Row, column: str) -> Actor:
        """The satellite of a cell; those that other cells need at the same time come up with it."""
        together = next(group for group in STARTED_TOGETHER if column in group)
        scenes = (MAIN[0],) if together is MAIN else together
        for scene in scenes:
            for other in self.rows:
                if scene in columns(other) and (other, scene) not in self.actors:
                    self.actors[other, scene] = self._start(other, scene)
        return self.actors[row, scenes[0] if together is MAIN else column]

    def _start(self, row: Row, scene: str) -> Actor:
        hub, port = self.hub(row, scene), free_port()
        tap = None if scene == LATE else self._tap(port, hub)
        return Actor(self._satellite(row, scene, port), port, tap)

    def _tap(self, port: int, hub: StageHub) -> Child:
        ports = ["--port", str(port), "--to", str(hub.port)]
        tap = self.children.spawn("tap", [sys.executable, wire_tap.__file__, *ports])
        tap.expect("ready")
        return tap

    def _satellite(self, row: Row, scene: str, port: int) -> Child:
        wrong = scene == WRONG_PASSWORD
        key = "nobody-has-this-key" if scene == WRONG_KEY else access_key(row, scene)
        more = held_to(row, OTHER_CRYPTO_KEY if wrong else CRYPTO_KEY)
        options = {
            "port": str(port),
            "key": key,
            "password": OTHER_PASSWORD if wrong else PASSWORD,
            "useragent": USERAGENT,
            "more": json.dumps(more),
        }
        argv: list[str | Path] = [programs(row.satellite) / "python", DRIVERS / "satellite.py"]
        home = self.children.home(f"{row.name}-{scene}".replace(" ", "-"))
        return self.children.spawn(
            "satellite", [*argv, *(f"--{name}={value}" for name, value in options.items())], home
        )

    def done(self, row: Row, column: str) -> None:
        """End the satellite of a cell, if no other cell needs it."""
        actor = self.actors.get((row, column if column not in MAIN else MAIN[0]))
        if actor is not None and (column not in MAIN or column == MAIN[-1]):
            actor.end()

    def let_in(self, row: Row) -> str:
        """Make the hub reachable to all that have been looking for it in vain; what the satellite said before.

        All at once, since the oldest wait twice as long after each time.
        """
        if not self.problems:
            late = {other: actor for (other, scene), actor in self.actors.items() if scene == LATE}
            self.problems = {other: complaint(other, actor.child) for other, actor in late.items()}
            for other, actor in late.items():
                actor.tap = self._tap(actor.port, self.hub(other, LATE))
        return self.problems[row]


def complaint(row: Row, child: Child) -> str:
    """What a satellite that finds nothing says when it has tried."""
    if row.satellite != OURS:
        child.wait_output("efused")
        return "refused"
    child.expect("reconnecting")
    child.send("problem")
    return str(child.expect("problem")["text"])


def held_to(row: Row, crypto_key: str) -> dict[str, Any]:
    """Arguments that hold a client to a protocol version; the oldest know one only."""
    number = int(row.protocol[1])
    if row.satellite == OURS:
        psk = {"crypto_key": crypto_key} if number == 0 else {}
        return {"max_protocol_version": number, "min_protocol_version": min(number, 2), **psk}
    return {"max_protocol_version": number} if row.satellite == "released-client" else {}


def access_key(row: Row, column: str) -> str:
    """The access key of a cell; the cells that one satellite goes through share it."""
    scene = MAIN[0] if column in MAIN else column
    key = f"{row.name}-{scene}".replace(" ", "-")
    return trap(key) if column == TOKEN else key


def trap(key: str) -> str:
    """The key made such that the base64 of useragent and key holds a `+`, which queries read as a blank."""
    endings = ("?>", "??>", "???>")
    return next(f"{key}{end}" for end in endings if b"+" in b64encode(f"{USERAGENT}:{key}{end}".encode()))


def write_rows(hub: StageHub, clients: list[dict[str, Any]]) -> None:
    """Copy the one row that the hub's own command made, for each client with its own key and secret."""
    own = list({client["api_key"]: client for client in clients}.values())
    if not hub.database.exists():
        file = hub.database.with_suffix(".json")
        rows = json.loads(file.read_text("utf-8"))
        rows |= {str(number): {**rows["1"], "client_id": number, **client} for number, client in enumerate(own, 2)}
        file.write_text(json.dumps(rows), "utf-8")
        return
    with closing(sqlite3.connect(hub.database)) as database, database:
        database.row_factory = sqlite3.Row
        model = dict(database.execute("SELECT * FROM clients").fetchone())
        for number, client in enumerate(own, 2):
            row = {**model, "client_id": number, **in_columns(client)}
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO clients ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def in_columns(client: dict[str, Any]) -> dict[str, Any]:
    """What SQLite has no column for is in the metadata."""
    columns = {key: value for key, value in client.items() if key != "crypto_key"}
    if client.get("crypto_key"):
        columns["metadata"] = json.dumps({"crypto_key": client["crypto_key"]})
    return columns
