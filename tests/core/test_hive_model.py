"""Hives of every shape, against docs/topology-as-policy.md: who gets what, once, and nobody else anything.

Hypothesis draws trees, chains and rings of hubs, rights, sites and traffic; all of them are real hubs and real links in
memory. What must happen is worked out from the shape alone.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hivemind_bus_client.message import HiveMessage, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.testing import FakeClock, MemoryHive, MemorySatellite, MemoryUplink

TABLE = Path(__file__).parents[2] / "docs" / "topology-as-policy.md"
BELOW, ABOVE = "a satellite or a hub below", "the hub above"
UTTERANCE = "recognizer_loop:utterance"
SITES = ("attic", "hall", "cellar")
FAN_OUT = ("propagate", "escalate", "broadcast")
SETTLES = 4
QUIET = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@dataclass(frozen=True)
class Cell:
    """What the table says of a verb that comes from somewhere."""

    rights: list[str]
    agent: str
    satellites: str
    below: str
    above: str
    answers: str


def read_table() -> dict[tuple[str, str], Cell]:
    rows = [line.strip("|").split("|") for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| ")]
    found = {}
    for origin, verb, needs, *cells in (tuple(cell.strip() for cell in row) for row in rows[1:]):
        found[origin, verb.strip("`")] = Cell(re.findall("`([a-z_]+)`", needs), *cells)
    return found


CELLS = read_table()


def test_the_words_of_the_table_are_those_that_the_model_knows() -> None:
    columns = {
        "agent": {"all", "its site", "asked", "told"},
        "satellites": {"none", "all", "all others", "asked next"},
        "below": {"none", "passed on", "asked", "asked next"},
        "above": {"none", "passed on", "asked", "asked next"},
        "answers": {"the agent", "nobody", "the nearest hub", "the first", "everybody"},
    }
    for name, words in columns.items():
        assert {getattr(cell, name) for cell in CELLS.values()} == words
    assert {verb for _, verb in CELLS} == {*FAN_OUT, "bus", "query", "cascade", "ping"}


@dataclass(frozen=True)
class HubPlan:
    above: int | None
    site: str
    knows: bool
    """Its agent has an answer."""
    rights: dict[str, bool]
    """What its row at the hub above allows."""


@dataclass(frozen=True)
class Plan:
    """A hive, and what its satellites say one after the other."""

    hubs: list[HubPlan]
    satellites: list[tuple[int, dict[str, bool]]]
    traffic: list[tuple[int, str, str | None]]

    def below(self, hub: int) -> list[int]:
        return [number for number, plan in enumerate(self.hubs) if plan.above == hub]


RIGHTS = st.fixed_dictionaries(
    {
        name: st.sampled_from([True, True, True, True, True, False])
        for name in ("can_escalate", "can_propagate", "can_broadcast")
    }
)
ALL_RIGHTS = {"can_escalate": True, "can_propagate": True, "can_broadcast": True}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(1, 8))
    ring = count > 1 and draw(st.integers(0, 3)) == 0
    hubs = []
    for number in range(count):
        above = None if number == 0 else draw(st.integers(0, number - 1))
        rights = ALL_RIGHTS if ring else draw(RIGHTS)
        hubs.append(HubPlan(above, draw(st.sampled_from(SITES)), draw(st.booleans()), rights))
    if ring:
        hubs[0] = HubPlan(draw(st.integers(1, count - 1)), hubs[0].site, hubs[0].knows, ALL_RIGHTS)
    columns = st.builds(lambda rights, admin: {**rights, "is_admin": admin}, RIGHTS, st.booleans())
    where = st.integers(0, count - 1)
    satellites = draw(st.lists(st.tuples(where, columns), min_size=1, max_size=draw(st.sampled_from([4, 12, 42]))))
    who = st.integers(0, len(satellites) - 1)
    verb = st.sampled_from([*FAN_OUT, "cascade", "query", "ping", "bus", "revoke"])
    traffic = draw(st.lists(st.tuples(who, verb, st.sampled_from([None, *SITES])), min_size=1, max_size=6))
    return Plan(hubs, satellites, traffic)


# --- what must happen ---------------------------------------------------------------------------------------


@dataclass
class Model:
    """The hive as it should be."""

    plan: Plan
    linked: set[int] = field(init=False)
    """Hubs that are joined to the one above."""
    rights: list[dict[str, bool]] = field(init=False)
    present: set[int] = field(init=False)
    """Satellites that have not been put out."""

    def __post_init__(self) -> None:
        self.linked = {number for number, hub in enumerate(self.plan.hubs) if hub.above is not None}
        self.rights = [dict(rights) for _, rights in self.plan.satellites]
        self.present = set(range(len(self.plan.satellites)))

    def may(self, who: int, verb: str) -> bool:
        return all(self.rights[who][right] for right in CELLS[BELOW, verb].rights)

    def up(self, hub: int, verb: str) -> int | None:
        """The hub above, if a message of a verb gets there; the one below is put out where it may not send it."""
        if hub not in self.linked:
            return None
        if not self.hub_may(hub, verb):
            self.linked.discard(hub)
            return None
        return self.plan.hubs[hub].above

    def hub_may(self, hub: int, verb: str) -> bool:
        """Whether the hub above lets this one send it."""
        return all(self.plan.hubs[hub].rights[right] for right in CELLS[BELOW, verb].rights)

    def reached(self, start: int, verb: str) -> dict[int, int | None]:
        """The hubs that a message reaches, once each, and from where."""
        found: dict[int, int | None] = {start: None}
        pending = [start]
        while pending:
            hub = pending.pop()
            came_down = found[hub] is not None and found[hub] == self.plan.hubs[hub].above
            cell = CELLS.get((ABOVE if came_down else BELOW, verb), CELLS[BELOW, verb])
            onward = [x for x in self.plan.below(hub) if x in self.linked] if cell.below != "none" else []
            if cell.above != "none":
                onward += [above] if (above := self.up(hub, verb)) is not None else []
            new = [other for other in dict.fromkeys(onward) if other not in found]
            found.update(dict.fromkeys(new, hub))
            pending += new
        return found

    def answers(self, reached: dict[int, int | None], verb: str, answering: list[int]) -> list[int]:
        """The hubs whose answers come back; one that may not send them up is put out for it."""
        return [hub for hub in answering if self._comes_back(hub, reached, verb)]

    def _comes_back(self, hub: int, reached: dict[int, int | None], verb: str) -> bool:
        at: int | None = hub
        while at is not None and (back := reached[at]) is not None:
            if back == self.plan.hubs[at].above and at in self.linked and not self.hub_may(at, verb):
                self.linked.discard(at)
                return False
            if back == self.plan.hubs[at].above and at not in self.linked:
                return False
            at = back
        return True

    def answering(self, start: int) -> tuple[int | None, str]:
        """Which hub answers a QUERY; or why none does."""
        hub, seen = start, set[int]()
        while hub not in seen:
            seen.add(hub)
            if self.plan.hubs[hub].knows:
                return hub, ""
            was_linked = hub in self.linked
            above = self.up(hub, "query")
            if above is None:
                has_parent = self.plan.hubs[hub].above is not None
                return None, "upstream_unavailable" if has_parent or was_linked else "no_answer"
            hub = above
        return None, "no_answer"

    def satellites_at(self, hubs: Iterable[int]) -> set[int]:
        return {who for who in self.present if self.plan.satellites[who][0] in hubs}


# --- what happens -------------------------------------------------------------------------------------------


class Hive:
    """The plan, built."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.hubs: list[MemoryHive] = []
        self.satellites: list[MemorySatellite] = []

    async def build(self, stack: AsyncExitStack) -> None:
        clock = FakeClock()
        for number, hub in enumerate(self.plan.hubs):
            identity = HubIdentity(f"node {number}", generate_static_key(), hub.site)
            uplink = None if hub.above is None else MemoryUplink(name=f"hub {number}", **hub.rights)
            self.hubs.append(MemoryHive(identity=identity, parent=uplink, clock=clock))
        for plan, hive in zip(self.plan.hubs, self.hubs, strict=True):
            if plan.above is not None and hive.parent is not None:
                hive.parent.above = self.hubs[plan.above]
        for number, hive in enumerate(self.hubs):
            await stack.enter_async_context(hive)
            self._let_answer(number, hive)
        for number, (where, columns) in enumerate(self.plan.satellites):
            hive = self.hubs[where]
            self.satellites.append(await hive.join(f"s{number}", client=hive.add_client(f"s{number}", **columns)))
        await self.settle()

    def _let_answer(self, number: int, hive: MemoryHive) -> None:
        def respond(message: Message) -> None:
            if message.msg_type != UTTERANCE or "query_id" not in message.context:
                return
            if self.plan.hubs[number].knows:
                hive.agent.deliver(message.forward("speak", {"utterance": f"hub {number}"}))
            hive.agent.deliver(message.forward("ovos.utterance.handled"))

        hive.agent.respond = respond

    async def settle(self) -> None:
        for _ in range(SETTLES):
            await self.hubs[0].settle()

    def answer_pings(self) -> None:
        """Let every satellite answer each flood once, as clients do."""
        for number, satellite in enumerate(self.satellites):
            satellite.on_message = _answering(satellite, f"s{number}", set())

    def clear(self) -> None:
        for satellite in self.satellites:
            satellite.messages.clear()
        for hive in self.hubs:
            hive.agent.received.clear()

    def got(self, kind: str) -> Counter[int]:
        """How many messages of a type each satellite got."""
        kinds = {number: [m.msg_type for m in one.messages].count(kind) for number, one in enumerate(self.satellites)}
        return Counter({number: count for number, count in kinds.items() if count})

    def heard_by_agents(self, text: str) -> Counter[int]:
        """How often each hub's agent was told something outside questions."""
        return Counter(
            number
            for number, hive in enumerate(self.hubs)
            for message in hive.agent.of_type(UTTERANCE)
            if message.data["utterances"] == [text] and "query_id" not in message.context
        )


def _answering(satellite: MemorySatellite, name: str, told: set[str]) -> Any:
    def on_message(message: HiveMessage) -> None:
        if message.msg_type != "propagate" or message.payload.msg_type != "ping":
            return
        flood_id = message.payload.body["flood_id"]
        if flood_id not in told:
            told.add(flood_id)
            satellite.send(ping(flood_id, name))

    return on_message


def ping(flood_id: str, node: str) -> HiveMessage:
    return HiveMessage("propagate", HiveMessage("ping", {"flood_id": flood_id, "peer": node, "timestamp": 1.0}))


def utterance(text: str) -> HiveMessage:
    return HiveMessage("bus", Message(UTTERANCE, {"utterances": [text]}))


def spoken(satellite: MemorySatellite, kind: str) -> list[str]:
    parts = [message.payload.payload for message in satellite.messages if message.msg_type == kind]
    return sorted(bus.data["utterance"] for bus in parts if bus.msg_type == "speak")


# --- the comparison -----------------------------------------------------------------------------------------


class Checker:
    def __init__(self, hive: Hive) -> None:
        self.hive = hive
        self.model = Model(hive.plan)

    async def say(self, step: int, who: int, verb: str, site: str | None) -> None:
        sender = self.hive.satellites[who]
        if who not in self.model.present:
            assert sender.closed is not None
            return
        self.hive.clear()
        check = getattr(self, f"_{verb}" if verb not in FAN_OUT else "_fan_out")
        await check(who, verb, site, f"message {step}")

    async def _send(self, who: int, message: HiveMessage) -> None:
        self.hive.satellites[who].send(message)
        await self.hive.settle()

    async def _is_put_out(self, who: int, verb: str) -> bool:
        """Whoever lacks the right is put out, and nobody gets anything."""
        if self.model.may(who, verb):
            return False
        assert self.hive.satellites[who].closed == (4003, f"{verb.upper()} is not allowed for this client")
        self.model.present.discard(who)
        assert not self.hive.got(verb)
        assert not any(hive.agent.utterances for hive in self.hive.hubs)
        return True

    async def _fan_out(self, who: int, verb: str, site: str | None, text: str) -> None:
        await self._send(who, HiveMessage(verb, utterance(text), target_site_id=site))
        if await self._is_put_out(who, verb):
            return
        reached = self.model.reached(self.hive.plan.satellites[who][0], verb)
        others = self.model.satellites_at(reached) - {who}
        is_for_all = CELLS[BELOW, verb].satellites == "all others"
        assert self.hive.got(verb) == (Counter(dict.fromkeys(others, 1)) if is_for_all else Counter())
        at_site = [hub for hub in reached if self.hive.plan.hubs[hub].site == site]
        assert self.hive.heard_by_agents(text) == Counter(at_site)

    async def _cascade(self, who: int, verb: str, site: str | None, text: str) -> None:
        await self._send(who, HiveMessage(verb, utterance(text), metadata={"query_id": text}))
        if await self._is_put_out(who, verb):
            return
        reached = self.model.reached(self.hive.plan.satellites[who][0], verb)
        others = self.model.satellites_at(reached) - {who}
        knowing = self.model.answers(reached, verb, [hub for hub in reached if self.hive.plan.hubs[hub].knows])
        assert spoken(self.hive.satellites[who], verb) == sorted(f"hub {hub}" for hub in knowing)
        got = self.hive.got(verb)
        del got[who]
        assert got == Counter(dict.fromkeys(others, 1))

    async def _bus(self, who: int, verb: str, site: str | None, text: str) -> None:
        await self._send(who, utterance(text))
        assert self.hive.heard_by_agents(text) == Counter([self.hive.plan.satellites[who][0]])
        assert not any(self.hive.got(kind) for kind in ("bus", *FAN_OUT))

    async def _query(self, who: int, verb: str, site: str | None, text: str) -> None:
        await self._send(who, HiveMessage(verb, utterance(text), metadata={"query_id": text}))
        if await self._is_put_out(who, verb):
            return
        hub, why = self.model.answering(self.hive.plan.satellites[who][0])
        asker = self.hive.satellites[who]
        assert spoken(asker, verb) == ([] if hub is None else [f"hub {hub}"])
        errors = [m.payload.payload.data.get("error") for m in asker.messages if m.msg_type == verb]
        assert [error for error in errors if error] == ([why] if why else [])
        assert self.hive.got(verb).keys() <= {who}

    async def _ping(self, who: int, verb: str, site: str | None, text: str) -> None:
        self.hive.answer_pings()
        self.hive.satellites[who].on_message = lambda message: None
        await self._send(who, ping(text, f"s{who}"))
        if await self._is_put_out(who, "propagate"):
            return
        for other in self.model.present - {who}:  # who may not answer is put out for it
            if not self.model.may(other, "propagate"):
                closed = self.hive.satellites[other].closed
                assert closed is None or closed[0] == 4003
                if closed:
                    self.model.present.discard(other)
        heard = Counter(m.payload.body["peer"] for m in self.hive.satellites[who].messages if m.msg_type == "propagate")
        reached = self.model.reached(self.hive.plan.satellites[who][0], "propagate")
        answering = self.model.answers(reached, "propagate", list(reached))
        assert {f"node {hub}" for hub in answering} <= heard.keys()
        assert all(count == 1 for count in heard.values())
        assert heard.keys() <= {f"node {hub}" for hub in reached} | {
            f"s{other}" for other in range(len(self.model.rights))
        }
        for satellite in self.hive.satellites:
            satellite.on_message = lambda message: None
        others = {number: count for number, count in self.hive.got("propagate").items() if number != who}
        assert all(count == 1 for count in others.values())

    async def _revoke(self, who: int, verb: str, site: str | None, text: str) -> None:
        """Rights that are taken away are gone for an open connection, too."""
        hive = self.hive.hubs[self.hive.plan.satellites[who][0]]
        taken = {"can_propagate": False, "can_escalate": False, "is_admin": False}
        hive.db.update(self.hive.satellites[who].peer.client.client_id, taken)
        hive.hub._apply_row(self.hive.satellites[who].peer.client.client_id)
        self.model.rights[who].update(taken)


@QUIET
@given(plans())
def test_everybody_gets_what_is_theirs_once_and_nobody_anything_else(plan: Plan) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            hive = Hive(plan)
            await hive.build(stack)
            checker = Checker(hive)
            for step, (who, verb, site) in enumerate(plan.traffic):
                await checker.say(step, who, verb, site)

    asyncio.run(run())
