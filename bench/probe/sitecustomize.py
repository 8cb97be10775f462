"""Put on PYTHONPATH of a process: tells how long its event loop was kept, whichever loop it is and whoever runs it.

A timer looks on every few milliseconds. The file named by HIVEMIND_BENCH_LOOP holds four doubles, which whoever
measures sets to zero: how late the timer was at most, in seconds; how much processor time the loop's thread took at
most between two looks; looks; and how often it was later than 10 ms.
"""

import asyncio
import mmap
import os
import struct
import time

EVERY_S = 0.002
LATE_S = 0.010
_places = struct.Struct("<4d")


def _watch(path):
    with open(path, "r+b") as file:
        shared = mmap.mmap(file.fileno(), _places.size)
    original = asyncio._set_running_loop

    def look(loop, due, spent):
        late, now_spent = loop.time() - due, time.thread_time()
        worst, most, looks, times = _places.unpack_from(shared)
        found = max(worst, late), max(most, now_spent - spent), looks + 1, times + (late > LATE_S)
        _places.pack_into(shared, 0, *found)
        loop.call_later(EVERY_S, look, loop, loop.time() + EVERY_S, now_spent)

    seen = []

    def set_running_loop(loop):
        original(loop)
        if loop is not None and loop not in seen:
            seen.append(loop)
            loop.call_soon(lambda: look(loop, loop.time(), time.thread_time()))

    asyncio._set_running_loop = asyncio.events._set_running_loop = set_running_loop


if "HIVEMIND_BENCH_LOOP" in os.environ:
    _watch(os.environ["HIVEMIND_BENCH_LOOP"])
