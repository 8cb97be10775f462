import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from hivemind_bus_client.loop_thread import LoopThread


@pytest.fixture
def loop():
    made = LoopThread("test-loop")
    yield made
    made.stop(60)
    assert not made.thread.is_alive()


def test_a_coroutine_runs_there_and_its_result_comes_back(loop):
    async def where() -> int | None:
        return threading.current_thread().ident

    async def failing() -> None:
        raise KeyError("there")

    assert loop.call(where()) == loop.thread.ident
    with pytest.raises(KeyError, match="there"):
        loop.call(failing())


def test_waiting_for_itself_is_refused(loop):
    async def nested() -> None:
        loop.call(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="wait for itself"):
        loop.call(nested())


def test_stopping_ends_what_still_runs(loop):
    started, ended = threading.Event(), threading.Event()

    async def endless() -> None:
        try:
            started.set()
            await asyncio.sleep(3600)
        finally:
            ended.set()

    def call() -> None:
        with pytest.raises(CancelledError):
            loop.call(endless())

    caller = threading.Thread(target=call)
    caller.start()
    started.wait(60)
    loop.stop(60)
    caller.join(60)
    assert ended.is_set()
    loop.stop(60)
