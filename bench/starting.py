"""How long a process takes until it accepts connections."""

from __future__ import annotations

import time
from collections.abc import Callable

from helpers.processes import Child, ChildError, port_open

PATIENCE_S, LOOK_S = 60.0, 0.002


def until_accepting(start: Callable[[], Child], port: int) -> tuple[Child, float]:
    """Start a process; it, and the seconds until its port was open."""
    begun = time.monotonic()
    child = start()
    while not port_open(port):
        if not child.running or time.monotonic() > begun + PATIENCE_S:
            raise ChildError(f"nobody listens at port {port}: {child.tail()}")
        time.sleep(LOOK_S)
    return child, time.monotonic() - begun
