"""The hub as a service: the one place that knows every part, puts them together, and runs them."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hivemind_bus_client.sd_notify import Notifier

from . import quick_start, readiness, upstream, whereabouts
from .agents import Agent, create_agent
from .audit import HUB, Author
from .audit_log import AuditLog, audit_path
from .audit_noticed import NoticedChanges
from .binary import create_binary
from .chatroom_process import ChatroomProcess
from .clocks import Clocks, SteadyWall
from .config import Config, ConfigError
from .config_values import Values
from .database import open_database
from .descriptors import allow_files
from .garbage import Collector
from .hub import Hub
from .hub_identity import HubIdentity, identity_path, load_identity
from .live_config import LiveConfig
from .mailbox_service import open_mailbox
from .own_address import Listener
from .ownership import explained
from .plugins import build_policies
from .storage import StorageError
from .supervision import Supervision
from .surroundings import Parent
from .transports import BindError, Transport
from .transports.http import HTTPTransport
from .transports.http_elsewhere import Elsewhere
from .transports.websocket import WebSocketTransport

if TYPE_CHECKING:
    from .admin import AdminServer
    from .cluster.cluster import Cluster
    from .cluster.membership import Membership

log = logging.getLogger(__name__)

TICK_S = 1.0
REFRESH_S = 0.5
STORE_PATIENCE_S = 2.0
"""Whoever keeps the client database locked does not hold up for long what else is asked of it."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2


class Service:
    """A hub with its transports, started and stopped as one; it is ready while it listens."""

    def __init__(
        self,
        hub: Hub,
        transports: Sequence[Transport],
        cluster: Cluster | None = None,
        noticed: NoticedChanges | None = None,
    ) -> None:
        """`cluster` is the hub's part in its cluster, `noticed` what is told of changes by others."""
        self.hub = hub
        self.refused: Callable[[str], None] = lambda why: log.error("%s", why)
        """Told why this hub must not run any more."""
        self._cluster = cluster
        self._membership: Membership | None = None
        self.hub.ready = False
        self.transports = list(transports)
        self._unbound: list[BindError] = []
        self.admin = self._admin()
        """Where the hub tells how it is; None: nowhere."""
        self._live = LiveConfig(hub.config)
        self._garbage = Collector()
        self._noticed = noticed
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen. Raises BindError when no transport could, ConfigError for a hub that is no member of its cluster."""
        if self.admin is not None:
            await self.admin.start()
        try:
            await self._start()
        except BaseException:
            if self.admin is not None:
                await self.admin.stop()
            raise

    async def _start(self) -> None:
        await self._check_member()
        await self.hub.start()
        failed = self._unbound
        for transport in list(self.transports):
            try:
                await transport.start()
            except BindError as error:
                failed.append(error)
                self.transports.remove(transport)
        if not self.transports:
            await self.hub.stop()
            raise failed[0]
        for unbound in failed:
            log.error("%s", unbound)
        self.hub.ready = True
        self._tell_cluster()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._ticks()), loop.create_task(self._refreshes())]
        self._garbage.start()

    async def stop(self) -> None:
        """Drain: close frames, disconnect events, then everything else."""
        self.hub.ready = False
        self._garbage.stop()
        for task in self._tasks:
            task.cancel()
        for transport in self.transports:
            await transport.stop()
        if self._membership is not None:
            await self._membership.stop()
        await self._write_noticed(at_once=True)
        await self.hub.stop()
        if self.admin is not None:
            await self.admin.stop()

    def _admin(self) -> AdminServer | None:
        config = self.hub.config.admin
        if config is None:
            return None
        from . import admin, hub_metrics

        return admin.AdminServer(config, self.parts, lambda: hub_metrics.families(self.hub, self._cluster))

    def parts(self) -> list[readiness.Part]:
        """Tell what works of the hub, and why the rest does not."""
        hub = self.hub
        silent_s = hub.clocks.monotonic() - hub.admission.database_read_at
        found = [
            readiness.database(hub.admission.database_problem, silent_s, hub.db.write_problem),
            readiness.agent(hub.agent.name, available=hub.agent.available),
            readiness.transports(serving=hub.ready, unbound=map(str, self._unbound)),
        ]
        found += [] if hub.parent is None else [readiness.upstream(available=hub.parent.available)]
        return found if self._cluster is None else [*found, readiness.cluster(available=self._cluster.available)]

    async def _check_member(self) -> None:
        if self.hub.config.cluster is not None:
            from .cluster import joining

            await joining.check(self.hub.config.cluster, self.hub.identity)

    def _tell_cluster(self) -> None:
        config = self.hub.config.cluster
        if self._cluster is None or config is None:
            return
        from .cluster import joining

        address = self.transports[0].address
        self._membership = joining.membership(self._cluster, config, self.hub.identity, address, self.refused)
        self._membership.start()

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.hub.tick()
                self._garbage.tick()
            except Exception:  # top of a task
                log.exception("the hub's clock tick failed")

    async def _write_noticed(self, *, at_once: bool = False) -> None:
        if self._noticed is None:
            return
        is_read = not self.hub.admission.database_problem
        await self.hub.workers.database(partial(self._noticed.write, is_read=is_read, at_once=at_once))

    async def _refreshes(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.hub.refresh()
                await self._write_noticed()
                changed = await self.hub.workers.database(self._live.look)
                if changed is not None:
                    self.hub.reconfigure(changed)
            except Exception:  # top of a task
                log.exception("the hub could not take in changed clients or settings")


def build(config: Config) -> Service:
    """Put the parts together. Raises ConfigError, StorageError."""
    identity = load_identity()
    identity = replace(identity, site_id=config.site_id or identity.site_id)
    _check_redis(config)
    db = open_database(config)
    db.store.serve(STORE_PATIENCE_S)
    audit_log = AuditLog(audit_path())
    db.changed, noticed = audit_log.recorder(Author(HUB)), NoticedChanges(audit_log)
    db.noticed = noticed.notice
    hub: Hub

    def names() -> list[str]:
        return [peer.client.name or peer.useragent for peer in hub.peers]

    agent: Agent = create_agent(config.agent_module, config.agent, names)
    cluster, parent = _company(config, identity, agent)
    binary = create_binary(config.binary_module, Values(str(config.path), config.raw))
    mailbox = open_mailbox(config.rendezvous, identity.node_id, config.cluster)
    policies = build_policies(config.policy_chain)
    parts: dict[str, Any] = {"parent": parent, "mailbox": mailbox, "binary": binary, "company": cluster}
    hub = Hub(config, identity, db, agent, policies, clocks=Clocks(steady=SteadyWall()), **parts)
    return Service(hub, _transports(hub, config, cluster), cluster, noticed)


def _check_redis(config: Config) -> None:
    if config.cluster is not None:
        from .cluster import vault

        vault.check_installed()


def _company(config: Config, identity: HubIdentity, agent: Agent) -> tuple[Cluster | None, Parent | None]:
    """Return the hub's part in its cluster, if it has one, and the hub above."""

    def above() -> Parent | None:
        return upstream.above(config.upstream, identity_path(), _listeners(config))

    if config.cluster is None:
        return None, above()
    from .cluster import joining

    cluster = joining.join(config.cluster, identity, agent)
    return cluster, joining.shared(cluster, above)


def _transports(hub: Hub, config: Config, cluster: Cluster | None) -> list[Transport]:
    """Return the transports that server.json names; the one that satellites are told of is the first."""
    found: list[Transport] = [WebSocketTransport(hub, config.websocket)] if config.serves_websocket else []
    return found if config.http is None else [*found, HTTPTransport(hub, config.http, _elsewhere(cluster))]


def _elsewhere(cluster: Cluster | None) -> Elsewhere | None:
    """Return what the HTTP transport needs of the other hubs."""
    if cluster is None:
        return None
    from .cluster.steering import Steering

    return Steering(cluster)


def _listeners(config: Config) -> list[Listener]:
    found = [Listener(config.websocket.host, config.websocket.port)] if config.serves_websocket else []
    return found if config.http is None else [*found, Listener(config.http.host, config.http.port)]


def _stop_signals() -> asyncio.Event:
    """Return what is set by the signals that end a hub."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            loop.add_signal_handler(number, stop.set)
    return stop


async def _built(config: Config, stop: asyncio.Event) -> Service | None:
    """Build the service; in a cluster as soon as Redis answers. None where it is to stop before."""
    if config.cluster is None:
        return build(config)
    _check_redis(config)
    from .cluster import joining

    return await joining.when_redis_answers(lambda: build(config), config, stop)


async def _serve(config: Config, greet: bool) -> int:
    notifier = Notifier.from_environment()
    stop = _stop_signals()
    service = await _built(config, stop)
    if service is None:
        return EXIT_OK
    refused: list[str] = []

    def end(why: str) -> None:
        refused.append(why)
        stop.set()

    service.refused = end
    await service.start()
    for transport in service.transports:
        log.info("listening on %s", transport.address)
    front = service.transports[0]
    supervision = Supervision(service.hub, notifier, front.address)
    if isinstance(front, HTTPTransport):  # the WebSocket may be meant to be served, too, and its port in use
        config = replace(config, serves_websocket=False)
        service.hub.reconfigure(config)
    room: ChatroomProcess | None = None
    if greet:
        quick_start.greet(service.hub, front.port)
        room = await quick_start.open_chatroom(service.hub, front.port)
    whereabouts.announce(config, front.port)
    supervision.start()
    await stop.wait()
    supervision.stop()
    log.info("shutting down")
    if room is not None:
        await room.stop()
    whereabouts.withdraw()
    await service.stop()
    if refused:
        raise ConfigError(refused[0])
    return EXIT_OK


def run(config: Config, quick_start: bool = False) -> int:
    """Run a hub until SIGINT, SIGTERM or SIGHUP; return the exit code of the process.

    0 after an orderly end, 1 when it cannot run (no transport could listen, unreadable database), 2 for a
    configuration that cannot be used. What went wrong is one line on stderr.
    """
    allow_files()
    try:
        return _run(_serve(config, quick_start))
    except ConfigError as error:
        return _failed(error, EXIT_USAGE)
    except (BindError, StorageError) as error:
        return _failed(error, EXIT_FAILED)


def _failed(error: Exception, code: int) -> int:
    print(f"Error: {explained(error)}", file=sys.stderr)
    return code


def _run(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where it exists, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return int(uvloop.run(main))
