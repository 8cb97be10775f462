"""Hosts of their own on one machine: a network namespace for each, at one switch. One can vanish without a word.

Nothing of it is seen in the machine's own network: the switch is in a namespace, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from soak.network import CLONE_NEWNET, NoNetwork, ip

from .pair import cannot_run

T = TypeVar("T")
NET = "198.18.0"
SPACES = Path("/var/run/netns")
SWITCH, BRIDGE = "switch", "br0"


class Hosts:
    """A context manager. Each host is named by one short word and has an address, by its place among them."""

    def __init__(self, *names: str) -> None:
        self._tag = secrets.token_hex(3)
        self._numbers = {name: number for number, name in enumerate(names, 10)}

    def __enter__(self) -> Hosts:
        try:
            ip("netns", "add", self._space(SWITCH))
            self._switch("add", BRIDGE, "type", "bridge")
            self._switch("set", BRIDGE, "up")
            for name in self._numbers:
                self._build(name)
        except NoNetwork as error:
            self.close()
            cannot_run(f"hosts of their own: {error}")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def address(self, name: str) -> str:
        """The address of a host."""
        return f"{NET}.{self._numbers[name]}"

    def at(self, name: str, work: Callable[[], T]) -> T:
        """Do something on a host: sockets, threads and processes that are made meanwhile stay there."""

        def there() -> T:
            self._enter(name)
            return work()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()

    def unplug(self, name: str) -> None:
        """Let nothing pass to and from a host; nobody is told."""
        self._switch("set", name, "down")

    def plug(self, name: str) -> None:
        """Undo that."""
        self._switch("set", name, "up")

    def rebuild(self, name: str) -> None:
        """Put another machine in the place of one whose processes have ended: it knows of no connection."""
        self._switch("del", name)
        ip("netns", "del", self._space(name))
        self._build(name)

    def move(self, name: str, number: int) -> None:
        """Give a host another address, as another network does; its processes go on."""
        before, self._numbers[name] = self.address(name), number
        ip("-n", self._space(name), "addr", "del", f"{before}/24", "dev", "eth0")
        ip("-n", self._space(name), "addr", "add", f"{self.address(name)}/24", "dev", "eth0")

    def close(self) -> None:
        """Take it all away; what runs there is to have ended."""
        for name in (*self._numbers, SWITCH):
            with contextlib.suppress(NoNetwork):
                ip("netns", "del", self._space(name))

    def _build(self, name: str) -> None:
        space, number = self._space(name), self._numbers[name]
        ip("netns", "add", space)
        own = ("name", "eth0", "address", f"02:00:00:00:01:{number:02x}", "netns", space)
        self._switch("add", name, "type", "veth", "peer", *own)
        self._switch("set", name, "master", BRIDGE, "up")
        ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "set", "eth0", "up")

    def _switch(self, *words: str) -> None:
        ip("-n", self._space(SWITCH), "link", *words)

    def _space(self, name: str) -> str:
        return f"hive-{self._tag}-{name}"

    def _enter(self, name: str) -> None:
        with (SPACES / self._space(name)).open("rb") as space:
            if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {name}")
