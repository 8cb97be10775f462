"""The hubs that are measured: provisioned alike, each with a row for every satellite."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from helpers import bus_stub
from helpers.hub_process import HubProcess
from helpers.processes import Children
from helpers.released import PINS, released
from hivemind_bus_client.version import __version__

from .satellites import Device

PASSWORD = "correct horse battery staple 42"
RELEASED = "released-hub"
SETTLE_S = 1.0


class Subject:
    """One hub, its devices, and its running process while there is one."""

    def __init__(self, name: str, hub: HubProcess, devices: list[Device]) -> None:
        self.name = name
        self.hub = hub
        self.devices = devices

    @property
    def pid(self) -> int:
        assert self.hub.child is not None
        return self.hub.child.pid

    def start(self) -> float:
        """Start the hub; the seconds until it accepted connections."""
        begun = time.monotonic()
        self.hub.start()
        taken = time.monotonic() - begun
        time.sleep(SETTLE_S)
        return taken

    def stop(self) -> None:
        self.hub.stop()


def start_bus(children: Children) -> int:
    """The one bus stub behind every hub; its port."""
    port: int = children.spawn("bus", [sys.executable, bus_stub.__file__]).expect("ready")["port"]
    return port


def make(children: Children, name: str, bus_port: int, satellites: int) -> Subject:
    """Install a hub in a home of its own and give it `satellites` client rows."""
    programs = released(RELEASED) if name == RELEASED else Path(sys.executable).parent
    hub = HubProcess(children, programs / "hivemind-core", bus_port, name=name)
    devices = [Device(f"bench-key-{number:05}") for number in range(satellites)]
    hub.add_client(devices[0].access_key, PASSWORD, name="bench")
    copy_row(hub.database, [device.access_key for device in devices[1:]])
    return Subject(name, hub, devices)


def copy_row(database: Path, access_keys: list[str]) -> None:
    """Copy the only row of a client database once for each key: the schema is the same in every hub."""
    with sqlite3.connect(database) as connection:
        cursor = connection.execute("SELECT * FROM clients")
        columns = [column[0] for column in cursor.description]
        row = dict(zip(columns, cursor.fetchone(), strict=True))
        marks = ",".join("?" * len(columns))
        connection.executemany(
            f"INSERT INTO clients ({','.join(columns)}) VALUES ({marks})",
            [
                list({**row, "client_id": row["client_id"] + number, "api_key": key}.values())
                for number, key in enumerate(access_keys, start=1)
            ],
        )
    connection.close()


def version(name: str) -> str:
    """Which version a subject is."""
    if name == RELEASED:
        found = re.search(r"^hivemind-core==(.*)$", (PINS / f"{RELEASED}.txt").read_text(), re.MULTILINE)
        return found.group(1) if found else "?"
    return f"{__version__}, commit {commit()}"


def commit() -> str:
    """The commit that is checked out here."""
    argv = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(argv, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"
