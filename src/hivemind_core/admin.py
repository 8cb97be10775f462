"""The admin address: `/healthz`, `/readyz` and `/metrics` for supervisors and Prometheus. No secret is shown, no name.

Only GET is served, no body is read, and each answer ends its connection; `intake` bounds what strangers can hold. No
web page is served, and without a token nobody who calls this machine by a name that is not its own: so a page would
come to an address that only this machine can reach.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
from collections.abc import Callable, Iterable

from aiohttp import web

from hivemind_bus_client.log_lines import refusal_fields
from hivemind_bus_client.refusals import REFUSALS

from . import origins, readiness
from .admin_config import AdminConfig
from .limits import Bursts
from .metrics import CONTENT_TYPE, Counter, Family, Histogram, render
from .readiness import Part
from .transports import BindError
from .transports.intake import Intake, IntakeServer
from .transports.origin_gate import CODE, own_names, refused_page

log = logging.getLogger(__name__)

LAG_EVERY_S = 0.5
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
END_WITHIN_S = 1.0
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
TOLD = {
    CODE: (
        REFUSALS[CODE].sentence,
        "Nothing is to be done where a page asked; else ask for an address, not for a name.",
    ),
    "token": ("The token is missing or wrong.", "Bring the one of `admin.token` as `Authorization: Bearer TOKEN`."),
}
"""What is said of those who are refused, and what to do about it."""
Answer = Callable[[bool], web.Response]


class AdminServer:
    """Answers about the hub. It starts before the hub and ends after it."""

    def __init__(
        self,
        config: AdminConfig,
        parts: Callable[[], list[Part]],
        families: Callable[[], Iterable[Family]],
    ) -> None:
        """`parts` tells whether the hub is ready, `families` all its figures; both are called on the loop."""
        self.port = config.port
        """As bound, once it is."""
        self._config = config
        self._parts = parts
        self._families = families
        self._lag = Histogram("hivemind_loop_lag_seconds", "How late the event loop calls back", LAG_S)
        self._refused = Counter("hivemind_admin_refused_total", "Requests for figures that were refused", ("why",))
        self._bursts = Bursts()
        self._server: IntakeServer | None = None
        self._listener: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._paths: dict[str, Answer] = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}

    @property
    def address(self) -> str:
        """``http://host:port``."""
        host = self._config.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises BindError."""
        loop, config = asyncio.get_running_loop(), self._config
        self._server = IntakeServer(self._answer)
        try:
            self._listener = await loop.create_server(self._server, config.host, config.port)
        except OSError as error:
            why = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise BindError(f"Could not listen at the admin address {self.address}: {why}. See `admin.port`.") from None
        self.port = int(self._listener.sockets[0].getsockname()[1])
        self._watch = loop.create_task(self._watch_lag())
        log.info("how this hub is can be asked at %s", self.address)
        if not config.is_loopback:
            log.warning(
                "the token of the admin address crosses the network in the clear; put a proxy with TLS before it"
            )

    async def stop(self) -> None:
        """Listen no more."""
        if self._watch is not None:
            self._watch.cancel()
        if self._listener is not None and self._server is not None:
            self._listener.close()
            await self._server.shutdown(END_WITHIN_S)

    async def _watch_lag(self) -> None:
        time = asyncio.get_running_loop().time
        while True:
            for what, more in self._bursts.ended(time()):
                log.warning("refused again at the admin address, %d times: %s", more, what)
            due = time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._lag.observe(max(0.0, time() - due))

    # answers

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        intake = request.protocol
        assert isinstance(intake, Intake)
        intake.asked()
        answer = self._answer_to(request)
        answer.headers.update(HEADERS)
        answer.force_close()
        intake.within(END_WITHIN_S, "it does not read its answer")
        return answer

    def _answer_to(self, request: web.BaseRequest) -> web.Response:
        if not self._may_ask(request):
            self._refuse(request, CODE)
            return refused_page()
        serve = self._paths.get(request.path)
        if serve is None:
            return web.Response(status=404)
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        allowed = self._is_allowed(request)
        if not allowed and serve == self._metrics:
            self._refuse(request, "token")
        return serve(allowed)

    def _may_ask(self, request: web.BaseRequest) -> bool:
        """Tell whether this is no web page, as far as can be known."""
        names = own_names() | {self._config.host.lower()}
        host = request.headers.get("Host")  # each browser sends it; what checks by HTTP/1.0 need not
        is_named = bool(self._config.token) or host is None or origins.is_own(host, names)
        return is_named and "Origin" not in request.headers

    def _refuse(self, request: web.BaseRequest, why: str) -> None:
        self._refused.count(why)
        remote = request.remote or "?"
        if self._bursts.is_first(f"{remote}, {why}", asyncio.get_running_loop().time()):
            said, cure = TOLD[why]
            log.warning(
                "refused %s at the admin address: %s %s [%s]",
                remote,
                said,
                cure,
                why,
                extra=refusal_fields(why, remote, cure),
            )

    def _is_allowed(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        wanted = f"Bearer {self._config.token}".encode()
        return not self._config.token or hmac.compare_digest(given, wanted)

    def _healthz(self, allowed: bool) -> web.Response:
        return web.Response(text="ok\n")

    def _readyz(self, allowed: bool) -> web.Response:
        """Who brings no token learns whether, not why."""
        told = readiness.document(self._parts())
        body = told if allowed else {"ready": told["ready"]}
        return web.json_response(body, status=200 if told["ready"] else 503)

    def _metrics(self, allowed: bool) -> web.Response:
        if not allowed:
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        text = render([*self._families(), self._lag.family(), self._refused.family()])
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
