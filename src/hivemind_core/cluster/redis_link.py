"""One connection to Redis, for commands by the pipelineful: less work for each than redis-py's clients make of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

ABANDON_S = 2.0
"""The system sends nothing more on a connection that took nothing for so long, even once it is closed."""


class Reach(Protocol):
    """Where Redis is; see `ClusterConfig`."""

    def connection(self) -> dict[str, Any]: ...


class RedisLink:
    """Not connected before `connect`; no timeouts, these are the caller's."""

    def __init__(self, reach: Reach, name: str) -> None:
        self._connection = _connection(reach.connection(), name)

    async def connect(self) -> None:
        """Connect and log in. Raises RedisError, OSError."""
        await self._connection.connect()  # type: ignore[no-untyped-call]

    async def ask(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Write commands and return the answers, bytes for text; that of one that failed is a ResponseError.

        Raises RedisError or OSError when the connection is lost; what was carried out is not known then.
        """
        connection, words = self._connection, list(commands)
        await connection.send_packed_command(connection.pack_commands(words), check_health=False)
        return [await self._answer() for _ in words]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    async def close(self) -> None:
        """Drop the connection, which may hang; the system has it a moment longer."""
        await self._connection.disconnect(nowait=True)

    async def end(self) -> None:
        """Close the connection, and wait until that is done."""
        with contextlib.suppress(asyncio.TimeoutError, RedisError, OSError):
            await asyncio.wait_for(self._connection.disconnect(), ABANDON_S)


def _connection(options: dict[str, Any], name: str) -> Connection | UnixDomainSocketConnection:
    common: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "protocol": 2,
        "client_name": name,
    }
    path = options.pop("unix_socket_path", None)
    if path is not None:
        return UnixDomainSocketConnection(path=path, **options, **common)
    kind = SSLConnection if options.pop("ssl", False) else Connection
    return kind(**options, **common, socket_keepalive=True, socket_keepalive_options=_socket_options())


def _socket_options() -> dict[int, int]:
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    return {option: int(ABANDON_S * 1000)} if option is not None else {}
