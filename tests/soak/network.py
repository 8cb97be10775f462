"""Hosts of our own on one machine: a network namespace for each, joined by a bridge on which this process sits too.

That bridge is in a namespace of its own: whoever watches the interfaces of the machine, as browsers do, sees nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Sequence

NOWHERE = "02:00:00:00:00:01"
"""A hardware address that nobody has: what goes there is lost without a word."""


class NoNetwork(Exception):
    """Namespaces cannot be made here."""


def ip(*words: str) -> None:
    """Run `ip`. Raises NoNetwork."""
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        raise NoNetwork(str(error)) from None
    if done.returncode:
        raise NoNetwork(f"ip {' '.join(words)}: {done.stderr.strip()}")


CLONE_NEWNET = 0x40000000


def leave_the_network() -> None:
    """Take this process out of the machine's network, for good. Call it before any thread is started.

    Raises NoNetwork.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNET):
        raise NoNetwork(os.strerror(ctypes.get_errno()))
    ip("link", "set", "lo", "up")


class Lan:
    """The hosts; a context manager. Each is named by one word of at most four letters."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._tag = f"hv{os.getpid() % 100_000}"
        self._net = f"198.18.{os.getpid() % 250}"
        self._hosts = list(hosts)

    def __enter__(self) -> Lan:
        leave_the_network()
        try:
            ip("link", "add", self._bridge, "type", "bridge")
            ip("addr", "add", f"{self.own}/24", "dev", self._bridge)
            ip("link", "set", self._bridge, "up")
            for host in self._hosts:
                self._add(host)
        except NoNetwork:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def own(self) -> str:
        """The address of this process."""
        return f"{self._net}.1"

    def address(self, host: str) -> str:
        """The address of a host."""
        return f"{self._net}.{10 + self._hosts.index(host)}"

    def inside(self, host: str) -> list[str]:
        """The words before a command line that is to run on a host."""
        return ["ip", "netns", "exec", self._space(host)]

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two hosts; neither is told."""
        for here, there in ((one, other), (other, one)):
            ip("-n", self._space(here), "neigh", "replace", self.address(there), "lladdr", NOWHERE, *self._permanent)

    def mend(self, one: str, other: str) -> None:
        """Let it pass again."""
        for here, there in ((one, other), (other, one)):
            ip("-n", self._space(here), "neigh", "del", self.address(there), "dev", "eth0")

    def unplug(self, host: str) -> None:
        """Cut a host off from everybody."""
        ip("link", "set", self._port(host), "down")

    def plug(self, host: str) -> None:
        """Undo that."""
        ip("link", "set", self._port(host), "up")

    def close(self) -> None:
        """Take it all away; what runs there is to have ended."""
        for words in (*(("netns", "del", self._space(host)) for host in self._hosts), ("link", "del", self._bridge)):
            with contextlib.suppress(NoNetwork):
                ip(*words)

    _permanent = ("dev", "eth0", "nud", "permanent")

    def _add(self, host: str) -> None:
        space = self._space(host)
        ip("netns", "add", space)
        ip("link", "add", self._port(host), "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", self._port(host), "master", self._bridge, "up")
        ip("-n", space, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "set", "eth0", "up")

    @property
    def _bridge(self) -> str:
        return f"{self._tag}br"

    def _space(self, host: str) -> str:
        return f"{self._tag}-{host}"

    def _port(self, host: str) -> str:
        return f"{self._tag}{host}"
