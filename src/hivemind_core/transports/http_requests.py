"""One request over HTTP and its answer, in the words of released hubs (docs/protocol.md 6)."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import REFUSALS, Refusal, from_close
from hivemind_bus_client.return_hints import wait_in

from .http_connection import Far, HTTPConnection
from .http_sessions import MAX_TAKEN_BYTES, Ending, Frame
from .intake import Intake

MAX_REQUESTS = 16
"""Requests of one session that are served, or passed on, at once."""
MAX_BODY_BYTES = 1024 * 1024
BODY_WITHIN_S = 30.0
MAX_FIELDS = 16
"""Of a form."""
MAX_WAIT_S = 60.0
"""How long a fetch may wait for messages."""
CONNECT, DISCONNECT, SEND = "/connect", "/disconnect", "/send_message"
COOKIE = "hivemind_http_session"
CONNECTED = {"status": "Connected"}
FORM = "application/x-www-form-urlencoded"
NOT_CONNECTED = "Client is not connected"
SENDING_FAILED = "Message sending failed"
TOO_MANY, BUSY = 429, 503
_PASSED_ON = ("message", "binary")
_YES = ("1", "true", "yes")


@dataclass(frozen=True)
class Passed:
    """How an answer came that is another hub's."""

    hub: str
    number: str
    """Of the request, where frames were taken from a queue for it: that hub has to know whether they arrive."""
    stands: bool = False
    """Its session goes on."""


@dataclass
class Reply:
    """An answer."""

    body: dict[str, Any]
    status: int = 200
    queue: str = ""
    frames: list[Frame] = field(default_factory=list)
    """What was taken from a queue for it."""
    cookie: str = field(default="", repr=False)
    """Of a session that has begun."""
    passed: Passed | None = None


class Told(Exception):
    """A request cannot be served; this is the answer to it."""

    def __init__(self, status: int, error: str, ending: Ending | None = None) -> None:
        super().__init__(error)
        body: dict[str, Any] = {"error": error}
        if ending is not None:
            body |= {"code": ending.code, "reason": ending.reason}
        self.reply = Reply(body, status)


@dataclass
class Asked:
    """A request, as far as all of them are alike."""

    path: str
    remote: str
    cookie: str = field(default="", repr=False)
    wait_s: float = 0.0
    """How long to wait for messages where there are none."""
    form: dict[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    session: HTTPConnection | None = None
    far: Far | None = None
    """The session, where another hub holds it."""
    most_bytes: int = MAX_TAKEN_BYTES
    """What the answer may hold, unless its first frame is longer."""

    @property
    def is_open(self) -> bool:
        """Its client has proven itself."""
        session = self.session if self.session is not None else self.far
        return session is not None and session.is_open

    def told(self) -> dict[str, Any]:
        """Return what another hub has to know of it."""
        form = {name: self.form[name] for name in _PASSED_ON if name in self.form}
        who = {"token": self.token, "cookie": self.cookie, "remote": self.remote}
        return {"path": self.path, **who, "wait": self.wait_s, "form": form}

    def frame(self, session: HTTPConnection) -> Frame:
        """Return the frame that was sent. Raises Told."""
        text = self.form.get("message", "")
        if not text:
            raise Told(400, "Missing message")
        frame: Frame = text
        if self.form.get("binary", "").lower() in _YES:
            if not session.is_open:
                raise Told(409, "No Noise session; reconnect and handshake")
            try:
                frame = b64decode(text, validate=True)
            except (NotBase64, ValueError):
                raise Told(400, "Malformed binary frame") from None
        if len(frame) > session.max_frame_bytes:
            raise Told(400, f"A frame holds at most {session.max_frame_bytes} bytes")
        return frame


async def read_form(request: web.BaseRequest, intake: Intake) -> dict[str, str]:
    """Read the body. Raises Told; one that is too long or too slow ends the TCP connection."""
    intake.within(BODY_WITHIN_S, "its request does not end")
    try:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        intake.cut(f"a request of more than {MAX_BODY_BYTES} bytes")
        raise Told(413, "Request too large") from None
    intake.in_time()
    return _fields(body) if request.content_type == FORM else {}


def wait_of(request: web.BaseRequest) -> float:
    """Return how long (seconds) a fetch is to wait for messages."""
    try:
        return max(0.0, min(float(request.query.get("wait", "0")), MAX_WAIT_S))
    except ValueError:
        return 0.0


def asked_elsewhere(told: Mapping[str, Any], most_bytes: int) -> Asked:
    """Return a request that came to another hub, as it tells of it (`Asked.told`)."""
    asked = Asked(told["path"], told["remote"], told["cookie"], told["wait"], dict(told["form"]), told["token"])
    asked.most_bytes = most_bytes
    return asked


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}


def not_connected(ended: Ending | None, status: int = 200) -> Told:
    """Return the answer to who has no session, or none any more."""
    return Told(status, NOT_CONNECTED, ended)


def too_many_requests() -> Told:
    return Told(TOO_MANY, "Too many requests at once")


def ended_by_it(ended: Ending) -> Told:
    """Return the answer to a message that ended its session."""
    return Told(TOO_MANY if _is_too_much(from_close(*ended)) else 500, SENDING_FAILED, ended)


def refusal(refused: Refused) -> Told:
    """Return the answer to who is not let in; what passes by itself has another status than what does not."""
    ending = Ending(refused.close_code, refused.reason)
    row = REFUSALS[refused.code]
    if row.permanent:
        return Told(403, "Invalid authorization", ending)
    return Told(TOO_MANY if _is_too_much(row) else BUSY, "Connection failed", ending)


def _is_too_much(row: Refusal | None) -> bool:
    """Tell whether it is what a client has sent itself that is too much."""
    return row is REFUSALS["too_many_messages"]


def lacks_part(token: str) -> bool:
    """Tell whether a token names no client because its useragent or its access key is empty."""
    try:
        text = b64decode(token.replace(" ", "+"), validate=True)
    except (NotBase64, ValueError):
        return False
    return text.startswith(b":") or (b":" in text and text.endswith(b":") and text.count(b":") == 1)


def fetched(queue: str, frames: list[Frame]) -> Reply:
    """Return the answer that holds frames."""
    texts = [frame if isinstance(frame, str) else b64encode(frame).decode("ascii") for frame in frames]
    return Reply({"status": "messages retrieved", queue: texts}, queue=queue, frames=frames)


def json_response(reply: Reply) -> web.Response:
    """Return what is written; who is to come back later is told when."""
    body = json.dumps(reply.body).encode()
    response = web.Response(body=body, status=reply.status, content_type="application/json", charset="UTF-8")
    wait_s = wait_in(str(reply.body.get("reason")))
    if reply.status == TOO_MANY or (reply.status == BUSY and wait_s):
        response.headers["Retry-After"] = f"{max(1.0, wait_s):.0f}"
    return response


def page(status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return what is said to who asks for something that is not there."""
    text = f"<html><title>{status}: {reason}</title><body>{status}: {reason}</body></html>"
    return web.Response(text=text, status=status, content_type="text/html", charset="UTF-8", headers=headers)
