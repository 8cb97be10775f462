import asyncio
import threading

from hivemind_bus_client.coroutines import call_at, running_loop, settle


async def note(done: list, what: object = None) -> None:
    await asyncio.sleep(0)
    done.append(what if what is not None else threading.current_thread())


async def fail() -> None:
    raise ValueError("no")


def test_other_results_are_left_alone():
    settle(None)
    settle(3)


def test_without_a_loop_it_is_run_here():
    done: list = []
    settle(note(done))
    assert done == [threading.current_thread()]
    assert running_loop() is None


async def test_in_a_loop_it_becomes_a_task():
    done: list = []
    settle(note(done, "x"))
    assert done == []
    await asyncio.sleep(0.01)
    assert done == ["x"]
    assert running_loop() is asyncio.get_running_loop()


async def test_from_another_thread_it_runs_at_home():
    done: list = []
    home = asyncio.get_running_loop()
    await asyncio.to_thread(lambda: settle(note(done), home))
    for _ in range(500):
        if done:
            break
        await asyncio.sleep(0.01)
    assert done == [threading.current_thread()]


def test_a_home_that_has_ended_is_none():
    home = asyncio.new_event_loop()
    done: list = []
    settle(note(done, "x"), home)
    home.close()
    assert done == ["x"]


async def test_failures_are_logged(caplog):
    settle(fail())
    await asyncio.sleep(0.01)
    await asyncio.to_thread(lambda: settle(fail()))
    assert caplog.text.count("ValueError: no") == 2


async def test_a_call_at_home():
    home, called = asyncio.get_running_loop(), []

    def note(what: str) -> None:
        called.append((what, threading.current_thread()))

    call_at(home, note, "here")
    assert called == [("here", threading.current_thread())]
    await asyncio.to_thread(call_at, home, note, "there")
    await asyncio.sleep(0)
    assert called[1:] == [("there", threading.current_thread())]


def test_a_call_without_a_home():
    called: list = []
    call_at(None, called.append, 1)
    home = asyncio.new_event_loop()
    call_at(home, called.append, 2)
    home.close()
    assert called == [1, 2]
