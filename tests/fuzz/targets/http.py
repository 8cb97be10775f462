"""The HTTP transport, byte by byte, for a client that can do the handshake and for those that cannot.

In an input ``{cookie}`` is the last cookie that was set, ``{length}`` that of the body, and ``{frame}`` the next frame
of a real satellite, which is given the hub's answers; so a session can be opened, and what comes then can be wrong.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from urllib.parse import quote

from fuzz.inputs import BREAK, Choices, pieces
from fuzz.small_hub import (
    CRYPTO_KEY,
    OTHER_PASSWORD,
    PASSWORD,
    clients,
    make_hub,
)
from fuzz.still_loop import MemoryTransport, StillLoop, still_loop
from fuzz.targets.upgrade import MORE, STATUS, TOKENS, check_end, chunks, settle
from fuzz.watched_log import watched_log
from helpers.link_pair import CLIENT_KEY
from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Opened, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.config import HTTPConfig
from hivemind_core.hub import Hub
from hivemind_core.proxies import TrustedProxies, networks
from hivemind_core.testing import quick_psk
from hivemind_core.transports.http import HTTPTransport

MAX_REQUESTS = 16
REQUEST_S = 2.0
END_S = 60.0
MAX_ANSWER = 256 * 1024
COOKIE = re.compile(rb"Set-Cookie: (hivemind_http_session=[^;\r\n]*)")
PATHS = ("/connect", "/disconnect", "/send_message", "/get_messages", "/get_binary_messages", "/_healthz", "/nothing")
FORM = "Content-Type: application/x-www-form-urlencoded"
SESSION = "Cookie: {cookie}"

WORDS: tuple[str, ...] = (
    *(f"{line}\r\n" for line in (FORM, SESSION, *MORE, "Content-Length: 0", "Access-Control-Request-Method: POST")),
    *PATHS,
    *TOKENS,
)


def request(method: str, path: str, who: str, body: str = "", *more: str) -> bytes:
    """Return one request."""
    lines = [f"{method} {path}?authorization={who} HTTP/1.1", "Host: h", *more]
    if method == "POST":
        lines += [FORM, "Content-Length: {length}"]
    return ("\r\n".join([*lines, "", body])).encode()


def _course(who: str, *more: str) -> list[bytes]:
    """Return the requests that open a session and use it."""
    said = [request("POST", "/send_message", who, "message={frame}", *more)] * 3
    sealed = request("POST", "/send_message", who, "message={frame}&binary=true", *more)
    news = [request("GET", path, who, "", *more) for path in ("/get_messages", "/get_binary_messages")]
    return [request("POST", "/connect", who), news[0], *said[:1], news[0], *said[:1], sealed, *news, sealed]


def seeds() -> Iterator[bytes]:
    who = TOKENS[0]
    for more in ((), (SESSION,)):
        course = _course(who, *more)
        for length in range(1, len(course) + 1):
            yield b"\0" + BREAK.join(course[:length])
        yield b"\0" + BREAK.join([*course, request("POST", "/disconnect", who, "", *more), course[1]])
        yield b"\0" + b"".join(course[:3])
        yield b"\0" + BREAK.join([course[0], request("GET", "/get_messages", who + "&wait=30", "", *more)])
    for token in TOKENS:
        for path in PATHS:
            for method in ("GET", "POST", "OPTIONS", "HEAD"):
                yield b"\0" + request(method, path, token)
    for line in MORE:
        yield b"\0" + request("POST", "/connect", who, "message=x", line)
    yield b"\5" + request("POST", "/send_message", who, "message={frame}")
    yield (
        b"\0POST /connect HTTP/1.1\r\nHost: h\r\n"
        + FORM.encode()
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmessa\r\n0\r\n\r\n"
    )
    body = f"authorization={who}&message=%7B%7D&binary=1"
    yield b"\0" + request("POST", "/connect", "", body) + BREAK + request("POST", "/send_message", "", body)


class Satellite:
    """What a real client would do with what is answered."""

    def __init__(self) -> None:
        self.link = Link.client(ClientTerms(CLIENT_KEY, {"session": {"session_id": "s"}, "site_id": "x"}), 0.0)
        self.opened = False
        self._frames: list[bytes | str] = []

    def answered(self, body: bytes) -> None:
        """Take the frames in an answer."""
        try:
            told = json.loads(body)
        except ValueError:
            return
        for frame in [*told.get("messages", ()), *map(b64decode, told.get("b64_messages", ()))]:
            self._follow(self.link.receive(frame, 0.0))

    def _follow(self, events: list[object]) -> None:
        for event in events:
            if isinstance(event, KeyNeeded):
                self._follow(list(self.link.key_derived(quick_psk(PASSWORD, event.node_id), 0.0)))
            self.opened |= isinstance(event, Opened)
            assert not isinstance(event, Refused), "the hub says what its own client does not take"

    def next_frame(self) -> str:
        """Return what it sends next, as it stands in a form."""
        if self.link.is_open and not self._frames:
            self.link.send(HiveMessage(HiveMessageType.BUS, Message("test:message", {"x": 1})))
        self._frames += self.link.frames_to_send()
        if not self._frames:
            return ""
        frame = self._frames.pop(0)
        return quote(frame if isinstance(frame, str) else b64encode(frame).decode(), safe="")


def run(data: bytes) -> None:
    choices = Choices(data)
    size, rest = choices.byte(), choices.rest()
    with watched_log(PASSWORD, OTHER_PASSWORD, CRYPTO_KEY), still_loop() as loop:
        loop.run_until_complete(_serve(loop, pieces(rest, MAX_REQUESTS), size))


async def _serve(loop: StillLoop, requests: list[bytes], size: int) -> None:
    hub = make_hub(loop, clients(), min_protocol_version=0)
    proxies = TrustedProxies(networks(["203.0.113.0/24"]), ("x-forwarded-for",))
    transport = HTTPTransport(hub, HTTPConfig(proxies=proxies, undelivered_ttl_s=10, queue_ttl_s=20, session_ttl_s=30))
    await transport.start()
    visit = Visit(hub, loop)
    for text in requests:
        await visit.ask(text, size)
    await asyncio.sleep(END_S)
    hub.tick()
    assert not any(peer.registered for peer in hub.peers) or visit.satellite.opened
    visit.hang_up()
    await settle()
    await transport.stop()
    await hub.stop()
    check_end(hub, loop)


class Visit:
    """One TCP connection after the other, each for as long as the hub keeps it."""

    def __init__(self, hub: Hub, loop: StillLoop) -> None:
        self.satellite = Satellite()
        self._hub = hub
        self._loop = loop
        self._cookie = b"hivemind_http_session=none"
        self._connection = MemoryTransport(loop)
        self._used_frame = False

    async def ask(self, text: bytes, size: int) -> None:
        """Send a request and take in what is answered."""
        if self._connection.is_closing():
            self._connection = MemoryTransport(self._loop)
        while b"{frame}" in text:
            text = text.replace(b"{frame}", self.satellite.next_frame().encode(), 1)
            self._used_frame = True
        text = text.replace(b"{cookie}", self._cookie)
        text = text.replace(b"{length}", str(len(text.partition(b"\r\n\r\n")[2])).encode())
        before = len(self._connection.written)
        for part in chunks(text, size):
            self._connection.feed(part)
            await settle()
        await asyncio.sleep(REQUEST_S)
        self._answered(bytes(self._connection.written[before:]))

    def _answered(self, answer: bytes) -> None:
        assert len(answer) <= MAX_ANSWER, "much is answered"
        failed = [status for status in STATUS.findall(answer) if int(status) >= 500]
        assert not failed or b'"error": ' in answer, f"the hub failed: {answer[:300]!r}"
        for cookie in COOKIE.findall(answer):
            self._cookie = cookie
        if answer.startswith(b"HTTP/1.1 200") and answer.count(b"HTTP/1.1") == 1:
            self.satellite.answered(answer.partition(b"\r\n\r\n")[2])
        is_open = any(peer.link.is_open for peer in self._hub.peers.connections())
        assert self._used_frame or not is_open, "a session without a proof"

    def hang_up(self) -> None:
        self._connection.hang_up()
