"""A hub, its bus and satellites, for what goes wrong around them: each part is a process, or reachable as a file."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect

from hivemind_bus_client.noise import generate_static_key
from hivemind_core.clients import Client
from hivemind_core.database import ClientDatabase
from hivemind_core.database_places import JSON_MODULE
from hivemind_core.roles import DEFAULT_ROLE, ROLES
from hivemind_core.storage.json import JSONStore
from hivemind_core.storage.sqlite import SQLiteStore

from . import bus_stub
from .hub_process import HOST, HubProcess
from .pair import OUR_PROGRAMS, cannot_run
from .processes import Child, Children, free_port, wait_until
from .target import Session, closed

PASSWORD = "correct horse battery staple 42"
SQLITE, JSON = "sqlite", "json"
PING_KEYS = ("websocket_ping_interval", "websocket_ping_timeout")


class FaultScene:
    """Clients `key-1`, `key-2`, … with the default role and PASSWORD; the hub says at `readyz` how it is."""

    def __init__(self, children: Children, *, store: str = SQLITE, clients: int = 4, **config: Any) -> None:
        self.children = children
        self.store = store
        self.admin_port = free_port()
        self.bus_port = free_port()
        self.start_bus()
        self.hub = HubProcess(children, OUR_PROGRAMS / "hivemind-core", self.bus_port)
        self.configure(**config)
        self._open: list[ClientConnection] = []
        self._clients = clients

    def configure(self, *, ping_s: float = 30.0, pong_s: float = 0.0, **config: Any) -> None:
        """Write server.json. A ping has to be answered within `pong_s`, by default as soon as the next is due."""
        pings = dict(zip(PING_KEYS, (ping_s, pong_s or ping_s), strict=True))
        websocket = {"host": HOST, "port": self.hub.port, **pings}
        more: dict[str, Any] = {"database": {"module": JSON_MODULE}} if self.store == JSON else {}
        network = {"hivemind-websocket-plugin": websocket}
        self.hub.configure({"admin": {"port": self.admin_port}, "network_protocol": network, **more, **config})

    # the parts

    @property
    def folder(self) -> Path:
        """Where the client database is."""
        return self.hub.home.data / "hivemind-core"

    @property
    def file(self) -> Path:
        """The client database."""
        return self.folder / ("clients.json" if self.store == JSON else "clients.db")

    @property
    def log(self) -> Path:
        """What SQLite has not put into the file yet."""
        return Path(f"{self.file}-wal")

    def put_log_into_file(self) -> None:
        """What a hub does now and then by itself: no second copy of anything is left."""
        if self.store == SQLITE:
            with closing(sqlite3.connect(self.file)) as database:
                again = "PRAGMA wal_checkpoint(TRUNCATE)"
                wait_until(lambda: database.execute(again).fetchone()[0] == 0, 60, "nobody to read meanwhile")

    @property
    def process(self) -> Child:
        assert self.hub.child is not None
        return self.hub.child

    def start_bus(self, *options: str) -> None:
        """A bus with an assistant that repeats what it hears."""
        options = ("--port", str(self.bus_port), *options)
        self.bus = self.children.spawn("bus", [sys.executable, bus_stub.__file__, *options])
        self.bus.expect("ready")

    def opened(self) -> ClientDatabase:
        """The client database, open in this process."""
        return ClientDatabase(JSONStore(self.file) if self.store == JSON else SQLiteStore(self.file))

    def fill(self) -> None:
        """Make the clients."""
        types = ROLES[DEFAULT_ROLE].types
        with closing(self.opened()) as database:
            for number in range(len(database) + 1, self._clients + 1):
                name = f"key-{number}"
                database.add(Client(0, name, name, password=PASSWORD, allowed_types=types))

    def rows(self) -> dict[str, Client]:
        """What the database holds, by access key."""
        with closing(self.opened()) as database:
            return {row.api_key: row for row in database.all()}

    def start(self, env: Mapping[str, str] | None = None) -> FaultScene:
        """Fill the database and start the hub."""
        self.fill()
        return self.again(env)

    def again(self, env: Mapping[str, str] | None = None) -> FaultScene:
        """Start the hub on what is there."""
        self.hub._started(env or {})
        wait_until(lambda: not self.reason("agent"), 60, "the bus")
        return self

    # how the hub is

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text of what the admin address answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def reason(self, part: str) -> str:
        """Why a part is not ready; empty where it is."""
        return str(json.loads(self.ask("/readyz")[1])["parts"][part]["reason"])

    async def until_ready(self, part: str = "database", *, why: str = "") -> str:
        """Wait until a part is ready, or until it is not and says this; what it says."""

        def found() -> bool:
            reason = self.reason(part)
            return why in reason if why else not reason

        await asyncio.to_thread(wait_until, found, 60, f"{part}: {why or 'ready'}")
        return self.reason(part)

    def status(self, name: str) -> int:
        """A line of /proc/PID/status, in kB where it is memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    def descriptors(self) -> int:
        """How many files the hub has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_s(self) -> float:
        """Processor time of the hub so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # satellites

    async def raw(self, key: str, **options: Any) -> ClientConnection:
        """A connection that says nothing by itself."""
        token = quote(b64encode(f"raw:{key}".encode()).decode(), safe="")
        url = f"ws://{HOST}:{self.hub.port}/?authorization={token}"
        options = {"close_timeout": 0.5, "open_timeout": 60, "max_size": None, **options}
        socket = await connect(url, compression=None, **options)
        self._open.append(socket)
        return socket

    async def session(self, key: str, *, device: bytes = b"", session_id: str = "") -> Session:
        """A satellite that has been answered; `device` is its static key, of which a client may have one."""
        own = {"session": {"session_id": session_id or f"of-{key}"}, "site_id": "kitchen"}
        session = Session(await self.raw(key), own, device or generate_static_key())
        await session.open(PASSWORD)
        return session

    async def refused(self, key: str) -> int | None:
        """The code with which a connection is closed before it could do anything."""
        return await closed(await self.raw(key), 60)

    async def hang_up(self) -> None:
        """End every connection that was made."""
        for socket in self._open:
            socket.transport.abort()
        await asyncio.gather(*(socket.wait_closed() for socket in self._open))
        self._open.clear()


async def answered(*satellites: Session, words: str = "still there") -> None:
    """Each says something and is answered."""
    for satellite in satellites:
        before = len(satellite.heard(f"you said: {words}"))
        await satellite.say(words)
        await eventually(lambda one=satellite, had=before: len(one.heard(f"you said: {words}")) > had, words)  # type: ignore[misc]


async def eventually(condition: Any, what: str) -> Any:
    """The condition's first true value, waited for as long as a loaded machine may take."""
    end = asyncio.get_running_loop().time() + 60
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < end, f"{what}: not within a minute"
        await asyncio.sleep(0.02)
    return value


class Disk:
    """A file system of its own at a folder: it can be filled, and it can fail as a worn out card does.

    A context manager; what is on it is there again after `repair`.
    """

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self._image = image

    def __enter__(self) -> Disk:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(4 * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-m", "0", str(self._image))
        self._mount()
        (self.folder / "lost+found").rmdir()
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, timeout=30)

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.folder))
        self.folder.chmod(0o700)

    def fail(self) -> None:
        """Have the kernel make it read-only, under whoever writes to it."""
        _run("mount", "-o", "remount,abort", str(self.folder))

    def repair(self) -> None:
        """Make it whole again; nobody is to use it."""
        _run("umount", str(self.folder))
        subprocess.run(["fsck.ext4", "-p", "-f", str(self._image)], check=False, capture_output=True, timeout=60)
        self._mount()

    def lock(self, how: str) -> None:
        """Make it read-only (``ro``) or writable (``rw``) in an orderly way; nobody is to write to it."""
        _run("mount", "-o", f"remount,{how}", str(self.folder))

    def fill(self) -> Path:
        """Leave no room; the file that takes it."""
        path = self.folder / "ballast"
        with path.open("wb", buffering=0) as file:
            for size in (65536, 4096, 512, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        return path


def _run(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        cannot_run(f"{words[0]}: {error}")
    if done.returncode:
        cannot_run(f"{' '.join(words)}: {done.stderr.strip()}")
