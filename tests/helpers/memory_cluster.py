"""Hubs of one cluster in one process: real hubs and satellites, the real `Cluster`; the wire is a method call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.cluster.cluster import Cluster
from hivemind_core.cluster.shared_parent import SharedParent
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.testing import FakeClock, MemoryHive, MemorySatellite, MemoryUplink, RecordingAgent

Frame = dict[str, Any]


class MemoryRedis:
    """Carries frames between `MemoryWire`s, in order, each once."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.wires: dict[str, MemoryWire] = {}
        self.carried: list[tuple[str, str, Frame]] = []
        """Sender, receiver ("" for all) and frame."""
        self._held: list[Callable[[], None]] | None = None

    def set_available(self, available: bool, only: Iterable[str] | None = None) -> None:
        """Be there, or not, for these hubs or for all."""
        for wire in self.wires.values() if only is None else [self.wires[hub] for hub in only]:
            wire.set_available(available)

    def hold(self) -> None:
        """Keep what is sent, until `let_go`."""
        self._held = []

    def let_go(self) -> None:
        """Carry what was kept."""
        held, self._held = self._held or [], None
        for deliver in held:
            asyncio.get_running_loop().call_soon(deliver)

    def bring(self, deliver: Callable[[], None]) -> None:
        """Carry a frame: not at once, and in order."""
        if self._held is None:
            asyncio.get_running_loop().call_soon(deliver)
        else:
            self._held.append(deliver)

    def kill(self, hub: str) -> None:
        """Let nothing more come from a hub, nor to it, without a word."""
        self.wires.pop(hub).available = False

    def of_type(self, kind: str) -> list[Frame]:
        """The frames of a type that were carried."""
        return [frame for _, _, frame in self.carried if frame["t"] == kind]


class MemoryWire:
    """One hub's end; see `cluster.Wire`."""

    def __init__(self, redis: MemoryRedis, hub: str) -> None:
        self.hub = hub
        self.available = False
        self.lost: list[Frame] = []
        """Frames that were not taken."""
        self._redis = redis
        redis.wires[hub] = self
        self._receive: Callable[[str, Frame], None] = lambda hub, frame: None
        self._changed: Callable[[bool], None] = lambda available: None
        self.undelivered: Callable[[str, Frame], None] = lambda hub, frame: None

    async def start(
        self,
        receive: Callable[[str, Frame], None],
        changed: Callable[[bool], None],
        undelivered: Callable[[str, Frame], None],
    ) -> None:
        self._receive, self._changed, self.undelivered = receive, changed, undelivered
        self.set_available(True)

    def set_available(self, available: bool) -> None:
        if available != self.available:
            self.available = available
            self._changed(available)

    def send(self, hub: str, frame: Frame) -> bool:
        wire = self._redis.wires.get(hub)
        if not self.available or wire is None or not wire.available:
            self.lost.append(frame)
            return False
        self._redis.carried.append((self.hub, hub, frame))
        self._redis.bring(partial(wire.take, self.hub, frame))
        return True

    def tell(self, frame: Frame) -> bool:
        if self.available:
            self._redis.carried.append((self.hub, "", frame))
            for wire in [wire for wire in self._redis.wires.values() if wire is not self and wire.available]:
                self._redis.bring(partial(wire.take, self.hub, frame))
        return self.available

    def take(self, hub: str, frame: Frame) -> None:
        self._receive(hub, frame)

    def gone(self, hub: str) -> None:
        return None

    def time_ms(self) -> int:
        return int(self._redis.clock() * 1000)

    def latest_ms(self) -> int:
        return self.time_ms()

    def passed_s(self, at_ms: int) -> float:
        return self._redis.clock() - at_ms / 1000

    async def stop(self) -> None:
        self._redis.wires.pop(self.hub, None)
        self.available = False


class SharedBus:
    """One assistant that several hubs are connected to: each hears what any of them, or it itself, says."""

    def __init__(self) -> None:
        self.agents: list[RecordingAgent] = []

    def join(self, agent: RecordingAgent) -> None:
        """Let a hub's agent hear, and be heard by, the others."""
        self.agents.append(agent)
        agent.respond = lambda message, own=agent: self._spread(message, own)  # type: ignore[misc]

    def _spread(self, message: Message, own: RecordingAgent) -> None:
        for agent in self.agents:
            if agent is not own and agent.available:
                asyncio.get_running_loop().call_soon(agent.deliver, message)

    def say(self, message: Message) -> None:
        """Let the assistant say something."""
        for agent in self.agents:
            if agent.available:
                agent.deliver(message)


class MemoryCluster:
    """So many hubs that are one; an async context manager. Time stands still unless `pass_time` is called."""

    def __init__(self, folder: Path, size: int = 2, above: MemoryHive | None = None, **options: Any) -> None:
        """`above` is a hub that they join."""
        self._above = above
        self.clock = above.clock if above is not None else FakeClock()
        self.redis = MemoryRedis(self.clock)
        self.identity = HubIdentity("memory cluster", generate_static_key(), options.pop("site_id", None))
        self.hives: list[MemoryHive] = []
        self.clusters: list[Cluster] = []
        self._folder = folder
        self._options = options
        self._size = size
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> MemoryCluster:
        for number in range(self._size):
            await self.add(f"hub{number}")
        await self.settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def add(self, hub: str, **options: Any) -> MemoryHive:
        """Start one more hub, a moment later than those before."""
        self.clock.advance(0.01)

        agent = RecordingAgent()
        cluster = Cluster(MemoryWire(self.redis, hub), hub, hub, agent, self.clock)
        self.clusters.append(cluster)
        above = self._above
        parent = SharedParent(cluster, lambda: MemoryUplink(above, "cluster")) if above is not None else None
        hive = MemoryHive(
            identity=self.identity,
            clock=self.clock,
            agent=agent,
            company=cluster,
            parent=parent,
            database=self._folder / "clients.db",
            **{**self._options, **options},
        )
        await self._stack.enter_async_context(hive)
        self.hives.append(hive)
        return hive

    async def settle(self) -> None:
        """Let everything that is under way finish."""
        for hive in self.hives:
            await hive.settle()
        if self._above is not None:
            await self._above.settle()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, with a tick of every clock each second."""
        passed = 0.0
        while passed < seconds:
            step = min(1.0, seconds - passed)
            self.clock.advance(step)
            passed += step
            for hive, cluster in zip(self.hives, self.clusters, strict=True):
                hive.hub.tick()
                cluster.tick()
            await self.settle()


# --- satellites


def said(text: str, to: MemorySatellite, **context: Any) -> Message:
    """What an assistant says to a satellite."""
    return Message("speak", {"utterance": text}, {"destination": to.peer.peer_id, "source": "skills", **context})


def of_type(satellite: MemorySatellite, kind: HiveMessageType) -> list[HiveMessage]:
    return [message for message in satellite.messages if message.msg_type == kind]


def carrying(kind: HiveMessageType, msg_type: str = "hello", **more: Any) -> HiveMessage:
    return HiveMessage(kind, HiveMessage(HiveMessageType.BUS, Message(msg_type, {})), **more)


def denials(satellite: MemorySatellite) -> list[str]:
    return [each.data["code"] for each in satellite.bus_messages if each.msg_type == "hive.policy.denied"]


async def one_each(cluster: MemoryCluster, **columns: Any) -> list[MemorySatellite]:
    """A satellite at each hub."""
    found = []
    for number, hive in enumerate(cluster.hives):
        row = hive.add_client(f"satellite {number}", **columns)
        for other in cluster.hives:
            await other.hub.refresh()
        found.append(await hive.join(row.name, client=row))
    await cluster.settle()
    return found


def share_a_bus(cluster: MemoryCluster) -> SharedBus:
    shared = SharedBus()
    for hive in cluster.hives:
        shared.join(hive.agent)
    return shared


def answered(satellite: MemorySatellite, kind: HiveMessageType) -> list[str]:
    inner = [each.payload.body for each in of_type(satellite, kind) if each.metadata.get("is_response")]
    return [body["data"].get("utterance", body["type"]) for body in inner]
