"""Where a transport listens: the socket, TLS on it, and how it is called."""

from __future__ import annotations

import asyncio
import errno

from ..config import HTTPConfig, WebSocketConfig
from . import BindError
from .intake import IntakeServer
from .tls import server_context

TLS_WITHIN_S = 10.0


class Listening:
    """One address that is listened at."""

    def __init__(self, config: WebSocketConfig | HTTPConfig, cure: str) -> None:
        """`cure` says what to do where the port is in use."""
        self._config = config
        self._cure = cure
        self._listener: asyncio.Server | None = None
        self.port = config.port
        """As bound, once it is."""

    @property
    def address(self) -> str:
        """``scheme://host:port``."""
        host = self._config.host
        return f"{self._config.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def open(self, server: IntakeServer) -> None:
        """Listen. Raises BindError."""
        config = self._config
        context = await asyncio.to_thread(server_context, config.tls, config.host) if config.tls else None
        tls_timeout = TLS_WITHIN_S if context else None
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                server, config.host, config.port, backlog=1024, ssl=context, ssl_handshake_timeout=tls_timeout
            )
        except OSError as error:
            raise BindError(self._why(error)) from None
        self.port = int(self._listener.sockets[0].getsockname()[1])

    def _why(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return f"Port {self._config.port} is in use: another hub may be running. {self._cure}"
        return f"Could not listen at {self._config.host}:{self._config.port}: {error.strerror or error}."

    def close(self) -> None:
        """Listen no more; what is connected stays."""
        if self._listener is not None:
            self._listener.close()
