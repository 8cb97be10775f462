"""Frames over HTTP: every frame is a request of its own, and the hub's are asked for (docs/protocol.md 6)."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from . import codec
from .reconnect import NO_STATUS
from .refusals import REFUSALS, from_close
from .wire import CLOSE_TIMEOUT_S, Dial, DialFailed, WireClosed, text_of, unreachable

try:
    import aiohttp
    from yarl import URL
except ImportError:
    raise ImportError("the HTTP client needs a package more: pip install 'hivemind-mesh[http]'") from None

FIRST_PAUSE_S = 0.1
"""After the last message either way; it doubles up to the interval."""
MAX_GREETING_BYTES = 1 << 20
MAX_REPLY_BYTES = 48 << 20
"""A hub keeps 256 frames; of v3 ones they take 23 MB in a reply, and below v3 a single one may be longer."""
LATE_S = 10.0
"""How long after its time the reply to a request may come that the hub was asked to hold."""
NEWEST = 3

TEXT, BINARY = "messages", "b64_messages"
_QUEUES = {TEXT: "get_messages", BINARY: "get_binary_messages"}
_REFUSALS = {
    400: "invalid_authorization",
    401: "invalid_authorization",
    403: "invalid_key",
    404: "not_a_hub",
    405: "not_a_hub",
    429: "busy",
    503: "busy",
}
"""What statuses mean while connecting, others being trouble that passes; what the hub says besides goes before it."""


async def open_http(plan: Dial) -> HttpWire:
    """Connect. Raises DialFailed."""
    wire = HttpWire(plan)
    try:
        await wire.begin()
    except BaseException:
        await wire.abandon()
        raise
    return wire


class Answer:
    """What the hub said to one request."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.body = body

    @property
    def error(self) -> str:
        """What went wrong, in the hub's words; empty if nothing has."""
        if self.status == 200 and "error" not in self.body:
            return ""
        return str(self.body.get("error") or f"HTTP status {self.status}")[:200]

    @property
    def close(self) -> tuple[int, str]:
        """The close code and reason of the session that is gone; released hubs tell neither."""
        code, reason = self.body.get("code"), self.body.get("reason")
        return (code, reason) if isinstance(code, int) and isinstance(reason, str) else (NO_STATUS, "")

    def frames(self, queue: str) -> list[bytes | str]:
        """The frames of one queue. Raises WireClosed for what is none."""
        found = self.body.get(queue)
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise WireClosed(0, "", "the hub's answer holds no list of messages")
        try:
            return found if queue == TEXT else [b64decode(each, validate=True) for each in found]
        except ValueError:
            raise WireClosed(0, "", "a message from the hub is not base64") from None


class HttpWire:
    """A `Wire` that is a session at a hub's HTTP port."""

    def __init__(self, plan: Dial) -> None:
        self._plan = plan
        self._polling = plan.polling
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=plan.ssl or True),
            cookie_jar=aiohttp.CookieJar(unsafe=True, quote_cookie=False),
            headers={"Accept-Encoding": "identity"},
            skip_auto_headers=["User-Agent"],
            auto_decompress=False,
        )
        self._version: int | None = None
        self._arrived: deque[bytes | str] = deque()
        self._poll: asyncio.Task[list[bytes | str]] | None = None
        self._pause_s = 0.0
        self._sooner = asyncio.Event()
        self._ended: asyncio.Future[WireClosed] = asyncio.get_running_loop().create_future()

    # --- beginning and end -------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Open a session. One that this access key had before ends: it would get no greeting. Raises DialFailed."""
        try:
            await self._request("POST", "disconnect")
            answer = await self._request("POST", "connect")
        except (aiohttp.ClientConnectorError, asyncio.TimeoutError) as error:
            raise unreachable(_cause(error), _text(error)) from None
        except (aiohttp.ClientError, OSError, WireClosed, ValueError) as error:
            raise DialFailed(REFUSALS["not_a_hub"], _text(error)) from None
        if answer.error or "status" not in answer.body:
            raise _not_let_in(answer)

    async def close(self) -> None:
        """Take leave, within 2 s."""
        if self._http.closed:
            return
        if not self._ended.done():
            try:
                await asyncio.wait_for(self._request("POST", "disconnect"), CLOSE_TIMEOUT_S)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError, WireClosed):
                pass
        self._end(WireClosed(0, "", "the connection was closed"))
        await self.abandon()

    async def abandon(self) -> None:
        """Let go of everything."""
        if self._poll is not None:
            self._poll.cancel()
        await self._http.close()

    def _end(self, error: WireClosed) -> WireClosed:
        if not self._ended.done():
            self._ended.set_result(error)
        return self._ended.result()

    # --- frames ------------------------------------------------------------------------------------------------

    async def receive(self) -> bytes | str:
        """Wait for the next frame: ask the hub until there is one."""
        while not self._arrived:
            if self._poll is None and self._ended.done():
                raise self._ended.result()
            self._poll = self._poll or asyncio.ensure_future(self._ask())
            await asyncio.wait((self._poll, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if not self._poll.done() or self._poll.cancelled():  # which `abandon` does
                raise self._ended.result()
            poll, self._poll = self._poll, None
            self._arrived.extend(poll.result())
        await asyncio.sleep(0)  # with many of them at hand nobody else would have a turn
        return self._arrived.popleft()

    async def send(self, frame: bytes | str) -> None:
        """Post a frame."""
        form = {"message": frame} if isinstance(frame, str) else _binary_form(frame)
        self._check(await self._exchange("POST", "send_message", data=form))
        self._hurry(FIRST_PAUSE_S)

    async def confirm(self) -> None:
        """See whether the session stands, by the queue that it leaves empty; then ask for what there is at once."""
        self._arrived.extend(await self._take(TEXT if self._version == NEWEST else BINARY))
        self._hurry(0.0)

    def agreed(self, version: int) -> None:
        """From now on a v3 session has binary frames only; the others have both."""
        self._version = version

    async def _ask(self) -> list[bytes | str]:
        """Ask for frames; where there are none only after a pause, unless the hub itself has waited."""
        began = time.monotonic()
        found: list[bytes | str] = []
        for queue, wait_s in self._questions():
            found += await self._take(queue, wait_s)
        if found:
            self._pause_s = 0.0
        else:
            await self._rest(began)
        return found

    def _questions(self) -> list[tuple[str, float]]:
        """Which queues to ask, and for how long each: before the session is up there is text alone."""
        wait_s = self._polling.wait_s
        if self._version is None or self._version >= NEWEST:
            return [(TEXT if self._version is None else BINARY, wait_s)]
        return [(TEXT, 0.0), (BINARY, 0.0)]

    async def _rest(self, began: float) -> None:
        """Wait until it is time to ask again, which may become sooner meanwhile."""
        self._pause_s = min(self._polling.interval_s, max(FIRST_PAUSE_S, 2 * self._pause_s))
        while (left_s := began + self._pause_s - time.monotonic()) > 0:
            self._sooner.clear()
            try:
                await asyncio.wait_for(self._sooner.wait(), left_s)
            except asyncio.TimeoutError:
                return

    def _hurry(self, pause_s: float) -> None:
        """Ask again soon, since an answer may be on its way."""
        self._pause_s = min(self._pause_s, pause_s)
        self._sooner.set()

    async def _take(self, queue: str, wait_s: float = 0.0) -> list[bytes | str]:
        """Return what waits in one of the hub's queues. Raises WireClosed."""
        try:
            return self._check(await self._exchange("GET", _QUEUES[queue], wait_s)).frames(queue)
        except WireClosed as error:
            raise self._end(error) from None

    def _check(self, answer: Answer) -> Answer:
        if answer.error:
            raise self._end(WireClosed(*answer.close, answer.error))
        return answer

    # --- requests ----------------------------------------------------------------------------------------------

    async def _exchange(self, method: str, name: str, wait_s: float = 0.0, data: Any = None) -> Answer:
        """Make a request. Raises WireClosed, after which nobody knows which frames have got through."""
        if self._ended.done():
            raise self._ended.result()
        try:
            return await self._request(method, name, wait_s, data)
        except WireClosed as error:
            raise self._end(error) from None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            raise self._end(WireClosed(0, "", _text(error))) from None

    async def _request(self, method: str, name: str, wait_s: float = 0.0, data: Any = None) -> Answer:
        """Make a request and return the answer, of whatever status."""
        query = f"authorization={quote(self._plan.token, safe='%')}" + (f"&wait={wait_s:g}" if wait_s else "")
        url = URL(f"{self._plan.address.origin}/{name}?{query}", encoded=True)
        timeout = aiohttp.ClientTimeout(
            total=wait_s + min(LATE_S, self._polling.timeout_s) if wait_s else self._polling.timeout_s,
            sock_connect=self._plan.timeout_s,
        )
        async with self._http.request(method, url, data=data, timeout=timeout, allow_redirects=False) as response:
            return Answer(response.status, _read_object(await self._body(response)))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Read a reply, but no more of it than there can be reason for."""
        most = MAX_GREETING_BYTES if self._version is None else MAX_REPLY_BYTES
        body = bytearray()
        async for chunk in response.content.iter_chunked(1 << 16):
            body += chunk
            if len(body) > most:
                raise WireClosed(0, "", "the hub's answer is too long")
        return bytes(body)


def _binary_form(frame: bytes) -> dict[str, str]:
    return {"message": b64encode(frame).decode("ascii"), "binary": "1"}


def _read_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a reply; an empty one for anything else, such as a page."""
    try:
        value = codec.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _not_let_in(answer: Answer) -> DialFailed:
    """The refusal that an answer to the first request means."""
    told = from_close(*answer.close)
    if told is None and "error" in answer.body:
        told = REFUSALS[_REFUSALS.get(answer.status, "internal_error")]
    return DialFailed(told or REFUSALS["not_a_hub"], answer.close[1] or answer.error)


def _cause(error: Exception) -> Exception:
    """What the operating system or the TLS library said."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return inner if isinstance(inner, Exception) else error


def _text(error: BaseException) -> str:
    """What an exception says; those about a reply would tell the access key, which is in the URL."""
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.InvalidURL, ValueError)):
        return getattr(error, "message", "") or type(error).__name__
    return text_of(error)
