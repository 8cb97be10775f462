"""What every request passes: where it comes from, under which name, whether the page of another site sent it, whether
its sender has signed in. And the headers of every answer.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as AnyResponse

from . import access
from .chat import TurnedAway
from .sentences import Sentence, say
from .settings import Access, Settings

FORWARDED = "chatroom.forwarded"
PROXIED = "chatroom.proxied"
OPEN_ENDPOINTS = frozenset({"healthz", "readyz"})
"""For whoever watches over the process, from wherever."""
WITHOUT_SIGNING_IN = OPEN_ENDPOINTS | {"login", "static"}

PAGES = frozenset({"index", "room"})
"""What a person opens, and is sent to sign in from."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "font-src": "'self'",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
_EMBEDS = {"img-src": "'self' data: https:", "media-src": "https:", "frame-src": "https://www.youtube-nocookie.com"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Front:
    """The outermost layer: believes proxies that are trusted, and knows the path the chatroom is served under."""

    def __init__(self, app: WSGIApp, access_rules: Access, prefix: str) -> None:
        self._app = app
        self._behind_proxy = ProxyFix(app, x_for=1, x_proto=1, x_host=1)
        self._access = access_rules
        self._prefix = prefix.rstrip("/")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._prefix:
            path = environ.get("PATH_INFO", "")
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                environ["PATH_INFO"] = path[len(self._prefix) :] or "/"
            environ["SCRIPT_NAME"] = self._prefix
        peer = environ.get("REMOTE_ADDR", "")
        names = [key[len("HTTP_") :] for key in environ if key.startswith("HTTP_")]
        environ[FORWARDED] = access.refuse_forwarded(peer, names, self._access)
        environ[PROXIED] = access.is_trusted(peer, self._access.trusted_proxies)
        return (self._behind_proxy if environ[PROXIED] else self._app)(environ, start_response)


class CookieSession(SecureCookieSessionInterface):
    """Flask's signed cookie, sent over TLS only where the page itself came over TLS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the browser may show the cookie over TLS only."""
        return request.is_secure


class Gate:
    """Checks each request of an app, and completes each answer."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        self._access = settings.access
        self._own_names = frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})
        self._pass = hmac.new(secret, b"room password\0" + self._access.room_password.encode(), "sha256").hexdigest()
        policy = {**_POLICY, **(_EMBEDS if settings.embeds else {})}
        self._policy = "; ".join(f"{name} {value}" for name, value in policy.items())

    def install(self, app: Flask) -> None:
        """Stand before an app."""
        app.before_request(self.check)
        app.after_request(self.complete)

    @property
    def has_password(self) -> bool:
        """Visitors sign in."""
        return bool(self._access.room_password)

    def is_signed_in(self) -> bool:
        """Tell whether the visitor has given the room password."""
        return hmac.compare_digest(str(session.get("pass", "")), self._pass)

    def sign_in(self, password: str) -> bool:
        """Let the visitor in if that is the room password."""
        right = hmac.compare_digest(password.encode(), self._access.room_password.encode())
        if right:
            session["pass"] = self._pass
            session.permanent = True
        return right

    def check(self) -> AnyResponse | None:
        """Turn away what must not pass. Raises TurnedAway."""
        if request.endpoint in OPEN_ENDPOINTS:
            return None
        refused = self._refused()
        if refused is not None:
            raise TurnedAway(Sentence(refused.code, refused.message, refused.cure), refused.status)
        if not self.has_password or request.endpoint in WITHOUT_SIGNING_IN or self.is_signed_in():
            return None
        if request.endpoint in PAGES:
            return redirect(url_for("login", next=request.path))
        raise TurnedAway(say("sign_in"), 401)

    def _refused(self) -> access.Refused | None:
        proxied = bool(request.environ.get(PROXIED))
        own_origin = f"{request.scheme}://{request.host}"
        return (
            request.environ.get(FORWARDED)
            or access.refuse_address(request.remote_addr or "", self._access, signed_in=False)
            or access.refuse_host(request.host, self._access, self._own_names, proxied)
            or access.refuse_origin(request.method, dict(request.headers), own_origin)
        )

    def complete(self, response: Response) -> Response:
        """Add what browsers are to obey."""
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Content-Security-Policy"] = self._policy
        caching = "no-cache" if request.endpoint == "static" else "no-store"
        response.headers.setdefault("Cache-Control", caching)
        return response
