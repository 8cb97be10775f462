"""Keeps one satellite connected: dials, proves itself, reconnects, until it is closed or refused for good.

The one driver under both clients. It runs on one event loop and owns everything that happens there; threads
reach it through `loop_thread.LoopThread`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .address import Address, authorization
from .exceptions import HiveMindException, HubUnreachable, NotConnected
from .keyring import Keyring, Keys
from .reconnect import Ended, Persistence
from .refusals import HiveMindRefused, Refusal
from .tasks import end_tasks
from .wire import MAX_FRAME_BYTES, MAX_LEGACY_FRAME_BYTES, Dial, Polling, Wire

if TYPE_CHECKING:
    import ssl

    from .connection import Connection
    from .link import ClientTerms, Opened
    from .message import HiveMessage

LOG = logging.getLogger(__name__)

NEWEST_PROTOCOL, PASSWORD_PROTOCOL, RSA_PROTOCOL = 3, 2, 1


@dataclass(frozen=True)
class Settings:
    """What the driver needs to know; fixed for its life."""

    address: Address
    access_key: str = field(repr=False)
    has_password: bool
    useragent: str
    allow_self_signed: bool
    """Accept any TLS certificate: Noise proves who the hub is."""
    binarize: bool
    compress: bool | None
    keepalive: dict[str, float | None]
    connect_timeout_s: float
    min_version: int
    max_version: int
    password: str | None = field(default=None, repr=False)
    """For protocols below v3; the keyring derives what v3 needs."""
    crypto_key: str | None = field(default=None, repr=False)
    polling: Polling = field(default_factory=Polling)
    """Only for a hub that is spoken to over HTTP."""


@dataclass(frozen=True)
class Hooks:
    """Who is told; all are called on the loop and return at once."""

    hello: Callable[[], dict[str, Any]]
    """Returns session and site for the HELLO of the next connection."""
    received: Callable[[HiveMessage, int], None]
    """A message came in that takes so many bytes."""
    changed: Callable[[str, tuple[Any, ...]], None]
    """One of the events open, close, reconnecting, error(exception), auth_rejected(text)."""
    agreed: Callable[[Opened], None] = lambda opened: None
    """A session is up: which version, and below v3 which cipher, encoding and key."""


class HandshakeTimedOut(HubUnreachable, RuntimeError):
    """The hub did not admit this satellite in the time allowed."""

    def __init__(self, text: str, refusal: Refusal | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal
        """What stood in the way, if that is known."""


class NotStarted(NotConnected, ValueError):
    """A message was emitted before the client was ever started."""


class Driver:
    """`start` it; then `settled`, `send`, `drop` and `close` may be called in any state.

    ``log`` is told of connections made, lost and refused.
    """

    def __init__(self, settings: Settings, keyring: Keyring, hooks: Hooks, log: logging.Logger = LOG) -> None:
        self.failure: Exception | None = None
        """Why the driver has given up; None while it has not."""
        self.problem: Refusal | None = None
        """What stands in the way at the moment."""
        self.detail = ""
        """What the hub or the operating system said of it."""
        self._settings = settings
        self._keyring = keyring
        self._hooks = hooks
        self._log = log
        self._persistence = Persistence()
        self._connection: Connection | None = None
        self._connected = False
        self._was_connected = False
        self._key_was_kept = False
        self._tls: ssl.SSLContext | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def connected(self) -> bool:
        """The hub has admitted this satellite and the connection stands."""
        return self._connected

    @property
    def running(self) -> bool:
        """It is connected or trying to be."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to connect; does nothing while it runs."""
        if not self.running:
            self.failure = None
            self._task = asyncio.get_running_loop().create_task(self._run(), name="hivemind-driver")

    async def settled(self, timeout_s: float | None) -> None:
        """Wait until the hub has admitted this satellite.

        Raises HiveMindRefused or what else made the driver give up, HandshakeTimedOut after ``timeout_s``
        seconds.
        """
        try:
            await asyncio.wait_for(self._until_settled(), timeout_s)
        except asyncio.TimeoutError:
            text = f"timed out waiting for handshake. {self.explain()}".rstrip()
            raise HandshakeTimedOut(text, self.problem) from None

    async def _until_settled(self) -> None:
        while not self._connected:
            if self.failure is not None:
                raise self.failure
            if not self.running:
                raise NotConnected("the client is closed")
            await self._change()

    async def ended(self) -> None:
        """Wait until the driver has given up or was closed. Raises what made it give up."""
        while self.running:
            await self._change()
        if self.failure is not None:
            raise self.failure

    def explain(self) -> str:
        """Return what stands in the way and what to do about it, as a person reads it."""
        if self.problem is None:
            return ""
        detail = f" ({self.detail})" if self.detail and self.detail != self.problem.wire_reason else ""
        return f"{self.problem.sentence.rstrip('.')}{detail}. {self.problem.cure}"

    async def send(self, message: HiveMessage, wait_s: float = 0.0) -> None:
        """Hand a message to the socket, waiting up to ``wait_s`` seconds for a connection.

        Raises NotConnected if there is none by then or it ends first, HiveMindRefused after a refusal for
        good.
        """
        if not self._connected and wait_s > 0:
            try:
                await self.settled(wait_s)
            except HandshakeTimedOut:
                pass
        await self._in_use().send(message)

    async def ping(self, timeout_s: float) -> None:
        """Wait until the hub has read all that was sent. Raises NotConnected, also after ``timeout_s``
        seconds.
        """
        try:
            await asyncio.wait_for(self._in_use().ping(), timeout_s)
        except asyncio.TimeoutError:
            raise NotConnected(f"the hub did not answer within {timeout_s:g} s") from None

    def _in_use(self) -> Connection:
        if self._connected and self._connection is not None:
            return self._connection
        if self.failure is not None:
            raise self.failure
        raise NotConnected(f"Can not send messages before opening the websocket connection. {self.explain()}".rstrip())

    async def drop(self) -> None:
        """End the connection in use; a new one is made at once."""
        if self._connection is not None:
            await self._connection.close()

    async def close(self) -> None:
        """End the connection and make no other."""
        task, self._task = self._task, None
        if self._connection is not None:
            await self._connection.close()
        if task is not None and task is not asyncio.current_task():
            await end_tasks([task])
        self._lost()
        self._tell_waiting()

    async def _run(self) -> None:
        try:
            while True:
                ended = await self._attempt()
                if self._task is not asyncio.current_task():
                    return  # closed meanwhile; the cancellation may have been lost (see tasks.py)
                self._lost()
                if ended.key_suspect:
                    await asyncio.to_thread(self._keyring.rejected)
                delay_s = self._judge(ended)
                if delay_s is None:
                    return
                self._tell_waiting()
                await asyncio.sleep(delay_s)
        except Exception as error:
            if not isinstance(error, (OSError, HiveMindException)):
                LOG.exception("the client gives up")
            await self.drop()
            self._lost()
            self._give_up(error)

    async def _attempt(self) -> Ended:
        from .connection import Connection, Reports

        settings = self._settings
        keys = await asyncio.to_thread(self._keyring.load, settings.min_version <= RSA_PROTOCOL)
        if settings.address.secure and self._tls is None:
            self._tls = await asyncio.to_thread(_tls_context, settings.allow_self_signed)
        terms = self._terms(keys)
        only_v3 = terms.min_version >= NEWEST_PROTOCOL
        dial = Dial(
            settings.address,
            authorization(settings.useragent, settings.access_key),
            self._tls,
            settings.keepalive,
            settings.connect_timeout_s,
            MAX_FRAME_BYTES if only_v3 else MAX_LEGACY_FRAME_BYTES,
            settings.polling,
        )
        reports = Reports(self._derive, self._on_admitted, self._take_in)
        self._key_was_kept = False
        self._connection = Connection(partial(_open_wire, dial), terms, reports)
        ended = await self._connection.run()
        return replace(ended, key_was_kept=self._key_was_kept)

    def _terms(self, keys: Keys) -> ClientTerms:
        from .link import ClientTerms

        settings = self._settings
        return ClientTerms(
            static_key=keys.static,
            hello={"pubkey": keys.public_pem, **self._hooks.hello()},
            has_password=settings.has_password,
            pinned_key=keys.pinned,
            allow_kk=self._persistence.allow_kk,
            binarize=settings.binarize,
            compress=settings.compress,
            min_version=NEWEST_PROTOCOL if keys.pinned is not None else settings.min_version,
            max_version=settings.max_version,
            password=settings.password,
            rsa_key=keys.rsa,
            crypto_key=settings.crypto_key,
        )

    async def _derive(self, node_id: str) -> bytes | None:
        kept = self._persistence.use_kept_key
        psk, self._key_was_kept = await asyncio.to_thread(self._keyring.pre_shared, node_id, kept)
        return psk

    async def _on_admitted(self, opened: Opened) -> None:
        if opened.version >= NEWEST_PROTOCOL:
            await asyncio.to_thread(self._keyring.accepted, opened.remote_key)
        self._persistence.admitted()
        self._connected = self._was_connected = True
        self.problem, self.detail = None, ""
        self._log.info("connected to %s (v%d %s)", self._settings.address, opened.version, opened.pattern)
        self._hooks.agreed(opened)
        self._hooks.changed("open", ())
        self._tell_waiting()

    def _take_in(self, message: HiveMessage, size: int) -> None:
        try:
            self._hooks.received(message, size)
        except Exception:  # what one message does must not end the satellite
            LOG.exception("a message could not be taken in")

    def _lost(self) -> None:
        """Note that there is no connection any more."""
        self._connection = None
        if self._connected:
            self._connected = False
            self._log.info("the connection to %s has ended", self._settings.address)
            self._hooks.changed("close", ())

    def _judge(self, ended: Ended) -> float | None:
        """Return how long to wait before the next attempt; None if there is to be none."""
        if ended.refusal != self.problem:
            self._tell(ended)
        self.problem, self.detail = ended.refusal, ended.detail
        delay_s = self._persistence.after(ended)
        if delay_s is None and ended.refusal is not None:
            self._give_up(HiveMindRefused(ended.refusal, ended.detail))
            return None
        if not ended.admitted and delay_s:
            self._hooks.changed("error", (HubUnreachable(self.explain()),))
        if delay_s:
            self._hooks.changed("reconnecting", ())
        return delay_s

    def _tell(self, ended: Ended) -> None:
        from .log_lines import refusal_fields

        refusal, address = ended.refusal, str(self._settings.address)
        fields = refusal_fields(refusal.code, address, refusal.cure) if refusal is not None else {}
        code = f" [{refusal.code}]" if refusal is not None else ""
        self._log.warning("%s: %s%s", address, refusal or ended.detail, code, extra=fields)

    def _give_up(self, error: Exception) -> None:
        self.failure = error
        self._task = None
        if isinstance(error, HiveMindRefused):
            self._hooks.changed("auth_rejected", (str(error.refusal),))
        else:
            self._hooks.changed("error", (error,))
        self._tell_waiting()

    async def _change(self) -> None:
        """Wait for the state to change."""
        self._waiting.append(changed := asyncio.get_running_loop().create_future())
        await changed

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for changed in waiting:
            if not changed.done():
                changed.set_result(None)


async def _open_wire(dial: Dial) -> Wire:
    if dial.address.http:
        from .http_wire import open_http

        return await open_http(dial)
    from .websocket_wire import open_websocket

    return await open_websocket(dial)


def _tls_context(allow_self_signed: bool) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    if allow_self_signed:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
