"""Many connections of one host: `python crowd.py URL KEY,KEY SESSIONS UNFINISHED SILENT`, with PASSWORD on the input.

Prints one JSON line, `there`, when all stand, and keeps them as they are: sessions that were answered, connections that
stopped before the handshake, and sockets on which nothing was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from base64 import b64encode
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.target import Session

OPTIONS: dict[str, Any] = {"compression": None, "ping_interval": None, "open_timeout": 60, "max_size": None}
AT_ONCE = 10
"""Below what one access key may have in its handshake."""


class Crowd:
    """All of them; each access key is one device, the same in every crowd."""

    def __init__(self, url: str, keys: Sequence[str], password: str) -> None:
        self._url = url
        self._keys = cycle(keys)
        self._password = password
        self._devices = {key: hashlib.sha256(key.encode()).digest() for key in keys}
        self._held: list[Any] = []

    async def come(self, sessions: int, unfinished: int, silent: int) -> None:
        self._held.append(await self._session(0))  # which derives the key for all
        numbers = iter(range(1, sessions))
        while some := list(islice(numbers, AT_ONCE)):
            self._held += await asyncio.gather(*(self._session(number) for number in some))
        self._held += await asyncio.gather(*(self._socket(next(self._keys)) for _ in range(unfinished)))
        where = urlsplit(self._url)
        self._held += [await asyncio.open_connection(where.hostname, where.port) for _ in range(silent)]

    async def _socket(self, key: str) -> ClientConnection:
        token = quote(b64encode(f"crowd:{key}".encode()).decode(), safe="")
        return await connect(f"{self._url}/?authorization={token}", **OPTIONS)

    async def _session(self, number: int) -> Session:
        key = next(self._keys)
        hello = {"session": {"session_id": f"crowd-{number}"}}
        session = Session(await self._socket(key), hello, self._devices[key])
        await session.open(self._password)
        await session.talk(f"number {number}")
        return session


async def main(url: str, keys: str, *counts: str) -> None:
    crowd = Crowd(url, keys.split(","), sys.stdin.readline().strip())
    await crowd.come(*map(int, counts))
    print(json.dumps({"event": "there"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
