"""Browsers as thin as they can be: raw sockets of one process, nothing parsed. The same ones load every chatroom."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

HOST = "127.0.0.1"
ANSWER_TIMEOUT_S = 120
AT_ONCE = 10
POLL_S = 1.0
"""How often a tab of the released chatroom asks for everything."""
KEPT = 96
"""Bytes of a stream that are looked at again with what comes next; longer than any text that is waited for."""
_COOKIE = re.compile(rb"^set-cookie:\s*([^;\r\n]+)", re.IGNORECASE | re.MULTILINE)


class BrowserFailed(Exception):
    """The chatroom did not serve a browser of the measurement."""


class Watch:
    """Waits until each of so many tabs has seen a text."""

    def __init__(self, tabs: int) -> None:
        self._tabs = tabs
        self._missing: dict[bytes, tuple[set[int], asyncio.Future[float]]] = {}

    def expect(self, text: bytes) -> asyncio.Future[float]:
        """When the last tab got it, by `time.perf_counter`."""
        seen: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._missing[text] = set(range(self._tabs)), seen
        return seen

    def look(self, tab: int, data: bytes) -> None:
        """Take in what a tab got."""
        for text, (missing, seen) in list(self._missing.items()):
            if tab in missing and text in data:
                missing.discard(tab)
                if not missing:
                    del self._missing[text]
                    seen.set_result(time.perf_counter())


@dataclass
class Browser:
    """One browser, at an address of its own."""

    port: int
    number: int
    room: str
    cookie: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return f"guest{self.number}"

    @property
    def address(self) -> str:
        return f"127.0.{1 + self.number // 250}.{1 + self.number % 250}"

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}:{self.port}", "Accept: */*"]
        if self.cookie:
            lines.append(f"Cookie: {self.cookie}")
        if body:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """One request on a connection of its own; the whole answer. Raises BrowserFailed from status 400 on."""
        request = self.request(method, path, body).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        answer = await asyncio.wait_for(self._exchange(request), ANSWER_TIMEOUT_S)
        if not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2", b"HTTP/1.1 3", b"HTTP/1.0 3")):
            raise BrowserFailed(f"{method} {path}: {answer[:500]!r}")
        return answer

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self.port, local_addr=(self.address, 0))
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()

    async def enter(self) -> None:
        """Open the page, and keep the cookie if there is one."""
        page = await self.ask("GET", f"/chatroom/{self.name}/{self.room}/en")
        found = _COOKIE.search(page)
        self.cookie = found[1].decode() if found else ""

    async def say(self, text: str) -> None:
        """Send a message as the form does."""
        fields = {"username": self.name, "site_id": self.room, "lang": "en", "message": text}
        await self.ask("POST", "/send_message", urlencode(fields).encode())


class StreamTab(asyncio.Protocol):
    """A tab that is told what is new by an event stream."""

    def __init__(self, browser: Browser, watch: Watch) -> None:
        self.received = 0
        """Bytes."""
        self._browser = browser
        self._watch = watch
        self._end = b""
        self._transport: asyncio.Transport | None = None
        self._greeted = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Ask for what comes after the latest that is there, and wait for the stream's greeting."""
        browser = self._browser
        latest = await browser.ask("GET", f"/messages?room={browser.room}&limit=1")
        since = max((int(number) for number in re.findall(rb'"seq":\s*(\d+)', latest)), default=0)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, HOST, browser.port, local_addr=(browser.address, 0))
        assert self._transport is not None
        query = urlencode({"room": browser.room, "username": browser.name, "since": since})
        self._transport.write(browser.request("GET", f"/events?{query}"))
        await asyncio.wait_for(asyncio.shield(self._greeted), ANSWER_TIMEOUT_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        seen = self._end + data
        self._watch.look(self._browser.number, seen)
        if not self._greeted.done() and b"event: hello\n" in seen:
            self._greeted.set_result(None)
        self._end = seen[-KEPT:]

    def connection_lost(self, _: Exception | None) -> None:
        if not self._greeted.done():
            self._greeted.set_exception(BrowserFailed(f"no event stream: {self._end!r}"))

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class PollTab:
    """A tab that asks for all messages again and again, as the page of the released chatroom does."""

    def __init__(self, browser: Browser, watch: Watch) -> None:
        self.received = 0
        """Bytes."""
        self._browser = browser
        self._watch = watch
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Ask once, and go on."""
        await self._look()
        self._task = asyncio.create_task(self._poll())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(POLL_S * (self._browser.number % 100) / 100)  # nobody opens a page at the same moment
        while True:
            begun = loop.time()
            await self._look()
            await asyncio.sleep(max(0.0, begun + POLL_S - loop.time()))

    async def _look(self) -> None:
        answer = await self._browser.ask("GET", "/messages")
        self.received += len(answer)
        self._watch.look(self._browser.number, answer)


Tab = StreamTab | PollTab


async def some_at_once(work: Sequence[Coroutine[None, None, None]], most: int = AT_ONCE) -> None:
    """Do all of it, a few at a time."""
    gate = asyncio.Semaphore(most)

    async def one(part: Coroutine[None, None, None]) -> None:
        async with gate:
            await part

    await asyncio.gather(*(one(part) for part in work))
