"""What transports over HTTP read of a request in the same way."""

from __future__ import annotations

from aiohttp import web

from ..proxies import TrustedProxies, is_loopback

MAX_TOKEN = 4096
"""Characters of an authorization token."""


def token_of(request: web.BaseRequest) -> str:
    """Return the authorization token; an ambiguous or overlong one reads as none (docs/protocol.md 5.1)."""
    given = request.query.getall("authorization", [])
    return given[0] if len(given) == 1 and len(given[0]) <= MAX_TOKEN else ""


def client_address(request: web.BaseRequest, proxies: TrustedProxies) -> str:
    """Return where a request comes from, as far as trusted proxies say so."""
    return proxies.client_address(request.remote or "?", lambda name: request.headers.getall(name, []))


def can_upgrade(request: web.BaseRequest) -> bool:
    """Tell whether a request asks for a WebSocket, and rightly."""
    try:
        return bool(web.WebSocketResponse().can_prepare(request).ok)
    except ValueError:  # aiohttp quotes a header that is no text
        return False


def let_go(ws: web.WebSocketResponse) -> None:
    """Forget where a connection failed: each frame there holds it, and only the garbage collector would find that."""
    error = ws.exception()
    while error is not None:
        error.__traceback__, error = None, error.__context__


def health(request: web.BaseRequest) -> web.Response:
    """Return 204 for this machine's supervisors, nothing for others."""
    remote = request.remote or ""
    return web.Response(status=204 if is_loopback(remote) or remote == _own_address(request) else 404)


def _own_address(request: web.BaseRequest) -> str:
    """Return the address that a request came to: whoever has it, too, is on this machine."""
    own = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return str(own[0]) if isinstance(own, tuple) and own else ""
