"""helper_threads: calls beside the loop, also after the main thread has ended."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from hivemind_bus_client.helper_threads import HelperThreads

LIVES_ON = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
from hivemind_bus_client.loop_thread import LoopThread

loop = LoopThread("test")

def wait_until_pools_are_closed():
    pool = ThreadPoolExecutor(1)
    try:
        while True:
            pool.submit(int).result()
    except RuntimeError as error:
        print(error)

async def helped():
    found = await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    return bool(found), await asyncio.to_thread(len, "four")

def live_on():
    wait_until_pools_are_closed()
    print(loop.call(helped()))

threading.Thread(target=live_on).start()
"""


def test_a_call_runs_in_a_daemon_thread_and_its_result_comes_back() -> None:
    helpers = HelperThreads()
    thread = helpers.submit(threading.current_thread).result(60)
    assert thread.daemon
    assert thread is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        helpers.submit(divmod, 1, 0).result(60)
    assert helpers.submit(int, "11", base=2).result(60) == 3


def test_the_end_waits_for_calls_if_asked_to() -> None:
    helpers, go, done = HelperThreads(), threading.Event(), threading.Event()

    def work() -> None:
        go.wait(60)
        done.set()

    helpers.submit(work)
    helpers.shutdown(wait=False)
    assert not done.is_set()
    go.set()
    helpers.shutdown()
    assert done.is_set()


def test_a_loop_is_helped_after_the_main_thread_has_ended() -> None:
    done = subprocess.run([sys.executable, "-c", LIVES_ON], capture_output=True, text=True, timeout=60, check=False)
    refused, helped = done.stdout.splitlines()
    assert refused.startswith("cannot schedule new futures after"), done.stderr
    assert helped == "(True, 4)", done.stderr
