"""Turns away what web pages ask for that may not, and lets browsers hand the others their answers (CORS)."""

from __future__ import annotations

import os
import socket
from functools import lru_cache

from aiohttp import web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import REFUSALS

from ..environment import ADVERTISED_HOST
from ..origins import AllowedOrigins
from ..refusal_log import RefusalLog

CODE = "origin_not_allowed"
MAX_SHOWN = 80
"""Characters of an origin in the log."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "600",
}
READABLE = "Retry-After, X-HiveMind-HTTP-Replica"


@lru_cache(1)
def own_names() -> frozenset[str]:
    """Return the names that this machine has, in lower case."""
    name = socket.gethostname().lower()
    return frozenset({"localhost", name, f"{name}.local", os.environ.get(ADVERTISED_HOST, "").lower()} - {""})


def refused_page() -> web.Response:
    """Return what a page is told that may not ask."""
    return web.Response(status=403, text=f"{REFUSALS[CODE]}\n")


class OriginGate:
    """Stands before a transport."""

    def __init__(self, allowed: AllowedOrigins, refusals: RefusalLog) -> None:
        self._allowed = allowed
        self._refusals = refusals

    def turned_away(self, request: web.BaseRequest, remote: str) -> web.Response | None:
        """Return the answer to a page that may not ask; None for who may."""
        given = request.headers.getall("Origin", [])
        if not given or self._allowed.admit(given, request.headers.get("Host", ""), own_names()):
            return None
        self._refusals.stranger(remote, Refused(CODE, f"the origin {given[0][:MAX_SHOWN]!r} is not allowed"))
        return refused_page()

    def label(self, request: web.BaseRequest, response: web.Response) -> None:
        """Let a page that was not turned away read an answer. No credentials go with it: nothing here needs them."""
        origin = request.headers.get("Origin")
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = READABLE
            response.headers["Vary"] = "Origin"

    def preflight(self, request: web.BaseRequest) -> web.Response | None:
        """Return the answer to a browser that asks what a page may do; None for any other request."""
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asks or "Origin" not in request.headers:
            return None
        response = web.Response(status=204, headers=PREFLIGHT)
        self.label(request, response)
        return response
