"""A real hub and real satellites in one process, without sockets and with a clock that stands still.

For our tests and for yours::

    async def test_my_skill_is_reached():
        async with MemoryHive() as hive:
            kitchen = await hive.join("kitchen")
            kitchen.say("what time is it")
            await hive.settle()
            assert hive.agent.utterances == ["what time is it"]

Both ends are the real `Hub` and the real `Link`; only the wire, the agent, argon2id and the clock are replaced.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from hivemind_bus_client.link import ClientTerms, Event, KeyNeeded, Link, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key

from .admission import Visitor
from .clients import Client
from .company import Company
from .config import Config
from .database import ClientDatabase
from .hub import Clocks, Hub
from .hub_identity import HubIdentity
from .passwords import random_secret
from .peers import Peer
from .policy import PolicyChain
from .roles import DEFAULT_ROLE, ROLES
from .storage.sqlite import SQLiteStore

P = ParamSpec("P")
T = TypeVar("T")

REVIEW_LOOK_S = 0.001
SETTLE_TURNS = 50


class FakeClock:
    """Seconds that pass only when told to."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class InlineWorkers:
    """Runs slow work at once, on the loop."""

    async def database(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    async def derive(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    def stop(self) -> None:
        return None


class RecordingAgent:
    """An agent that keeps what it is told; answer with `deliver`, or set `respond`."""

    name = "recording"

    def __init__(self) -> None:
        self.available = True
        self.received: list[Message] = []
        self.respond: Callable[[Message], Message | None] = lambda message: None
        self.deliver: Callable[[Message], None] = lambda message: None

    @property
    def queued(self) -> int:
        return 0

    async def start(self, deliver: Callable[[Message], None]) -> None:
        self.deliver = deliver

    async def stop(self) -> None:
        return None

    def emit(self, message: Message) -> bool:
        if not self.available:
            return False
        self.received.append(message)
        answer = self.respond(message)
        if answer is not None:
            self.deliver(answer)
        return True

    def of_type(self, msg_type: str) -> list[Message]:
        """Return what was received of one message type."""
        return [message for message in self.received if message.msg_type == msg_type]

    @property
    def utterances(self) -> list[str]:
        """What satellites said, in order."""
        said = self.of_type("recognizer_loop:utterance")
        return [text for message in said for text in message.data.get("utterances", ())]


def quick_psk(password: str, node_id: str) -> bytes:
    """Stand in for argon2id where its cost is not what is tested."""
    return hashlib.sha256(f"{password}\0{node_id}".encode()).digest()


class MemoryConnection:
    """The hub's end of a wire that is a method call."""

    def __init__(self, satellite: MemorySatellite) -> None:
        self.remote = "memory"
        self._satellite = satellite

    def send(self, frames: list[bytes | str]) -> None:
        self._satellite.take(frames)

    def has_room(self, size: int) -> bool:
        return self._satellite.has_room

    @property
    def queued(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        self._satellite.closed = (code, reason)
        self._satellite.on_closed()


class MemorySatellite:
    """A satellite: a real `Link` on the wire to a hub."""

    def __init__(self, hive: MemoryHive, password: str, session: Mapping[str, Any] | None = None) -> None:
        self._hive = hive
        self._password = password
        self._wire: asyncio.Queue[bytes | str] = asyncio.Queue()
        self.session = {"session_id": random_secret(), **(session or {})}
        self.static_key = generate_static_key()
        self.pinned_key: bytes | None = None
        self.older: dict[str, Any] = {}
        """Keyword arguments of `ClientTerms` that let it speak protocols below v3."""
        self.messages: list[HiveMessage] = []
        self.events: list[Event] = []
        self.refused: Refused | None = None
        self.closed: tuple[int, str] | None = None
        self.hold = False
        """Keep back what it wants to send."""
        self.has_room = True
        """It reads as fast as it is sent to."""
        self.on_message: Callable[[HiveMessage], None] = lambda message: None
        """Called with each message."""
        self.on_closed: Callable[[], None] = lambda: None
        """Called when the hub ends the connection."""
        self.link: Link
        self.peer: Peer

    def take(self, frames: list[bytes | str]) -> None:
        """Receive frames from the hub."""
        for frame in frames:
            self._follow(self.link.receive(frame, self._hive.clock()))

    def _follow(self, events: list[Event]) -> None:
        self.events.extend(events)
        for event in events:
            if isinstance(event, KeyNeeded):
                key = event.compute() if event.compute else quick_psk(self._password, event.node_id)
                self._follow(self.link.key_derived(key, self._hive.clock()))
            elif isinstance(event, Received):
                self.messages.append(event.message)
                self.on_message(event.message)
            elif isinstance(event, Refused):
                self.refused = event
        self._hive.to_hub(self)

    def send(self, message: HiveMessage) -> None:
        """Send a message to the hub."""
        self.link.send(message)
        self._hive.to_hub(self)

    def emit(self, msg_type: str, data: dict[str, Any] | None = None, context: dict[str, Any] | None = None) -> None:
        """Send a bus message."""
        self.send(HiveMessage(HiveMessageType.BUS, Message(msg_type, data, context)))

    def say(self, utterance: str, **data: Any) -> None:
        """Send an utterance."""
        self.emit("recognizer_loop:utterance", {"utterances": [utterance], **data})

    @property
    def heard(self) -> list[str]:
        """What it was told to speak, in order."""
        return [bus.data["utterance"] for bus in self.bus_messages if bus.msg_type == "speak"]

    @property
    def bus_messages(self) -> list[Message]:
        """The bus messages it received."""
        return [item.payload for item in self.messages if item.msg_type == HiveMessageType.BUS]

    @property
    def denials(self) -> list[dict[str, Any]]:
        """The data of the denials it received."""
        return [bus.data for bus in self.bus_messages if bus.msg_type == "hive.policy.denied"]

    @property
    def peer_id(self) -> str:
        """Its address on the agent's bus."""
        return self.peer.peer_id

    def pong(self) -> None:
        """Answer a ping of the transport."""
        self._hive.hub.heard(self.peer)

    def leave(self) -> None:
        """End the connection."""
        self._hive.hub.closed(self.peer)


class MemoryUplink:
    """The hub above, as one in the same process: what `Hub` takes as its parent."""

    def __init__(self, above: MemoryHive | None = None, name: str = "child", **columns: Any) -> None:
        """Join that hub as a new client of it; name columns to change its rights."""
        self.above = above
        """May be set later, but before the hub below starts."""
        self._name = name
        self._columns = columns
        self._satellite: MemorySatellite | None = None
        self._lost: Callable[[], None] = lambda: None

    @property
    def available(self) -> bool:
        return self._satellite is not None and self._satellite.closed is None

    @property
    def node_id(self) -> str:
        return self.above.identity.node_id if self.above is not None else ""

    @property
    def satellite(self) -> MemorySatellite:
        """This hub, as it stands among the satellites of the one above."""
        assert self._satellite is not None
        return self._satellite

    def send(self, message: HiveMessage) -> bool:
        if self._satellite is None or not self.available:
            return False
        self._satellite.send(message)
        return True

    async def start(self, receive: Callable[[HiveMessage], None], lost: Callable[[], None]) -> None:
        assert self.above is not None
        self._lost = lost
        self._satellite = await self.above.join(
            self._name, client=self.above.add_client(self._name, **self._columns), on_message=receive
        )
        self._satellite.on_closed = lost

    async def stop(self) -> None:
        if self._satellite is not None and self._satellite.closed is None:
            self._satellite.leave()

    def cut(self) -> None:
        """Lose the connection."""
        self.satellite.leave()
        self.satellite.closed = (1006, "")
        self._lost()


class MemoryHive:
    """A hub with a temporary SQLite database and any number of satellites; an async context manager."""

    def __init__(
        self,
        config: Config | None = None,
        policies: PolicyChain | None = None,
        *,
        identity: HubIdentity | None = None,
        parent: MemoryUplink | None = None,
        clock: FakeClock | None = None,
        agent: RecordingAgent | None = None,
        company: Company | None = None,
        database: Path | None = None,
        derive: Callable[[str, str], bytes] = quick_psk,
    ) -> None:
        """Make a hub. `identity` gives it keys and a site, `parent` a hub above it, `company` others beside it, with
        which it may share a `database` (a file). `derive` makes keys of passwords.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="memory-hive-")
        self.clock = clock or FakeClock()
        self.parent = parent
        self.agent = agent or RecordingAgent()
        self.db = ClientDatabase(SQLiteStore(database or Path(self._folder.name) / "clients.db"))
        self.identity = identity or HubIdentity(f"memory hub {random_secret()}", generate_static_key())
        self.hub = Hub(
            config or Config(path=Path(self._folder.name) / "server.json", runtime_password_strength_check=False),
            self.identity,
            self.db,
            self.agent,
            policies,
            workers=InlineWorkers(),
            clocks=Clocks(self.clock, self.clock),
            derive=derive,
            parent=parent,
            company=company,
        )

    async def __aenter__(self) -> MemoryHive:
        await self.hub.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hub.stop()
        self._folder.cleanup()

    def add_client(self, name: str, **columns: Any) -> Client:
        """Add a client with the default role; name columns to change it."""
        fresh = Client(0, random_secret(), name, password=random_secret(), allowed_types=ROLES[DEFAULT_ROLE].types)
        return self.db.add(replace(fresh, **columns))

    async def join(
        self,
        name: str,
        *,
        client: Client | None = None,
        password: str | None = None,
        older: Mapping[str, Any] | None = None,
        on_message: Callable[[HiveMessage], None] | None = None,
        **session: Any,
    ) -> MemorySatellite:
        """Connect a satellite and run the handshake; see its `refused` and `closed` when it fails."""
        row = client or self.add_client(name)
        satellite = MemorySatellite(self, password or row.password or "", session)
        satellite.on_message = on_message or satellite.on_message
        satellite.older = dict(older or {})
        await self.connect(satellite, row, name)
        return satellite

    async def connect(self, satellite: MemorySatellite, row: Client, name: str) -> None:
        """Connect a satellite, again where it was connected before."""
        hello = {"pubkey": None, "session": satellite.session, "site_id": satellite.session.get("site_id")}
        terms = ClientTerms(satellite.static_key, hello, pinned_key=satellite.pinned_key, **satellite.older)
        satellite.link, satellite.closed, satellite.refused = Link.client(terms, self.clock()), None, None
        satellite.peer = self.hub.connect(MemoryConnection(satellite), Visitor(row, name))
        await self.settle()

    def to_hub(self, satellite: MemorySatellite) -> None:
        """Carry what a satellite wants to send; later, as a wire would, so that neither end is re-entered."""
        for frame in () if satellite.hold else satellite.link.frames_to_send():
            asyncio.get_running_loop().call_soon(self._carry, satellite, frame)

    def _carry(self, satellite: MemorySatellite, frame: bytes | str) -> None:
        self.hub.receive(satellite.peer, frame)

    async def settle(self) -> None:
        """Let everything that is under way finish; policies of plugins are asked in threads."""
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
        while self.hub.reviews.under_way:  # noqa: ASYNC110 - nobody but a policy says when it is done
            await asyncio.sleep(REVIEW_LOOK_S)


__all__ = [
    "FakeClock",
    "InlineWorkers",
    "MemoryHive",
    "MemorySatellite",
    "MemoryUplink",
    "RecordingAgent",
    "quick_psk",
]
