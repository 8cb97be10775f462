import asyncio
import threading
from enum import Enum
from functools import partial

import pytest

from hivemind_bus_client.dispatch import (
    Backlog,
    Emitter,
    TaskDispatcher,
    ThreadDispatcher,
    call_handler,
    event_key,
)


class Kind(str, Enum):
    BUS = "bus"


def test_an_event_may_be_named_by_an_enum_or_its_value():
    heard: list[object] = []
    emitter = Emitter()
    emitter.on(Kind.BUS, heard.append)
    assert emitter.emit("bus", 1)
    assert heard == [1]
    assert event_key(Kind.BUS) == event_key("bus") == "bus"


def test_handlers_for_one_time_are_used_up():
    heard: list[object] = []
    emitter = Emitter()
    emitter.once("x", heard.append)
    emitter.on("x", heard.append)
    assert emitter.emit("x", 1)
    assert emitter.emit("x", 2)
    assert heard == [1, 1, 2]


def test_handlers_can_be_removed():
    emitter = Emitter()
    emitter.on("x", print)
    emitter.once("x", print)
    assert emitter.remove_listener("x", print)
    assert emitter.remove_listener("x", print)
    assert not emitter.remove_listener("x", print)
    emitter.on("x", print)
    emitter.on("y", print)
    emitter.remove_all_listeners("x")
    assert (emitter.listeners("x"), emitter.listeners("y")) == ([], [print])
    emitter.remove_all_listeners()
    assert not emitter.emit("y")


def test_a_handler_that_fails_concerns_no_other(caplog):
    heard: list[object] = []
    emitter = Emitter()
    emitter.on("x", lambda _: 1 / 0)
    emitter.on("x", heard.append)
    emitter.emit("x", 1)
    assert heard == [1]
    assert "ZeroDivisionError" in caplog.text


async def test_a_coroutine_handler_becomes_a_task(caplog):
    done = asyncio.Event()

    async def handler() -> None:
        done.set()
        raise KeyError("told")

    call_handler(handler)
    await asyncio.wait_for(done.wait(), 60)
    await asyncio.sleep(0)
    assert "told" in caplog.text


def jobs(backlog: Backlog) -> list[object]:
    found = []
    while (job := backlog.pop()) is not None:
        found.append(job())
    return found


def test_the_backlog_drops_the_oldest_beyond_its_number(caplog):
    backlog = Backlog(max_items=2)
    for number in range(4):
        backlog.put(partial(int, number))
    assert (len(backlog), backlog.dropped) == (2, 2)
    assert jobs(backlog) == [2, 3]
    assert "2 messages were dropped" in caplog.text
    assert backlog.dropped == 0


def test_the_backlog_drops_the_oldest_beyond_its_bytes():
    backlog = Backlog(max_bytes=10)
    for number in range(3):
        backlog.put(partial(int, number), 5)
    assert jobs(backlog) == [1, 2]
    backlog.put(partial(int, 9), 1000)
    assert jobs(backlog) == [9]


def test_the_backlog_never_drops_the_connections_events():
    backlog = Backlog(max_items=2)
    for number in range(3):
        backlog.put(partial(int, number), may_drop=False)
    backlog.put(partial(int, 3))
    backlog.put(partial(int, 4), may_drop=False)
    assert jobs(backlog) == [0, 1, 2, 4]


@pytest.fixture(params=["task", "thread"])
async def dispatcher(request):
    made = TaskDispatcher() if request.param == "task" else ThreadDispatcher()
    made.start()
    yield made
    await stop(made)


async def stop(dispatcher: TaskDispatcher | ThreadDispatcher) -> None:
    if isinstance(dispatcher, TaskDispatcher):
        await dispatcher.stop()
    else:
        await asyncio.to_thread(dispatcher.stop)


async def test_handlers_are_called_in_order_whatever_kind_they_are(dispatcher):
    heard: list[int] = []

    async def slow(number: int) -> None:
        await asyncio.sleep(0.02)
        heard.append(number)

    for number in range(0, 6, 2):
        dispatcher.put(lambda number=number: [partial(slow, number), partial(heard.append, number + 1)])
    await stop(dispatcher)
    assert heard == [0, 1, 2, 3, 4, 5]


async def test_what_fails_is_logged_and_the_rest_goes_on(dispatcher, caplog):
    heard: list[int] = []

    async def failing() -> None:
        raise KeyError("from a coroutine")

    def broken_job():
        yield partial(heard.append, 1)
        raise ValueError("from a job")

    dispatcher.put(lambda: [lambda: 1 / 0, failing])
    dispatcher.put(broken_job)
    dispatcher.put(lambda: [partial(heard.append, 2)])
    await stop(dispatcher)
    assert heard == [1, 2]
    for text in ("ZeroDivisionError", "from a coroutine", "from a job"):
        assert text in caplog.text


async def test_it_can_be_stopped_from_a_handler_and_started_again(dispatcher):
    heard: list[int] = []
    if isinstance(dispatcher, TaskDispatcher):
        dispatcher.put(lambda: [dispatcher.stop, partial(heard.append, 1)])
    else:
        dispatcher.put(lambda: [dispatcher.stop, partial(heard.append, 1)])
    await stop(dispatcher)
    dispatcher.start()
    dispatcher.put(lambda: [partial(heard.append, 2)])
    await stop(dispatcher)
    assert heard == [1, 2]


async def test_stopping_does_not_wait_for_ever():
    stuck = asyncio.Event()
    task = TaskDispatcher()
    task.start()
    task.put(lambda: [stuck.wait])
    await task.stop(0.05)
    released = threading.Event()
    thread = ThreadDispatcher()
    thread.start()
    thread.put(lambda: [released.wait])
    await asyncio.to_thread(thread.stop, 0.05)
    released.set()
