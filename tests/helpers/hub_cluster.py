"""Hubs of one cluster as processes over a real redis-server, set up by their own commands.

with Children(folder) as children:
    cluster = HubCluster(children, RedisServer(children), [Seat(f"hub{n}", f"127.0.0.1{n}", PORT) for n in (1, 2, 3)])
    cluster.first.command("add-client", …)
    cluster.start()
    cluster.hubs[0].kill(); cluster.hubs[0].start()
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hivemind_bus_client.noise import derive_psk
from hivemind_core.clients import Client
from hivemind_core.database import ClientDatabase
from hivemind_core.keys import psk_binding
from hivemind_core.storage.sqlite import SQLiteStore

from .processes import PATIENCE_S, Child, ChildError, Children, wait_until
from .redis_server import RedisServer

PROGRAM = Path(sys.executable).parent / "hivemind-core"
CODE = re.compile(r"(?:[0-9A-Z]{5}-){5}[0-9A-Z]{5}")
BUS_AGENT = "hivemind-ovos-agent-plugin"
LISTENS, HAS_BUS = "listening on", "Connected to the message bus"
MEMBER = "is one of cluster"
OWN_ID = re.compile(rf"hub ([0-9a-f]{{16}}) {MEMBER}")


@dataclass(frozen=True)
class Seat:
    """Where a hub is, and what it is told."""

    name: str
    host: str
    port: int
    bus_port: int | None = None
    """The port of its assistant's bus; without one the small assistant inside answers."""
    bus_host: str = "127.0.0.1"
    run_in: Sequence[str] = ()
    """Words before its command line, as to run it in a network namespace."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More of server.json."""


class MemberHub:
    """One hub of a cluster; it may be started and ended many times."""

    def __init__(self, children: Children, seat: Seat, url: str) -> None:
        """`url` is Redis's; where it is empty the hub runs alone."""
        self.seat = seat
        self.home = children.home(seat.name)
        self.child: Child | None = None
        self._children = children
        self._write({"cluster": {"url": url, "hub_name": seat.name}} if url else {})

    @property
    def name(self) -> str:
        return self.seat.name

    @property
    def folder(self) -> Path:
        """Where server.json and the identity are."""
        return self.home.config / "hivemind-core"

    @property
    def node_id(self) -> str:
        """The public key that is the name of the hive."""
        return str(json.loads((self.folder / "_identity.json").read_text("utf-8"))["public_key"])

    @property
    def id(self) -> str:
        """What the other hubs call its process; it must have been a member."""
        return OWN_ID.findall(self.running.output())[-1]

    @property
    def running(self) -> Child:
        """Its process."""
        assert self.child is not None
        return self.child

    def command(self, *arguments: str) -> str:
        """Run one of its commands, which must succeed; what it printed."""
        argv = [*self.seat.run_in, PROGRAM, *arguments]
        return self._children.run(f"{self.name}-{arguments[0]}", argv, self.home)

    def spawn(self, *arguments: str) -> Child:
        """Start one of its commands."""
        return self._children.spawn(self.name, [*self.seat.run_in, PROGRAM, *arguments], self.home)

    def start(self, *, waited_for: bool = True) -> None:
        """Start it, and wait until it listens and has joined its assistant."""
        self.child = self.spawn("listen")
        if waited_for:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it listens and has joined its assistant."""
        wanted = [LISTENS] if self.seat.bus_port is None else [LISTENS, HAS_BUS]
        for text in wanted:
            self.running.wait_output(text)

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL)."""
        self.running.kill()

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        return self.running.stop()

    def pause(self) -> None:
        """Make it hang (SIGSTOP), with all it has started."""
        os.killpg(self.running.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        os.killpg(self.running.pid, signal.SIGCONT)

    def add_rows(self, clients: Sequence[Client], password: str) -> bytes:
        """Write clients of one password into its SQLite file, with the key derived from it; that key."""
        psk = derive_psk(password, self.node_id)
        metadata = {"noise_psk": psk.hex(), "noise_psk_for": psk_binding(self.node_id, password)}
        db = ClientDatabase(SQLiteStore(self.home.data / "hivemind-core" / "clients.db"))
        for client in clients:
            db.add(replace(client, password=password, metadata=metadata))
        db.close()
        return psk

    def _write(self, extra: Mapping[str, Any]) -> None:
        seat = self.seat
        agent: dict[str, Any] = {"module": "builtin"}
        if seat.bus_port is not None:
            agent = {"module": BUS_AGENT, BUS_AGENT: {"host": seat.bus_host, "port": seat.bus_port}}
        config = {
            "network_protocol": {"hivemind-websocket-plugin": {"host": seat.host, "port": seat.port}},
            "agent_protocol": agent,
            "presence": {"enabled": False},
            **extra,
            **seat.settings,
        }
        self.folder.mkdir(exist_ok=True)
        (self.folder / "server.json").write_text(json.dumps(config, indent=2), "utf-8")


class HubCluster:
    """The hubs, provisioned: the first has made the cluster, the others have joined it. None runs yet."""

    def __init__(self, children: Children, redis: RedisServer, seats: Sequence[Seat]) -> None:
        self.children = children
        self.redis = redis
        self.hubs = [MemberHub(children, seat, redis.url) for seat in seats]
        (self.code,) = CODE.findall(self.first.command("cluster", "create"))
        for hub in self.hubs[1:]:
            hub.command("cluster", "join", "--code", self.code)

    @property
    def first(self) -> MemberHub:
        return self.hubs[0]

    def start(self) -> None:
        """Start all of them, and wait until each knows the others."""
        for hub in self.hubs:
            hub.start(waited_for=False)
        for hub in self.hubs:
            hub.wait_ready()
        self.wait_together()

    def add_clients(self, clients: Sequence[Client], password: str) -> bytes:
        """Let many in, by way of the first hub's file and `migrate-db`; the key of their password."""
        psk = self.first.add_rows(clients, password)
        self.first.command("migrate-db", "--from", "sqlite", "--to", "redis")
        return psk

    def status(self) -> list[dict[str, Any]]:
        """The members as `cluster status` has them."""
        found: list[dict[str, Any]] = json.loads(self.first.command("cluster", "status", "--json"))["members"]
        return found

    def wait_together(self) -> None:
        """Wait until each running hub has noticed each other one, by what their processes have logged."""
        running = [hub for hub in self.hubs if hub.child is not None and hub.running.running]
        for one in running:
            one.running.wait_output(MEMBER)
        for one in running:
            for other in running:
                if other is not one:
                    one.running.wait_output(f"hub {other.name} ({other.id}) is in the cluster")

    def wait_members(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many members are listed; those."""

        def listed() -> list[dict[str, Any]]:
            found = self.status()
            return found if len(found) == count else []

        try:
            members: list[dict[str, Any]] = wait_until(listed, PATIENCE_S, f"{count} members")
        except ChildError as error:
            raise ChildError(f"{error}\n{self.children.report()}") from None
        return members
