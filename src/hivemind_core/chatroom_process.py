"""The web chatroom in front of the hub that `make run` starts: a process of its own, which ends with the hub.

It is told where the hub is, and its credentials, by its environment: nobody sees those in a list of processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec

from .clients import Client

log = logging.getLogger(__name__)

MODULE = "hivemind_chatroom"
NEEDED = (MODULE, "flask", "waitress")
INSTALL = "pip install 'hivemind-mesh[chatroom]'"
PORT = 8985
PORTS_TRIED = 20
APP = "quick-start-chatroom"
"""Its identity folder: the hub knows it again by the keys there."""
LAST_LINES = 20
LINE_BYTES = 1000
STOP_S = 8.0
VARIABLE = "HIVEMIND_CHATROOM_"


class ChatroomProcess:
    """Starts it, shows what it prints, and ends it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start it; that it cannot is no reason for the hub not to run."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", MODULE, "--until-eof"),
                stdin=PIPE,  # it ends when this pipe does, also should the hub be killed
                stdout=PIPE,
                stderr=PIPE,
                env=self._environ,
                start_new_session=True,  # Ctrl-C is for the hub, which ends it in order
            )
        except OSError as error:
            log.error("the chatroom cannot be started: %s", error)
            return
        self._watch = asyncio.get_running_loop().create_task(self._look(self._process))

    async def stop(self) -> None:
        """End it, and wait for that."""
        self._stopping = True
        if self._process is None or self._watch is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(self._watch), STOP_S)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._watch

    async def _look(self, process: Process) -> None:
        last: deque[str] = deque(maxlen=LAST_LINES)
        await asyncio.gather(_relay(process.stdout, last, True), _relay(process.stderr, last, False))
        status = await process.wait()
        if not self._stopping:
            said = "".join(f"\n    {line}" for line in last)
            print(f"The chatroom ended (exit status {status}); the hub goes on. It said:{said}", file=sys.stderr)


async def _relay(stream: asyncio.StreamReader | None, last: deque[str], shown: bool) -> None:
    """Keep the last lines, and show them at once if they are meant to be seen."""
    rest = b""
    while stream is not None and (data := await stream.read(LINE_BYTES)):
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[:LINE_BYTES]
        for line in lines:
            text = line[:LINE_BYTES].decode("utf-8", "replace")
            last.append(text)
            if shown:
                print(text, flush=True)
    if rest:
        last.append(rest.decode("utf-8", "replace"))


def is_installed() -> bool:
    """Tell whether it and what it needs are here."""
    return all(find_spec(name) is not None for name in NEEDED)


def environment(client: Client, url: str, hub_port: int, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for a chatroom that joins a hub as a client. What is set for it already counts, but for
    the credentials; a port that is taken is passed over. Raises OSError when there is no free one.
    """
    own = {
        "KEY": client.api_key,
        "PASSWORD": client.password or "",
        "HUB_HOST": url,
        "HUB_PORT": str(hub_port),
        "APP": APP,
    }
    host = environ.get(f"{VARIABLE}HOST") or "0.0.0.0"
    given = {
        "PORT": environ.get(f"{VARIABLE}PORT") or str(free_port(host, PORT)),
        "LOG_LEVEL": environ.get(f"{VARIABLE}LOG_LEVEL") or "INFO",
    }
    return {**environ, **{f"{VARIABLE}{name}": value for name, value in {**given, **own}.items()}}


def free_port(host: str, first: int) -> int:
    """Return a port that nobody listens at, the first of its neighbours. Raises OSError when all are taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, first + PORTS_TRIED):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":  # there it would let two programs share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((host, port))
                probe.listen(1)
                return port
    raise OSError(f"the ports {first} to {first + PORTS_TRIED - 1} are all taken")
