"""One request over HTTP and its answer, in the words of released hubs (docs/protocol.md 6)."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import REFUSALS

from .http_connection import HTTPConnection
from .http_sessions import Ending, Frame
from .intake import Intake

MAX_BODY_BYTES = 1024 * 1024
BODY_WITHIN_S = 30.0
MAX_FIELDS = 16
"""Of a form."""
MAX_WAIT_S = 60.0
"""How long a fetch may wait for messages."""
FORM = "application/x-www-form-urlencoded"
NOT_CONNECTED = "Client is not connected"
SENDING_FAILED = "Message sending failed"
_YES = ("1", "true", "yes")


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

    raw: web.BaseRequest
    intake: Intake
    remote: str
    form: dict[str, str] = field(default_factory=dict)
    token: str = ""
    key: str = ""
    cookie: str = ""
    session: HTTPConnection | None = None

    async def read_form(self) -> None:
        """Read the body. Raises Told; one that is too long or too slow ends the TCP connection."""
        self.intake.within(BODY_WITHIN_S, "its request does not end")
        try:
            if (self.raw.content_length or 0) > MAX_BODY_BYTES:
                raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, self.raw.content_length or 0)
            body = await self.raw.read()
        except web.HTTPRequestEntityTooLarge:
            self.intake.cut(f"a request of more than {MAX_BODY_BYTES} bytes")
            raise Told(413, "Request too large") from None
        self.intake.in_time()
        if self.raw.content_type == FORM:
            self.form = _fields(body)

    @property
    def wait_s(self) -> float:
        """How long to wait for messages where there are none."""
        try:
            return max(0.0, min(float(self.raw.query.get("wait", "0")), MAX_WAIT_S))
        except ValueError:
            return 0.0

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


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}


def not_connected(session: HTTPConnection | None, status: int = 200) -> Told:
    """Return the answer to who has no session, or none any more."""
    return Told(status, NOT_CONNECTED, session.ended if session is not None else None)


def refusal(refused: Refused) -> Told:
    """Return the answer to who is not let in; what passes by itself has another status than what does not."""
    permanent = REFUSALS[refused.code].permanent
    status, error = (403, "Invalid authorization") if permanent else (503, "Connection failed")
    return Told(status, error, Ending(refused.close_code, refused.reason))


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
    body = json.dumps(reply.body).encode()
    return web.Response(body=body, status=reply.status, content_type="application/json", charset="UTF-8")


def page(status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return what is said to who asks for something that is not there."""
    text = f"<html><title>{status}: {reason}</title><body>{status}: {reason}</body></html>"
    return web.Response(text=text, status=status, content_type="text/html", charset="UTF-8", headers=headers)
