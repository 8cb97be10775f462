"""A hub among others that are one hive with it: what crosses, and who of them is where (docs/clusters.md).

Everything here runs on the hub's loop and none of it waits: the wire takes frames, or says at once that it cannot. What
goes on inside one hub never depends on it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from hivemind_bus_client.message import HiveMessage, Message

from ..actions import member, member_of
from ..clocks import boot_time
from ..company import Reception
from ..fairness import Ration
from .calls import Calls, Handler
from .members import BEAT_S, Member, Members, member_told
from .paths import Copies
from .presence import Presence
from .seldom import Seldom

log = logging.getLogger(__name__)

Frame = dict[str, Any]

HERE = "hive.cluster.here"
"""Said on the assistant's bus, so that hubs that share one know of each other."""
SPEAKER = "hivemind-core"
"""Who says it; no satellite is called so there."""
HERE_EVERY_S, SHARED_S = 5.0, 12.0
"""How often it is said, and for how long it counts."""
HELD_UP_S = 3.0
"""A hub whose clock was still for so long was itself paused: it could not hear the others."""
LISTEN_S = 3.0
"""Before it takes the lead, a hub listens for so long whether there is an older one."""
REPLY, MESH, BACK, DIRECT, UP, ABOVE = "reply", "mesh", "back", "direct", "up", "above"
"""What crosses: an answer of an assistant, a message for all, an answer to one of those, a message for one satellite,
one for the hub above, and its answer."""
NAMED_PER_S, NAMED_AT_ONCE = 1.0, 10
"""How often a hub names all its satellites at once; what is asked for beyond waits."""


class Wire(Protocol):
    """Carries frames between the hubs; see `wire.ClusterWire`."""

    @property
    def available(self) -> bool: ...
    async def start(
        self,
        receive: Callable[[str, Frame], None],
        changed: Callable[[bool], None],
        undelivered: Callable[[str, Frame], None],
    ) -> None: ...
    def send(self, hub: str, frame: Frame) -> bool: ...
    def tell(self, frame: Frame) -> bool: ...
    def gone(self, hub: str) -> None: ...
    def time_ms(self) -> int: ...
    def latest_ms(self) -> int: ...
    def passed_s(self, at_ms: int) -> float: ...
    async def stop(self) -> None: ...


class Bus(Protocol):
    """The assistant's bus; see `agents.Agent`."""

    @property
    def available(self) -> bool: ...
    def emit(self, message: Message) -> bool: ...


class Cluster:
    """The other hubs; see `company.Company`. `hub` is this one's id, `name` what people call it."""

    def __init__(self, wire: Wire, hub: str, name: str, agent: Bus, clock: Callable[[], float] = boot_time) -> None:
        self.hub = hub
        self.calls = Calls(hub, wire.send)
        """What hubs ask each other, and wait for."""
        self.led: Callable[[], None] = lambda: None
        """Called after it may have changed who leads, or what the leader says."""
        self.has_parent: Callable[[], bool] = lambda: False
        """Tells whether this hub itself is joined to the hub above."""
        self._wire = wire
        self._name = name
        self._agent = agent
        self._clock = clock
        self._since_ms = 0
        self._started_at = 0.0
        self._members = Members()
        self._presence = Presence(hub)
        self._copies = Copies()
        self._sharing: dict[str, float] = {}
        self._here_at = float("-inf")
        self._ticked_at = float("inf")
        self._not_for: frozenset[str] = frozenset()
        self._behind = ""
        self._naming = Ration(NAMED_PER_S, NAMED_AT_ONCE, clock())
        self._must_name = self._has_left = False
        self._seldom = Seldom(log, clock)
        self._reception: Reception | None = None
        self._beats: asyncio.Task[None] | None = None
        self._on_frame: dict[str, Callable[[str, Frame], None]] = {
            "beat": self._beat,
            "who": self._who,
            "gap": self._gap,
            "peers": self._peers,
            "here": self._here,
            "gone": self._gone,
            "bye": self._bye,
            REPLY: self._reply,
            MESH: self._mesh,
            BACK: self._mesh,
            DIRECT: self._direct,
            UP: self._lift,
            ABOVE: lambda hub, frame: self._to.above(HiveMessage.from_wire(frame["m"])),
            "ask": self.calls.asked,
            "told": self.calls.told,
        }

    # life

    async def start(self, reception: Reception) -> None:
        """Join the others, and return soon, whether Redis can be reached or not."""
        self._reception = reception
        self._started_at = self._clock()
        await self._wire.start(self._receive, self._changed, self._undelivered)
        self._beats = asyncio.get_running_loop().create_task(self._beat_always())

    async def stop(self) -> None:
        """Leave the others."""
        if self._beats is not None:
            self._beats.cancel()
        self._has_left = True
        self.calls.stop()
        self._wire.tell({"t": "bye"})
        await self._wire.stop()

    @property
    def available(self) -> bool:
        """The other hubs can be reached, as far as Redis goes."""
        return self._wire.available

    @property
    def _to(self) -> Reception:
        assert self._reception is not None
        return self._reception

    @property
    def me(self) -> Member:
        """This hub, as it tells of itself."""
        told = self._agent.available, self.has_parent(), self._presence.number_here
        return Member(self.hub, self._name, self._since_ms, *told)

    def others(self) -> list[Member]:
        """Return the other hubs, the oldest first."""
        return self._members.others()

    @property
    def leader(self) -> Member:
        """The one that is joined to the hub above for all."""
        return self._members.leader(self.me)

    @property
    def leads(self) -> bool:
        """It is this hub, as far as it can know: it has listened for the others for a while."""
        return self._clock() - self._started_at >= LISTEN_S and self.leader.hub == self.hub

    def where(self, peer_id: str) -> str:
        """Return the id of the other hub that has a satellite; empty where none has."""
        return self._presence.where(peer_id)

    def time_ms(self) -> int:
        """Return the time by the clock that all hubs share, that of Redis (Unix milliseconds)."""
        return self._wire.time_ms()

    # the clock

    async def _beat_always(self) -> None:
        while True:
            try:
                self.tick()
            except Exception:  # top of a task
                log.exception("the cluster's clock tick failed")
            await asyncio.sleep(BEAT_S)

    def tick(self) -> None:
        """To be called every second: say that this hub is there, and miss those that are silent."""
        now, before = self._clock(), self._ticked_at
        self._ticked_at = now
        self._wire.tell({"t": "beat", **self.me.told()})
        if self._must_name:
            self._name_all()
        if now - before >= HELD_UP_S:
            self._members.wait_for_all(now)
        if self._wire.available:
            for hub in self._members.silent(now):
                self._forget(hub, "it is silent")
        self.led()
        if now - self._here_at >= HERE_EVERY_S:
            self._say_here()
        self._sharing = {hub: heard for hub, heard in self._sharing.items() if now - heard < SHARED_S}

    def _say_here(self) -> None:
        if self._members.others() and self._agent.emit(Message(HERE, {"hub": self.hub}, {"source": SPEAKER})):
            self._here_at = self._clock()

    def _changed(self, available: bool) -> None:
        if not available:
            if not self._has_left:
                log.warning("Redis cannot be reached: the hubs of the cluster are on their own for now")
            return
        log.info("Redis can be reached")
        self._since_ms = self._since_ms or self._wire.time_ms()  # not before: its clock is the one that all share
        self._members.wait_for_all(self._clock())
        self._name_all()
        self._wire.tell({"t": "who"})

    # what the others say of themselves

    def _receive(self, hub: str, frame: Frame) -> None:
        take = self._on_frame.get(frame.get("t", ""))
        if take is None:
            self._seldom.warn("hub %s says what this one does not understand; do all run the same version?", hub)
        else:
            take(hub, frame)

    def _beat(self, hub: str, frame: Frame) -> None:
        before = self._members.get(hub)
        now = member_told(hub, frame)
        if self._members.beat(now, self._clock()):
            log.info("hub %s (%s) is in the cluster", now.name, hub)
            self._name_all()
            self._wire.tell({"t": "who", "of": hub})  # which may never have lost sight of this one
            self._say_here()
        if not now.has_agent:
            self._sharing.pop(hub, None)  # it hears nothing at the moment
        if before is None or before.has_parent != now.has_parent:
            self.led()

    def _who(self, hub: str, frame: Frame) -> None:
        if frame.get("of", self.hub) == self.hub:
            self._name_all()

    def _gap(self, hub: str, frame: Frame) -> None:
        self._wire.tell({"t": "who"})

    def _bye(self, hub: str, frame: Frame) -> None:
        self._forget(hub, "it has stopped")

    def _forget(self, hub: str, why: str) -> None:
        if not self._members.gone(hub):
            return
        log.info("hub %s is not in the cluster any more: %s", hub, why)
        self._presence.forget(hub)
        self._sharing.pop(hub, None)
        self.calls.gone(hub)
        self._wire.gone(hub)
        self.led()

    # who is where

    def _name_all(self) -> None:
        self._must_name = not self._naming.take(self._clock())
        if self._must_name:
            return
        self._wire.tell({"t": "beat", **self.me.told()})  # satellites of a stranger count for nothing
        chunks = list(self._presence.own())
        for number, chunk in enumerate(chunks, 1):
            self._wire.tell({"t": "peers", "first": number == 1, "last": number == len(chunks), "p": chunk})

    def _peers(self, hub: str, frame: Frame) -> None:
        if frame["first"]:
            self._presence.begin_naming(hub)
        self._here(hub, frame)
        if frame["last"]:
            self._presence.end_naming(hub)

    def _here(self, hub: str, frame: Frame) -> None:
        if self._members.get(hub) is None:
            return  # it is gone, and this is late; or it is new, and is asked for all when it says that it is there
        for peer_id in self._presence.here(hub, [(peer_id, since) for peer_id, since in frame["p"]]):
            log.info("%s is at hub %s now", peer_id, hub)
            self._to.displaced(peer_id)

    def _gone(self, hub: str, frame: Frame) -> None:
        self._presence.left(hub, frame["p"])

    def has(self, peer_id: str) -> bool:
        return bool(self._presence.where(peer_id))

    def came(self, peer_id: str) -> None:
        since_ms = self._presence.newest(peer_id, self._wire.time_ms())
        self._presence.here(self.hub, [(peer_id, since_ms)])
        self._presence.arrived(peer_id, self._clock())
        self._wire.tell({"t": "here", "p": [(peer_id, since_ms)]})

    def left(self, peer_id: str) -> None:
        if not self._presence.where(peer_id):
            self._presence.left(self.hub, [peer_id])
            self._wire.tell({"t": "gone", "p": [peer_id]})

    # what crosses

    def reply(self, peer_ids: Iterable[str], message: Message) -> bool:
        told = {"type": message.msg_type, "data": message.data, "context": message.context}
        frame = {"m": told, "at": self._wire.latest_ms()}
        by_hub = itertools.groupby(sorted(peer_ids, key=self.where), self.where)
        sent = [
            self._wire.send(hub, {"t": REPLY, "to": list(wanted), **frame})
            for hub, wanted in by_hub
            if hub not in self._sharing
        ]
        return all(sent)

    def _reply(self, hub: str, frame: Frame) -> None:
        told, there = frame["m"], [peer_id for peer_id in frame["to"] if self._had(peer_id, frame)]
        if there:
            self._to.reply(member(hub), there, Message(told["type"], told["data"], told["context"]))

    def _direct(self, hub: str, frame: Frame) -> None:
        if self._had(frame["to"], frame):
            self._to.direct(frame["to"], HiveMessage.from_wire(frame["m"]))

    def _had(self, peer_id: str, frame: Frame) -> bool:
        """Tell whether a satellite may have been here when a frame was sent to it.

        One that came later may have had newer messages meanwhile, at another hub.
        """
        return "at" not in frame or not self._presence.came_later(peer_id, self._sent_at(frame))

    def _sent_at(self, frame: Frame) -> float:
        """Return when a frame was sent at the latest, by the clock of this hub."""
        return self._clock() - self._wire.passed_s(frame["at"])

    def repeats(self, way: str, message: Message) -> bool:
        return self._copies.is_copy(message, way, self._clock())

    def send(self, peer_id: str, message: HiveMessage) -> bool:
        hub = self.where(peer_id)
        return bool(hub) and self._wire.send(
            hub, {"t": DIRECT, "to": peer_id, "m": message.as_dict, "at": self._wire.latest_ms()}
        )

    def tell(self, way: str, message: HiveMessage) -> bool:
        hub = member_of(way)
        return self._members.get(hub) is not None and self._wire.send(hub, {"t": BACK, "m": message.as_dict})

    def relay(self, message: HiveMessage, sender: str = "", *, unheard: bool = False) -> list[str] | None:
        hubs = [each.hub for each in self.others() if not (unheard and each.hub in self._sharing)]
        frame = {"t": MESH, "m": message.as_dict, "at": self._wire.latest_ms(), "by": sender}
        frame["for"] = self._to.client(sender)
        sent = [self._wire.send(hub, frame) for hub in hubs]
        return [member(hub) for hub in hubs] if all(sent) and (hubs or self._wire.available) else None

    def _mesh(self, hub: str, frame: Frame) -> None:
        if "at" in frame:
            self._not_for = self._presence.came_after(self._sent_at(frame)) | {frame["by"]}
            self._behind = frame.get("for") or member(hub) + frame["by"]
        try:
            self._to.message(member(hub), HiveMessage.from_wire(frame["m"]))
        finally:
            self._not_for, self._behind = frozenset(), ""

    def not_for(self) -> frozenset[str]:
        return self._not_for

    def behind(self) -> str:
        return self._behind

    def lift(self, message: HiveMessage) -> bool:
        """Send a message to the hub above by way of the one that is joined to it."""
        leader, sources = self.leader, [str(hop.get("source")) for hop in message.route[-2:]]
        client = next((name for source in reversed(sources) if (name := self._to.client(source))), "")
        return leader.has_parent and self._wire.send(leader.hub, {"t": UP, "m": message.as_dict, "for": client})

    def _lift(self, hub: str, frame: Frame) -> None:
        self._behind = frame.get("for") or member(hub)
        try:
            self._to.lift(member(hub), HiveMessage.from_wire(frame["m"]))
        finally:
            self._behind = ""

    def _undelivered(self, hub: str, frame: Frame) -> None:
        log.warning("a frame (%s) to hub %s may not have arrived", frame.get("t"), hub)
        if frame.get("t") == REPLY and self._reception is not None:
            self._to.undelivered(frame["m"]["type"], frame["m"]["context"])

    # the assistant's bus

    def hears(self, message: Message) -> bool:
        if message.msg_type != HERE:
            return False
        if message.context.get("source") != SPEAKER:
            return True  # a satellite's
        hub = message.data.get("hub")
        if isinstance(hub, str) and hub != self.hub and self._members.get(hub) is not None:
            if hub not in self._sharing:
                self._say_here()  # so that it knows of this one as soon
            self._sharing[hub] = self._clock()
        return True

    def speaks_for_bus(self) -> bool:
        return self.hub == min((self.hub, *self._sharing))

    def shares_bus(self, peer_id: str) -> bool:
        return self.where(peer_id) in self._sharing

    # calls

    async def call(self, hub: str, what: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any] | None:
        """Ask another hub; None where it does not answer in time, or cannot be reached."""
        return await self.calls.call(hub, what, body, timeout_s)

    def serve(self, what: str, handler: Handler) -> None:
        """Answer what other hubs ask."""
        self.calls.serve(what, handler)
