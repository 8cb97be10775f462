"""The Flask application: the page, what scripts may ask, and the event stream."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, jsonify, redirect, render_template, request, session, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from .access import household
from .chat import Chat, TurnedAway, Visitor
from .gate import CookieSession, Front, Gate
from .languages import LANGUAGES
from .names import Unfit, language_tag, room_name, user_name
from .rates import Buckets
from .refusal_log import RefusalLog
from .sentences import Sentence, say
from .settings import ANONYMOUS, BOT, DEFAULT_LANG, DEFAULT_ROOM
from .streams import BEAT, Stream

MAX_BODY = 64 * 1024
"""Bytes of a request, besides the message in it."""
WIDEST = 12
"""Bytes of a character, as forms and JSON may write it."""
ON_PAGE = 50
"""Messages that the page comes with; the rest it asks for."""
MOST_LISTED = 5000
"""Messages in one answer, the newest."""
LOOK_S = 3.0
"""How often a silent stream looks whether its browser is still there."""
RETRY = b"retry: 3000\n\n"
FIELDS = ("username", "lang", "site_id", "message")
TRUE = ("1", "true", "on", "yes")


def create_app(chat: Chat) -> Flask:
    """Return the application of a chatroom; it can be served by any WSGI server with threads."""
    settings = chat.settings
    body = MAX_BODY + WIDEST * settings.limits.message_length
    app = Flask(__name__)
    app.secret_key = chat.secret
    app.session_interface = CookieSession()
    app.config.update(
        SESSION_COOKIE_NAME="hivemind_chatroom",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_HTTPONLY=True,
        PERMANENT_SESSION_LIFETIME=timedelta(days=365),
        SESSION_COOKIE_PATH=settings.prefix.rstrip("/") or "/",
        SESSION_REFRESH_EACH_REQUEST=False,
        MAX_CONTENT_LENGTH=body,
        MAX_FORM_MEMORY_SIZE=body,
    )
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    gate = Gate(settings, chat.secret)
    gate.install(app)
    app.wsgi_app = Front(app.wsgi_app, settings.access, settings.prefix)  # type: ignore[method-assign]
    Routes(app, chat, gate)
    return app


class Routes:
    """What the application answers."""

    def __init__(self, app: Flask, chat: Chat, gate: Gate) -> None:
        self._chat = chat
        self._gate = gate
        self._tries = Buckets(10 / 60, 20)
        self._refusals = RefusalLog()
        for rule, view, methods in (
            ("/", self.index, ["GET"]),
            ("/chatroom/<username>/<site_id>/<lang>", self.room, ["GET"]),
            ("/send_message", self.send_message, ["POST"]),
            ("/messages", self.messages, ["GET"]),
            ("/events", self.events, ["GET"]),
            ("/status", self.status, ["GET"]),
            ("/typing", self.typing, ["POST"]),
            ("/login", self.login, ["GET", "POST"]),
            ("/logout", self.logout, ["POST"]),
            ("/healthz", self.healthz, ["GET"]),
            ("/readyz", self.readyz, ["GET"]),
        ):
            app.add_url_rule(rule, view_func=view, methods=methods)
        app.register_error_handler(TurnedAway, self.turned_away)
        app.register_error_handler(Unfit, lambda error: self.turned_away(TurnedAway(error, 400)))
        app.register_error_handler(HTTPException, self.http_error)

    # --- pages ---------------------------------------------------------------------------------------------------

    def index(self) -> AnyResponse:
        """Go into the room of the last visit, else into the first one as nobody in particular."""
        name, room, lang = (
            session.get(key, default)
            for key, default in (("name", ANONYMOUS), ("room", DEFAULT_ROOM), ("lang", DEFAULT_LANG))
        )
        return redirect(url_for("room", username=name, site_id=room, lang=lang))

    def room(self, username: str, site_id: str, lang: str) -> str:
        """A room, as somebody."""
        name, room, lang = user_name(username), room_name(site_id), language_tag(lang)
        session.setdefault("browser", secrets.token_hex(16))
        session.update(name=name, room=room, lang=lang)
        session.permanent = True
        person = self._chat.enter(self._visitor(name), room, lang)
        settings = self._chat.settings
        shown = self._chat.messages(self._browser, room, 0, ON_PAGE)
        page = {
            "base": self._base,
            "room": room,
            "user": person.name,
            "user_id": person.user_id,
            "lang": person.lang,
            "bot": BOT,
            "max_length": settings.limits.message_length,
            "embeds": "yes" if settings.embeds else "",
            "private": "always" if settings.always_private else "choice",
            "history_limit": settings.limits.history,
            "title": settings.title,
            "languages": LANGUAGES,
            "messages": [message.as_dict() for message in shown],
            "signed_in": self._gate.has_password,
        }
        return render_template("room.html", page=page)

    def login(self) -> AnyResponse | tuple[str, int] | str:
        """Ask for the room password."""
        wanted = request.values.get("next", "")
        asks = request.method != "POST"
        if not self._gate.has_password or (asks and self._gate.is_signed_in()):
            return redirect(self._inside(wanted))
        about = {"title": self._chat.settings.title, "base": self._base, "next": wanted}
        if asks:
            return render_template("login.html", **about, problem="")
        self._chat.ration(self._tries, household(request.remote_addr or ""))
        if self._gate.sign_in(request.form.get("password", "")):
            return redirect(self._inside(wanted))
        return render_template("login.html", **about, problem=say("wrong_room_password").text), 403

    def logout(self) -> AnyResponse:
        """Forget the room password of this browser."""
        session.pop("pass", None)
        return redirect(url_for("login"))

    # --- what scripts and the page ask -----------------------------------------------------------------------------

    def send_message(self) -> AnyResponse | tuple[AnyResponse, int]:
        """Accept a message."""
        given = self._given()
        missing = [key for key in FIELDS if key not in given]
        if missing:
            raise TurnedAway(Unfit("missing", f"The request lacks {', '.join(missing)}.", "Send all four fields."), 400)
        name = user_name(given["username"].strip() or ANONYMOUS)
        room = room_name(given["site_id"].strip() or DEFAULT_ROOM)
        lang = language_tag(given["lang"].strip() or DEFAULT_LANG)
        private = given.get("private", "").lower() in TRUE
        message = self._chat.post(self._visitor(name), room, lang, given["message"], private)
        if request.is_json:
            return jsonify(message.as_dict()), 202
        return redirect(url_for("room", username=name, site_id=room, lang=lang))

    def messages(self) -> AnyResponse:
        """The lines that the visitor may see."""
        room = request.args.get("room")
        limit = min(_number("limit", MOST_LISTED), MOST_LISTED)
        found = self._chat.messages(self._browser, room_name(room) if room else None, _number("since", 0), limit)
        response = jsonify([message.as_dict() for message in found])
        response.add_etag(weak=True)
        response.headers["Cache-Control"] = "no-cache, private"
        return response.make_conditional(request)

    def events(self) -> Response:
        """The event stream of a room."""
        room = room_name(request.args.get("room") or session.get("room") or DEFAULT_ROOM)
        name = user_name(request.args.get("username") or session.get("name") or ANONYMOUS)
        last = request.headers.get("Last-Event-ID", "")
        since = int(last) if last.isdecimal() and len(last) < 17 else _number("since", 0)
        if request.method == "HEAD":  # there is nothing to read, nor an end to hear of
            return Response(mimetype="text/event-stream")
        stream = self._chat.listen(self._visitor(name), room, since)
        gone = request.environ.get("waitress.client_disconnected", lambda: False)
        response = Response(self._told(stream, gone), mimetype="text/event-stream")
        response.call_on_close(lambda: self._chat.leave(stream))
        response.headers["X-Accel-Buffering"] = "no"
        return response

    def _told(self, stream: Stream, gone: Any) -> Iterator[bytes]:
        yield RETRY
        silent_s = 0.0
        while not gone() and (told := stream.next(LOOK_S)) is not None:
            silent_s = 0.0 if told else silent_s + LOOK_S
            if told:
                yield told
            elif silent_s >= self._chat.settings.times.heartbeat:
                silent_s = 0.0
                yield BEAT

    def status(self) -> AnyResponse:
        """What a page shows besides messages."""
        room = room_name(request.args.get("room") or session.get("room") or DEFAULT_ROOM)
        return jsonify(self._chat.status(self._browser, room))

    def typing(self) -> tuple[str, int]:
        """Somebody types, or no more."""
        given = self._given()
        name = user_name(given.get("username", "").strip() or ANONYMOUS)
        room = room_name(given.get("site_id", "").strip() or DEFAULT_ROOM)
        self._chat.typing(self._visitor(name), room, given.get("typing", "").lower() in TRUE)
        return "", 204

    def healthz(self) -> AnyResponse:
        """The process is there."""
        return jsonify(status="alive")

    def readyz(self) -> tuple[AnyResponse, int]:
        """Messages reach the hub."""
        link = self._chat.link
        return jsonify(status="ready" if link.is_up else "not ready", link=link.state), 200 if link.is_up else 503

    # --- errors --------------------------------------------------------------------------------------------------

    def turned_away(self, error: TurnedAway) -> AnyResponse:
        """Say why not, as the asker reads it."""
        self._refusals.tell(error.code, request.remote_addr or "?", error.message, error.cure)
        response = self._said(error.status, Sentence(error.code, error.message, error.cure))
        if error.retry_after_s:
            response.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        return response

    def http_error(self, error: HTTPException) -> AnyResponse:
        """Say what HTTP itself finds wrong."""
        status = error.code or 500
        if status < 400:
            return error.get_response()
        sentence = Sentence(error.name.lower().replace(" ", "_"), error.description or error.name)
        response = self._said(status, say("no_such_page") if status == 404 else sentence)
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    def _said(self, status: int, why: Sentence) -> Response:
        if _wants_html():
            about = {"title": self._chat.settings.title, "base": self._base, "status": status}
            return Response(render_template("error.html", **about, message=why.text, cure=why.cure), status)
        response = jsonify(error=why.code, message=why.text, cure=why.cure)
        response.status_code = status
        return response

    # --- the request ---------------------------------------------------------------------------------------------

    @property
    def _base(self) -> str:
        return f"{request.script_root}/"

    @property
    def _browser(self) -> str:
        return str(session.get("browser", ""))

    def _visitor(self, name: str) -> Visitor:
        return Visitor(self._browser, name, household(request.remote_addr or ""))

    def _inside(self, wanted: str) -> str:
        """An own path that somebody wanted to see; anything else is the front page."""
        ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
        return request.script_root + quote(wanted, safe="/%?=&") if ours else url_for("index")

    def _given(self) -> Mapping[str, str]:
        """The fields of the request's body, all as text."""
        if not request.is_json:
            return request.form.to_dict()
        try:
            body = request.get_json()
        except RecursionError:
            raise TurnedAway(Unfit("too_deep", "The request is nested too deeply.", ""), 400) from None
        if not isinstance(body, dict):
            raise TurnedAway(Unfit("not_an_object", "The request is no JSON object.", ""), 400)
        return {str(key): value if isinstance(value, str) else _as_text(value) for key, value in body.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise TurnedAway(Unfit("not_text", "A field of the request is neither text nor a number.", ""), 400)
    return "true" if value is True else "" if value in (None, False) else str(value)


def _wants_html() -> bool:
    if request.is_json or request.path in ("/messages", "/events", "/status", "/typing"):
        return False
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], default="text/html")
    return best == "text/html"


def _number(name: str, default: int) -> int:
    given = request.args.get(name, "")
    if not given:
        return default
    if not given.isdecimal() or len(given) > 16:
        raise TurnedAway(Unfit("not_a_number", f"{name} is a whole number.", ""), 400)
    return int(given)
