"""So many at a turn of the loop, in their order."""

from __future__ import annotations

import asyncio

from hivemind_core.transports.turnstile import Turnstile


class Crowd:
    """Counts the turns of the loop, and notes in which of them each one came through."""

    def __init__(self, turnstile: Turnstile) -> None:
        self.turnstile = turnstile
        self.through: list[tuple[int, int]] = []
        self._turn = 0

    async def _pass(self, number: int) -> None:
        await self.turnstile.enter()
        self.through.append((number, self._turn))

    async def run(self, size: int) -> None:
        tasks = [asyncio.ensure_future(self._pass(number)) for number in range(size)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            self._turn += 1

    @property
    def at_once(self) -> int:
        """The most that came through in one turn."""
        turns = [turn for _, turn in self.through]
        return max(turns.count(turn) for turn in turns)


async def test_few_come_through_at_once() -> None:
    crowd = Crowd(Turnstile(steps=4))
    await crowd.run(4)
    assert len({turn for _, turn in crowd.through}) == 1


async def test_many_take_turns_in_their_order() -> None:
    crowd = Crowd(Turnstile(steps=4))
    await crowd.run(50)
    assert [number for number, _ in crowd.through] == list(range(50))
    assert crowd.at_once <= 8  # two batches meet where the loop runs what is ready in one go
    assert crowd.through[-1][1] >= 50 / 8


async def test_it_is_as_new_after_a_crowd() -> None:
    turnstile = Turnstile(steps=4)
    await Crowd(turnstile).run(9)
    await asyncio.sleep(0.01)
    crowd = Crowd(turnstile)
    await crowd.run(4)
    assert len({turn for _, turn in crowd.through}) == 1


async def test_who_gave_up_costs_no_turn() -> None:
    turnstile = Turnstile(steps=1)
    await turnstile.enter()
    tasks = [asyncio.ensure_future(turnstile.enter()) for _ in range(3)]
    await asyncio.sleep(0)  # the first had the room of a new turn
    tasks[1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in done] == [type(None), asyncio.CancelledError, type(None)]


async def test_no_more_than_so_many_wait() -> None:
    turnstile = Turnstile(steps=1, most=2)
    await turnstile.enter()
    tasks = [asyncio.ensure_future(turnstile.enter()) for _ in range(3)]
    assert not turnstile.is_full
    await asyncio.sleep(0)  # the first had the room of a new turn
    assert turnstile.is_full
    await asyncio.gather(*tasks)
    assert not turnstile.is_full


class Doors:
    """Newcomers each of whom takes three more steps inside; notes how many are half in."""

    def __init__(self, turnstile: Turnstile) -> None:
        self.turnstile = turnstile
        self.half_in = self.most_half_in = self.done = 0

    async def come(self) -> None:
        turn = self.turnstile.arrive()
        if turn is not None:
            await turn
        self.half_in += 1
        self.most_half_in = max(self.most_half_in, self.half_in)
        for _ in range(3):
            await self.turnstile.enter()
            await asyncio.sleep(0)
        self.half_in -= 1
        self.done += 1


async def test_those_inside_go_before_newcomers() -> None:
    doors = Doors(Turnstile(steps=4, newcomers=1))
    await asyncio.gather(*(doors.come() for _ in range(400)))
    assert doors.done == 400
    assert doors.most_half_in < 40


async def test_newcomers_come_in_however_many_are_inside() -> None:
    turnstile = Turnstile(steps=4, newcomers=1)
    inside = [asyncio.ensure_future(turnstile.enter()) for _ in range(1000)]
    doors = Doors(turnstile)
    newcomer = asyncio.ensure_future(doors.come())
    while not doors.half_in:  # noqa: ASYNC110 - each look is a turn of the loop
        await asyncio.sleep(0)
    assert sum(not each.done() for each in inside) > 900
    await asyncio.gather(newcomer, *inside)


async def test_newcomers_find_room_where_nobody_waits() -> None:
    turnstile = Turnstile(steps=2, newcomers=1)
    assert [turnstile.arrive() for _ in range(2)] == [None, None]
    assert turnstile.arrive() is not None


async def test_addresses_take_turns_however_many_come_from_one() -> None:
    turnstile = Turnstile(steps=1, newcomers=1)
    assert turnstile.arrive("many") is None
    order: list[str] = []
    for origin in ["many"] * 5 + ["one", "two", "one"]:
        turn = turnstile.arrive(origin)
        assert turn is not None
        turn.add_done_callback(lambda _, origin=origin: order.append(origin))
    while len(order) < 8:  # noqa: ASYNC110 - each look is a turn of the loop
        await asyncio.sleep(0)
    assert order == ["many", "one", "two", "many", "one", "many", "many", "many"]


async def test_one_address_leaves_room_for_others() -> None:
    turnstile = Turnstile(steps=1, most=8)
    assert turnstile.arrive("many") is None
    while turnstile.has_room("many"):
        turnstile.arrive("many")
    assert turnstile.has_room("one")
    for number in range(6):
        assert turnstile.has_room(str(number))
        turnstile.arrive(str(number))
    assert not turnstile.has_room("one")


async def test_where_many_come_from_they_have_all_places() -> None:
    turnstile = Turnstile(steps=1, most=8)
    assert turnstile.arrive() is None
    for _ in range(8):
        assert turnstile.has_room()
        turnstile.arrive()
    assert not turnstile.has_room()
