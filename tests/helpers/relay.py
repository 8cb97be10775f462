"""A cable between a browser and a server that can be cut and mended."""

from __future__ import annotations

import contextlib
import socket
import threading

from .hub_process import HOST
from .processes import free_port


class Relay:
    """Passes bytes both ways between its port and a server's."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._port = free_port()
        self._ends: list[socket.socket] = []
        self._listener = self._listen()

    @property
    def port(self) -> int:
        return self._port

    def cut(self) -> None:
        """End all connections; new ones are refused."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end_all()

    def _end_all(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mend(self) -> None:
        """Take connections again."""
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        listener = socket.create_server((HOST, self._port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser = listener.accept()[0]
                try:
                    server = socket.create_connection((HOST, self._server_port))
                except OSError:
                    browser.close()
                    continue
                self._ends += [browser, server]
                if listener.fileno() < 0:  # cut meanwhile
                    return self._end_all()
                for source, target in ((browser, server), (server, browser)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
