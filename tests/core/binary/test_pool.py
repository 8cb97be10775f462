"""Threads for the handler's calls: so many at a time, in order, and none that keeps the hub from ending."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from hivemind_core.binary.pool import DaemonPool

WAIT_S = 60.0


def test_so_many_at_a_time_and_no_more() -> None:
    pool, free, done = DaemonPool(2, "test"), threading.Event(), threading.Semaphore(0)
    running, most, lock = set[int](), [0], threading.Lock()

    def call(number: int) -> None:
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
            if len(running) == 2:
                free.set()
        free.wait(WAIT_S)
        with lock:
            running.discard(number)
        done.release()

    for number in range(8):
        pool.submit(lambda number=number: call(number))  # type: ignore[misc]
    assert all(done.acquire(timeout=WAIT_S) for _ in range(8))
    assert most == [2]
    pool.stop()


def test_one_thread_keeps_the_order() -> None:
    pool, done = DaemonPool(1, "test"), threading.Event()
    seen: list[int] = []
    for number in range(50):
        pool.submit(lambda number=number: seen.append(number))  # type: ignore[misc]
    pool.submit(done.set)
    assert done.wait(WAIT_S)
    assert seen == list(range(50))
    pool.stop()


def test_a_call_that_would_end_its_thread_does_not() -> None:
    pool, done = DaemonPool(1, "test"), threading.Event()
    pool.submit(sys.exit)
    pool.submit(done.set)
    assert done.wait(WAIT_S)
    pool.stop()


@pytest.mark.timeout(60)
def test_a_call_that_never_ends_does_not_keep_the_process_alive() -> None:
    program = (
        "import threading, time; from hivemind_core.binary.pool import DaemonPool; pool = DaemonPool(1, 'x');"
        " begun = threading.Event(); pool.submit(lambda: (begun.set(), time.sleep(1000))); begun.wait(); pool.stop()"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0
