"""This hub as a client of the hub above: it joins it, keeps joined, and carries messages both ways.

What becomes of the messages is decided elsewhere (`mesh`). The hub above sees an ordinary client, with the identity
that this hub has towards its own satellites; its key is pinned in this hub's identity file.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from hivemind_bus_client import codec, denials
from hivemind_bus_client.credentials import DEFAULT_USERAGENT
from hivemind_bus_client.driver import PASSWORD_PROTOCOL, Driver, Hooks, Settings
from hivemind_bus_client.exceptions import HiveMindException, NotConnected
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.keepalive import websocket_keepalive_options
from hivemind_bus_client.keyring import Keyring
from hivemind_bus_client.link import Opened
from hivemind_bus_client.log_lines import refusal_fields
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.noise import PROTOCOL_V3
from hivemind_bus_client.refusals import HiveMindRefused
from hivemind_bus_client.session import UNKNOWN_SITE, Session
from hivemind_bus_client.tasks import end_tasks

from .limits import Remembered
from .own_address import Listener, is_own
from .upstream_config import UpstreamConfig
from .upstream_texts import cure, kicked_for, told

log = logging.getLogger(__name__)
_DRIVER_LOG = logging.getLogger(f"{__name__}.driver")
_DRIVER_LOG.setLevel(logging.CRITICAL)  # it words everything for satellites; here it is worded for hubs

MAX_WAITING = 1_000
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""What may wait to go up, besides the message that is on its way."""
HELD_BACK_S = 60.0
"""How long nothing of a type goes up after the hub above ended the connection for it: one satellite with a right that
this hub does not have up there must not keep all others from it."""
RETRY_S = 30.0
"""After a fault of this machine: no connection was tried."""
CONNECT_TIMEOUT_S = 30.0
MAX_KINDS = 64
"""Denials and kicks that are told; each kind is told once."""


class Upstream:
    """The hub above. `start` it once; all is used on one event loop."""

    def __init__(
        self,
        config: UpstreamConfig,
        identity: NodeIdentity,
        listeners: Sequence[Listener] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = config.address
        self.node_id = ""
        """The public key (PEM) that the hub above announced; empty before the first session."""
        self._identity = identity
        self._listeners = listeners
        self._monotonic = monotonic
        self._session = Session(str(uuid4()), identity.site_id or UNKNOWN_SITE)
        self._receive: Callable[[HiveMessage], None] = lambda message: None
        self._lost: Callable[[], None] = lambda: None
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: deque[tuple[HiveMessage, int]] = deque()
        self._waiting_bytes = 0
        self._something_waits = asyncio.Event()
        self._is_full = False
        self._held_back: Remembered[str, float] = Remembered(MAX_KINDS)
        self._told: set[tuple[str, str]] = set()
        self._problem = ""
        keyring = Keyring(identity, self.address.pin_id, config.key, config.password)
        hooks = Hooks(self._hello, self._received, self._changed, self._agreed)
        self._driver = Driver(settings_of(config), keyring, hooks, _DRIVER_LOG)

    def __repr__(self) -> str:
        return f"Upstream({str(self.address)!r})"

    # what the hub asks

    @property
    def available(self) -> bool:
        """A message can go up right now."""
        return self._driver.connected and not self._is_over

    def send(self, message: HiveMessage) -> bool:
        """Hand over a message. Never blocks, never raises. False: it cannot go up now, and went nowhere."""
        if not self.available or self._is_held_back(message):
            return False
        size = _size(message)
        if size is None:
            return False
        if self._waiting and (len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES):
            if not self._is_full:
                log.warning("the hub above at %s reads too slowly; messages to it are dropped", self.address)
            self._is_full = True
            return False
        self._waiting.append((message, size))
        self._waiting_bytes += size
        self._something_waits.set()
        return True

    def _is_held_back(self, message: HiveMessage) -> bool:
        until = self._held_back.get(str(getattr(message.msg_type, "value", message.msg_type)))
        return until is not None and self._monotonic() < until

    async def start(self, receive: Callable[[HiveMessage], None], lost: Callable[[], None]) -> None:
        """Begin to join, and return.

        `receive` is called on the loop with every message from above, in order; `lost` when a session has ended.
        """
        self._receive, self._lost = receive, lost
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep()), loop.create_task(self._write())]

    async def stop(self) -> None:
        """Leave for good."""
        self._is_over = True
        await end_tasks(self._tasks)
        await self._driver.close()

    # the connection

    async def _keep(self) -> None:
        """Keep joined, until refused for good."""
        if await is_own(self.address, self._listeners):
            self._is_self()
            return
        log.info("joining the hub above at %s", self.address)
        while True:
            self._driver.start()
            try:
                await self._driver.ended()
                return
            except HiveMindRefused as error:
                log.error(
                    "this hub does not join the hub above at %s: %s",
                    self.address,
                    told(error.refusal, self._driver.detail, **self._places()),
                )
                return
            except (OSError, HiveMindException) as error:
                log.error("the hub above at %s cannot be joined: %s", self.address, error)
            except Exception:  # top of a task
                log.exception("the hub above at %s cannot be joined", self.address)
            await asyncio.sleep(RETRY_S)

    def _is_self(self) -> None:
        log.error(
            "the hub above at %s is this hub itself, so it joins none; correct `upstream` in server.json and restart"
            " this hub.",
            self.address,
        )

    def _places(self) -> dict[str, str]:
        return {"server": self.address.pin_id, "identity": self._identity.IDENTITY_FILE.path}

    def _hello(self) -> dict[str, Any]:
        return {"session": self._session.serialize(), "site_id": self._session.site_id}

    def _agreed(self, opened: Opened) -> None:
        announced = next((opened.hub[key] for key in ("pubkey", "node_id") if opened.hub.get(key)), "")
        if not isinstance(announced, str):
            return
        self.node_id = announced
        own = self._identity.public_key
        if own and announced.strip() == own.strip():
            self._is_over = True
            self._is_self()
            self._tasks.append(asyncio.ensure_future(self._driver.close()))

    def _changed(self, event: str, args: tuple[Any, ...]) -> None:
        if self._is_over:
            return
        if event == "open":
            self._problem = ""
            log.info("joined the hub above at %s", self.address)
        elif event == "close":
            self._forget_waiting()
            log.info("the connection to the hub above at %s has ended", self.address)
            _guarded(self._lost)
        elif event == "reconnecting":
            self._explain()

    def _explain(self) -> None:
        """Say why there is no connection, once for each reason."""
        refusal, detail = self._driver.problem, self._driver.detail
        kicked = kicked_for(detail)
        if kicked:
            self._held_back.put(kicked, self._monotonic() + HELD_BACK_S)
        if refusal is None or refusal.code == self._problem:
            return
        self._problem = refusal.code
        if not kicked or self._is_new("kick", kicked):
            places = self._places()
            fields = refusal_fields(refusal.code, str(self.address), cure(refusal, **places))
            said = told(refusal, detail, **places)
            log.warning("the hub above at %s: %s [%s]", self.address, said, refusal.code, extra=fields)

    def _is_new(self, kind: str, what: str) -> bool:
        if (kind, what) in self._told or len(self._told) >= MAX_KINDS:
            return False
        self._told.add((kind, what))
        return True

    # up

    async def _write(self) -> None:
        while True:
            while self._waiting:
                message, size = self._waiting.popleft()
                self._waiting_bytes -= size
                try:
                    await self._driver.send(message)
                except (NotConnected, HiveMindRefused):
                    continue
                except Exception:  # top of one message's handling
                    log.exception("a message could not be sent to the hub above")
            self._something_waits.clear()
            self._is_full = False
            await self._something_waits.wait()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    # down

    def _received(self, message: HiveMessage, size: int) -> None:
        if message.msg_type == HiveMessageType.BUS and message.body.get("type") == "hive.policy.denied":
            self._denied(message.body.get("data"))
        _guarded(self._receive, message)

    def _denied(self, data: Any) -> None:
        """Log what the hub above did not let through."""
        told_of = data if isinstance(data, dict) else {}
        what, code, reason = (str(told_of.get(key, ""))[:200] for key in ("denied_type", "code", "reason"))
        if self._is_new("denial", f"{what} {code}"):
            fields = refusal_fields(code, str(self.address), denials.cure(code, what))
            said = "the hub above at %s denied %r of this hub: %r (%s)"
            log.warning(said, self.address, what, reason, code, extra=fields)


def _guarded(call: Callable[..., None], *args: Any) -> None:
    """Call what is not ours; its failure must not end the connection."""
    try:
        call(*args)
    except Exception:
        log.exception("could not handle what came from the hub above")


def _size(message: HiveMessage) -> int | None:
    """Return how many bytes a message takes; None if it cannot be sent."""
    if message.msg_type == HiveMessageType.BINARY:
        return len(message.body)
    try:
        return len(codec.dumps_bytes(message.as_dict))
    except (TypeError, ValueError, RecursionError) as error:
        log.warning("a message cannot be sent to the hub above: %s", error)
        return None


def settings_of(config: UpstreamConfig) -> Settings:
    """Return how the driver joins the hub above."""
    return Settings(
        address=config.address,
        access_key=config.key,
        has_password=True,
        useragent=DEFAULT_USERAGENT,
        allow_self_signed=config.self_signed,
        binarize=True,
        compress=None,
        keepalive=websocket_keepalive_options(),
        connect_timeout_s=CONNECT_TIMEOUT_S,
        min_version=PASSWORD_PROTOCOL,
        max_version=PROTOCOL_V3,
        password=config.password,
    )


def above(config: UpstreamConfig, identity: Path, listeners: Sequence[Listener]) -> Upstream | None:
    """Return the hub above as the configuration names it; None where there is none, or cannot be.

    `identity` is where the hub's own identity is.
    """
    if not config.enabled:
        return None
    if config.missing:
        log.error(
            "%s in server.json has no value, so this hub joins no other; `hivemind-core add-client` on the hub above"
            " prints both.",
            config.missing,
        )
        return None
    return Upstream(config, NodeIdentity(identity), listeners)
