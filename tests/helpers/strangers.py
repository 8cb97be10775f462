"""Servers that are no hub, on ports of this machine."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

LOCAL = "127.0.0.1"
Manner = Callable[[socket.socket], None]


def echoes(link: socket.socket) -> None:
    """Send back whatever comes."""
    while heard := link.recv(4096):
        link.sendall(heard)


def hangs_up(link: socket.socket) -> None:
    """Read, and close."""
    link.recv(4096)


def says(text: bytes) -> Manner:
    """Read, and answer that."""

    def answer(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(text)

    return answer


def http(*headers: str, status: str = "404 Not Found") -> Manner:
    """Answer as a web server does that knows nothing of hubs."""
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers, "", ""]
    return says("\r\n".join(lines).encode())


@contextlib.contextmanager
def stranger(manner: Manner, *, certificate: Path | None = None) -> Iterator[int]:
    """Yield the port of a server with these manners; with TLS where there is a certificate, `.crt` beside `.key`."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with socket.create_server((LOCAL, 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, manner, context), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _serve(server: socket.socket, manner: Manner, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            link, _ = server.accept()
        except OSError:
            return
        link.settimeout(10)
        with contextlib.suppress(OSError), link, _wrapped(link, context) as spoken:
            manner(spoken)


def _wrapped(link: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    return context.wrap_socket(link, server_side=True) if context else link
