"""What is measured: a hub alone, and clusters of one, two and three, each hub with an assistant of its own."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from helpers import bus_stub
from helpers.hub_cluster import HubCluster, MemberHub, Seat
from helpers.processes import Child, Children, free_port
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.clients import Client
from hivemind_core.roles import DEFAULT_ROLE, ROLES

from .process import cpu_s, memory
from .satellites import Device, Keyring

ALONE = "alone"
SETTLE_S = 3.0
HOSTS = ("127.0.0.21", "127.0.0.22", "127.0.0.23")
PASSWORD = "correct horse battery staple 42"
NAME = "bench"


@dataclass
class Spent:
    """Processor time, in seconds."""

    hubs: float
    redis: float


class Subject:
    """Hubs that are one, with what belongs to them. `devices` may connect to any."""

    def __init__(self, children: Children, size: int, devices: int) -> None:
        """`size` 0 is a hub alone."""
        self.size = size
        self.name = "1 alone" if not size else "1 clustered" if size == 1 else f"{size} clustered"
        self.port = free_port()
        self.devices = [Device(f"bench-key-{number:05}") for number in range(devices)]
        self.hosts = HOSTS[: max(1, size)]
        self.buses = [self._bus(children, number) for number in range(len(self.hosts))]
        self.bus_ports = [int(bus.expect("ready")["port"]) for bus in self.buses]
        self.redis: RedisServer | None = None
        self.cluster: HubCluster | None = None
        seats = [
            Seat(f"{self.name}-{number}".replace(" ", "-"), host, self.port, self.bus_ports[number])
            for number, host in enumerate(self.hosts)
        ]
        rows = [Client(0, device.access_key, NAME, allowed_types=ROLES[DEFAULT_ROLE].types) for device in self.devices]
        if size:
            self.redis = RedisServer(children, RedisSetup(appendonly=False), name=f"redis-{size}")
            self.cluster = HubCluster(children, self.redis, seats)
            self.hubs = self.cluster.hubs
            psk = self.cluster.add_clients(rows, PASSWORD)
        else:
            self.hubs = [MemberHub(children, seats[0], "")]
            self.hubs[0].start()
            self.hubs[0].stop()  # it has an identity now
            psk = self.hubs[0].add_rows(rows, PASSWORD)
        self.node_id = self.hubs[0].node_id
        self._psk = psk

    def _bus(self, children: Children, number: int) -> Child:
        return children.spawn(f"bus-{self.size}-{number}", [sys.executable, bus_stub.__file__])

    def know(self, keyring: Keyring) -> None:
        """Let a keyring have the key, which is derived already."""
        keyring.keep(self.node_id, self._psk)

    def peer_id(self, device: int, session_id: str, useragent: str) -> str:
        """How the hubs call a device."""
        return f"{useragent}::{device + 1}::{NAME}::{session_id}"

    def start(self) -> None:
        for hub in self.hubs:
            hub.start(waited_for=False)
        for hub in self.hubs:
            hub.wait_ready()
        if self.cluster is not None:
            self.cluster.wait_together()
        time.sleep(SETTLE_S)

    def stop(self) -> None:
        for hub in self.hubs:
            hub.stop()

    def spent(self) -> Spent:
        """What all hubs, and Redis, have spent so far."""
        redis = cpu_s(self.redis.child.pid) if self.redis is not None else 0.0
        return Spent(sum(cpu_s(hub.running.pid) for hub in self.hubs), redis)

    def resident_kb(self) -> list[int]:
        """Resident memory of each hub, in kB."""
        return [memory(hub.running.pid).rss for hub in self.hubs]
