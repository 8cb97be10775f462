"""A hub of either make as the target of an attack, with an agent bus behind it, and how strangers see it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Received
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import derive_psk, generate_static_key

from . import bus_stub
from .bus_peer import BusPeer
from .hub_process import HOST, UTTERANCE, HubProcess
from .pair import OURS, programs
from .processes import PATIENCE_S, Children, free_port

KEY, PASSWORD = "key-of-the-kitchen", "correct horse battery staple 42"
KEYS = tuple(f"key-number-{number}" for number in range(2, 160))
"""Of further clients, with the same password and rights."""
SOON_S = 10.0
"""When an attack gives up that waits for what need not come."""
derive = lru_cache(maxsize=None)(derive_psk)


class Target:
    """The hub, its bus and its database. `key` gives each attack a client of its own."""

    def __init__(
        self,
        children: Children,
        make: str = OURS,
        config: dict[str, Any] | None = None,
        *,
        like: Target | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        """Start a hub. One that is `like` another has its clients, and is called by its site in `config`."""
        name = str((config or {}).get("site_id") or "hub")
        self.children = children
        self.make = make
        self.bus_port = free_port()
        self.start_bus()
        self.hub = HubProcess(children, programs(make) / "hivemind-core", self.bus_port, name=name)
        self.hub.environ.update(environ or {})
        self._identity(name)
        self.hub.configure(self._placed(config or {}))
        self._open: list[ClientConnection] = []
        self._keys = like._keys if like else iter(KEYS)
        if like:
            shutil.copytree(like.hub.home.data, self.hub.home.data, dirs_exist_ok=True)
        else:
            self.hub.add_client(KEY, PASSWORD)
            self._add_rows()
        self.hub.start()
        self.peer = BusPeer(self.bus_port).joined()

    def start_bus(self) -> None:
        """The bus alone: who answers on it is `peer`."""
        options = ["--port", str(self.bus_port), "--habit", "keeps silent"]
        self.bus = self.children.spawn("bus", [sys.executable, bus_stub.__file__, *options])
        self.bus.expect("ready")

    def _placed(self, config: dict[str, Any]) -> dict[str, Any]:
        """A configuration in which each transport listens where it is looked for."""
        network = {name: {"host": HOST, "port": self.hub.port} for name in config.get("network_protocol", ())}
        return {**config, **({"network_protocol": network} if network else {})}

    def _identity(self, site: str) -> None:
        """An identity that stands at a site, where each make looks for it."""
        folder = "hivemind" if self.released else "hivemind-core"
        identity = NodeIdentity(self.hub.home.config / folder / "_identity.json")
        identity.name, identity.site_id = "hivemind-core", site
        identity.create_keys()
        identity.save()

    def change(self, key: str, **columns: Any) -> None:
        """Write columns of a client's row, before it connects."""
        names = ", ".join(f"{name} = ?" for name in columns)
        with closing(sqlite3.connect(self.hub.database)) as database, database:
            database.execute(f"UPDATE clients SET {names} WHERE api_key = ?", [*columns.values(), key])

    @property
    def released(self) -> bool:
        return self.make != OURS

    def within(self, seconds: float) -> float:
        """How long to wait for what comes unless harm was done: ours is given the time that a slow machine takes."""
        return seconds if self.released else PATIENCE_S

    @property
    def pid(self) -> int:
        assert self.hub.child is not None
        return self.hub.child.pid

    def key(self) -> str:
        """The access key of a client that nobody has used."""
        return next(self._keys)

    def _add_rows(self) -> None:
        with closing(sqlite3.connect(self.hub.database)) as database, database:
            database.row_factory = sqlite3.Row
            model = dict(database.execute("SELECT * FROM clients").fetchone())
            for number, key in enumerate(KEYS, 2):
                row = {**model, "client_id": number, "api_key": key, "name": f"client-{number}"}
                marks = ", ".join("?" * len(row))
                database.execute(f"INSERT INTO clients ({', '.join(row)}) VALUES ({marks})", list(row.values()))

    def row(self, key: str) -> dict[str, Any]:
        """What the database holds of a client."""
        with closing(sqlite3.connect(self.hub.database)) as database:
            database.row_factory = sqlite3.Row
            found = database.execute("SELECT * FROM clients WHERE api_key = ?", [key]).fetchone()
        return dict(found) if found is not None else {}

    def all_keys(self) -> set[str]:
        """The access keys that the database knows."""
        with closing(sqlite3.connect(self.hub.database)) as database:
            return {key for (key,) in database.execute("SELECT api_key FROM clients")}

    def delete(self, key: str) -> None:
        """Take a client out of the database at once, as a command of another process does in time."""
        with closing(sqlite3.connect(self.hub.database)) as database, database:
            database.execute("DELETE FROM clients WHERE api_key = ?", [key])

    def client_id(self, key: str) -> str:
        return str(self.row(key)["client_id"])

    def memory_kb(self, what: str = "VmRSS") -> int:
        """Memory of the hub process: VmRSS now, VmHWM at its highest since `forget_peak`."""
        lines = Path(f"/proc/{self.pid}/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what))

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", "utf-8")

    async def raw(self, key: str, **options: Any) -> ClientConnection:
        """A connection that says nothing by itself."""
        token = quote(b64encode(f"raw:{key}".encode()).decode(), safe="")
        url = f"ws://{HOST}:{self.hub.port}/?authorization={token}"
        socket = await connect(url, compression=None, **{"close_timeout": 0.5, "open_timeout": PATIENCE_S, **options})
        self._open.append(socket)
        return socket

    async def hang_up(self) -> None:
        """End every connection that was made."""
        for socket in self._open:
            socket.transport.abort()
        await asyncio.gather(*(socket.wait_closed() for socket in self._open))
        self._open.clear()

    async def session(self, key: str, password: str = PASSWORD, *, device: bytes = b"", **hello: Any) -> Session:
        """A satellite whose session is up; `device` is its static key, of which a client may have one."""
        own = {"session": {"session_id": f"of-{key}"}, "site_id": "kitchen", **hello}
        session = Session(await self.raw(key, max_size=None), own, device or generate_static_key())
        await session.open(password)
        return session

    async def registered(self, *sessions: Session) -> None:
        """Wait until each of them has been answered, so that none misses what is sent next."""
        for number, session in enumerate(sessions):
            await session.talk(f"ready {number}")

    def bus_frames(self, msg_type: str) -> list[dict[str, Any]]:
        """What was heard on the agent's bus of one type."""
        return [frame for frame in list(self.peer.heard) if frame.get("type") == msg_type]

    def close(self) -> None:
        self.peer.close()


class Session:
    """One satellite: a Link over a WebSocket, whose frames the attack makes."""

    def __init__(self, socket: ClientConnection, hello: dict[str, Any], device: bytes) -> None:
        self.socket = socket
        self.device = device
        self.link = Link.client(ClientTerms(device, hello), 0.0)
        self.messages: list[HiveMessage] = []
        self.clear: list[str] = []
        """Frames that came as text after the session was up."""
        self._reading: asyncio.Task[None] | None = None

    async def begin(self, password: str = PASSWORD) -> None:
        """Send the first message of the handshake."""
        while not (frames := self.link.frames_to_send()):
            await self._follow(password)
        for frame in frames:
            await self.socket.send(frame)

    async def open(self, password: str = PASSWORD) -> None:
        while not self.link.is_open:
            await self._follow(password)
            await self.flush()
        self._reading = asyncio.create_task(self._read())

    async def _follow(self, password: str) -> None:
        for event in self.link.receive(await asyncio.wait_for(self.socket.recv(), PATIENCE_S), 0.0):
            if isinstance(event, KeyNeeded):
                self.link.key_derived(await asyncio.to_thread(derive, password, event.node_id), 0.0)

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for frame in self.socket:
                if isinstance(frame, str):
                    self.clear.append(frame)
                    continue
                self.messages += [
                    event.message for event in self.link.receive(frame, 0.0) if isinstance(event, Received)
                ]
                await self.flush()

    def pause(self) -> None:
        """Read nothing any more, as a device that hangs."""
        assert self._reading is not None
        self._reading.cancel()
        self.socket.transport.pause_reading()

    async def flush(self) -> None:
        for frame in self.link.frames_to_send():
            await self.socket.send(frame)

    async def send(self, message: HiveMessage) -> None:
        self.link.send(message)
        await self.flush()

    async def emit(self, msg_type: str, data: dict[str, Any] | None = None, **context: Any) -> None:
        await self.send(HiveMessage(HiveMessageType.BUS, Message(msg_type, data or {}, context)))

    async def say(self, words: str) -> None:
        await self.emit(UTTERANCE, {"utterances": [words], "lang": "en-us"})

    async def talk(self, words: str) -> None:
        """Say something and wait for the answer."""
        await self.say(words)
        assert await soon(lambda: self.heard(f"you said: {words}")), f"no answer to {words!r}"

    async def travel(self, kind: HiveMessageType, words: str, **more: Any) -> None:
        """Send an utterance in an envelope."""
        bus = Message(UTTERANCE, {"utterances": [words], "lang": "en-us"})
        await self.send(HiveMessage(kind, HiveMessage(HiveMessageType.BUS, bus), **more))

    def heard(self, words: str) -> list[HiveMessage]:
        """What came with these words in it."""
        return [message for message in self.messages if words in message.serialize()]

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self.socket.close()


async def soon(condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """The condition's first true value, or its last false one when the time is over."""
    end = time.monotonic() + within_s
    while not (value := condition()) and time.monotonic() < end:  # noqa: ASYNC110 - what it waits for is elsewhere
        await asyncio.sleep(0.02)
    return value


async def first_text(socket: ClientConnection, within_s: float = SOON_S) -> str:
    """The next thing a connection is told; empty where that is nothing."""
    with suppress(asyncio.TimeoutError, ConnectionClosed):
        frame = await asyncio.wait_for(socket.recv(), within_s)
        return frame if isinstance(frame, str) else frame.hex()
    return ""


async def closed(socket: ClientConnection, within_s: float = PATIENCE_S) -> int | None:
    """The code with which a connection is closed; None while it is open."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(socket.wait_closed(), within_s)
        return socket.close_code
    return None


def clear(msg_type: str, payload: Any) -> str:
    """A message in the clear."""
    return json.dumps({"msg_type": msg_type, "payload": payload})
