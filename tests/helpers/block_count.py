"""How many blocks of memory the Python of a process holds: exact, where its resident memory is about right at best.

counted = BlockCount(folder)
child = children.spawn("hub", argv, home, counted.env)
before = counted.of(child)                  # as many again later, if it keeps nothing
counted.leak(child)                         # from now on it keeps a hundred bytes of each frame, to see that it is seen
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from .processes import PATIENCE_S, Child, wait_until

LEAKED_BYTES = 100
INSIDE = f"""
import gc, os, signal, sys

kept = []


def tell(*_):
    gc.collect()
    with open({{told!r}}, "a", encoding="utf-8") as file:
        print(sys.getallocatedblocks(), file=file)


def leak(*_):
    from hivemind_bus_client.link import Link

    receive = Link.receive

    def receive_and_keep(self, frame, now):
        kept.append(bytes({LEAKED_BYTES} - sys.getsizeof(b"")))
        return receive(self, frame, now)

    Link.receive = receive_and_keep


signal.signal(signal.SIGUSR1, tell)
signal.signal(signal.SIGUSR2, leak)
"""
"""What Python runs before anything else, where `env` is in its environment."""


class BlockCount:
    """Of one process at a time; garbage is collected before it counts."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._told = folder / "blocks"
        self._told.touch()
        (folder / "sitecustomize.py").write_text(INSIDE.format(told=str(self._told)), "utf-8")
        self.env = {"PYTHONPATH": str(folder)}
        """What the process needs in its environment."""

    def of(self, child: Child) -> int:
        """Ask, and wait for the answer."""
        before = self._answers()
        os.kill(child.pid, signal.SIGUSR1)
        wait_until(lambda: len(self._answers()) > len(before), PATIENCE_S, f"how many blocks {child.name} has")
        return self._answers()[-1]

    def leak(self, child: Child) -> None:
        """Have it keep something of every frame from now on."""
        os.kill(child.pid, signal.SIGUSR2)

    def _answers(self) -> list[int]:
        return [int(line) for line in self._told.read_text("utf-8").splitlines()]
