"""Our hub on a real socket in this process: its database is a file, its log is the test's, its clock can be moved."""

from __future__ import annotations

import asyncio
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link
from hivemind_bus_client.message import HiveMessage
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.clients import Client
from hivemind_core.config import Config, WebSocketConfig
from hivemind_core.database import ClientDatabase
from hivemind_core.hub import Clocks, Hub
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.policy import PolicyChain
from hivemind_core.roles import DEFAULT_ROLE, ROLES
from hivemind_core.service import Service
from hivemind_core.storage import Store
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import RecordingAgent
from hivemind_core.transports.websocket import WebSocketTransport

from .link_hub import derive as derive_once
from .processes import Children, Home, free_port

HOST = "127.0.0.1"
PROGRAM = Path(sys.executable).parent / "hivemind-core"


class LiveHub:
    """An async context manager; it can be stopped and started again on the same port and database."""

    def __init__(
        self,
        folder: Path,
        *,
        policies: PolicyChain | None = None,
        derive: Callable[[str, str], bytes] = derive_once,
        parts: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.home = Home(folder)
        self.config = Config(path=self.home.config / "server.json", websocket=WebSocketConfig(HOST, 0))
        self.config = replace(self.config, **config)
        self.agent = RecordingAgent()
        self.database = self.home.data / "hivemind-core" / "clients.db"
        self.ahead_s = 0.0
        self._clock: Callable[[], float] = time.monotonic
        self.identity = HubIdentity(
            "-----BEGIN PUBLIC KEY-----\na hub\n-----END PUBLIC KEY-----", generate_static_key()
        )
        self._policies = policies
        self._derive = derive
        self._parts = dict(parts or {})
        self.hub: Hub
        self.service: Service
        self.port = free_port()
        """Which no outgoing connection takes while it is away."""

    async def __aenter__(self) -> LiveHub:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.service.stop()

    async def start(self) -> None:
        clocks = Clocks(lambda: self._clock() + self.ahead_s)
        db = ClientDatabase(self._store())
        config, policies = self.config, self._policies
        parts = {"clocks": clocks, "derive": self._derive, **self._parts}
        self.hub = Hub(config, self.identity, db, self.agent, policies, **parts)
        transport = WebSocketTransport(self.hub, replace(config.websocket, port=self.port))
        self.service = Service(self.hub, [transport])
        await self.service.start()

    def _store(self) -> Store:
        return SQLiteStore(self.database)

    def stand_still(self) -> None:
        """Let no time go by for it but `ahead_s`: nothing is forgiven meanwhile, however long the machine takes."""
        now = self._clock()
        self._clock = lambda: now

    def add(self, key: str, password: str | None, **columns: Any) -> Client:
        """Let a client in, with the default role."""
        row = Client(0, key, "kitchen", password=password, allowed_types=ROLES[DEFAULT_ROLE].types)
        return self.hub.db.add(replace(row, **columns))

    def stored(self) -> list[Client]:
        """The rows as they are in the file."""
        store = self._store()
        rows = store.load()
        store.close()
        return rows

    def command(self, children: Children, *arguments: str) -> str:
        """Run one of the hub's commands in a process of its own."""
        return children.run(arguments[0], [PROGRAM, *arguments], self.home)

    def client(self, key: str, password: str, device: str = "device", **options: Any) -> AsyncHiveMessageBusClient:
        """A satellite; one device has one identity."""
        return satellite(self.home.path / device, self.port, key, password, **options)

    async def raw(self, key: str, headers: dict[str, str] | None = None) -> ClientConnection:
        """A connection that says nothing by itself."""
        token = quote(b64encode(f"raw:{key}".encode()).decode(), safe="")
        return await connect(f"ws://{HOST}:{self.port}/?authorization={token}", additional_headers=headers)

    async def session(
        self, key: str, password: str, headers: dict[str, str] | None = None, device_key: bytes = b""
    ) -> tuple[ClientConnection, Link]:
        """A connection with a session, whose frames the test makes; without its key it is another device."""
        socket = await self.raw(key, headers)
        link = Link.client(ClientTerms(device_key or generate_static_key(), {"session": {"session_id": "raw"}}), 0.0)
        while not link.is_open:
            for event in link.receive(await socket.recv(), 0.0):
                if isinstance(event, KeyNeeded):
                    link.key_derived(derive_once(password, event.node_id), 0.0)
            await flush(socket, link)
        return socket, link


def satellite(folder: Path, port: int, key: str, password: str, **options: Any) -> AsyncHiveMessageBusClient:
    """One of our clients with an identity folder of its own."""
    identity = NodeIdentity(folder / "_identity.json")
    where = {"host": HOST, "port": port, **options}
    return AsyncHiveMessageBusClient(key, password=password, identity=identity, **where)


async def flush(socket: ClientConnection, link: Link) -> None:
    for frame in link.frames_to_send():
        await socket.send(frame)


async def send(socket: ClientConnection, link: Link, message: HiveMessage) -> None:
    link.send(message)
    await flush(socket, link)


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason with which the hub ends a connection."""
    await asyncio.wait_for(_read_on(socket), 60)
    return socket.close_code or 0, socket.close_reason or ""


async def _read_on(socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await socket.recv()
