"""How the hub and its process stand at this moment, as figures; read only when somebody asks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from hivemind_bus_client.version import __version__

from .mailbox_service import Mailbox
from .metrics import Family, gauge, total
from .workers import ThreadWorkers

if TYPE_CHECKING:
    from .cluster.cluster import Cluster
    from .hub import Hub

_STARTED_AT = time.time()


def families(hub: Hub, cluster: Cluster | None) -> Iterator[Family]:
    """Return all figures of a hub."""
    yield gauge("hivemind_info", "The version of this hub", {__version__: 1}, "version")
    yield from _connections(hub)
    yield from _surroundings(hub, cluster)
    yield from hub.meter.families()
    if isinstance(hub.mailbox, Mailbox):
        yield hub.mailbox.refused.family()
    yield from _process()


def _connections(hub: Hub) -> Iterator[Family]:
    everyone = hub.peers.connections()
    registered, handshaking = len(hub.peers), len(hub.door.handshaking)
    states = {
        "handshake": handshaking,
        "open": max(0, len(everyone) - registered - handshaking),
        "registered": registered,
    }
    yield gauge(
        "hivemind_connections",
        "Connections: in their handshake, open (nothing said yet), registered (they take part)",
        states,
        "state",
    )
    queued = [peer.conn.queued for peer in everyone]
    yield gauge("hivemind_send_queue_frames", "Frames that wait for slow readers, of all together", sum(queued))
    yield gauge("hivemind_send_queue_frames_max", "The same of the slowest reader", max(queued, default=0))
    waiting = hub.workers.waiting if isinstance(hub.workers, ThreadWorkers) else {}
    yield gauge("hivemind_worker_queue", "Calls that wait for a thread, or are under way in one", waiting, "worker")


def _surroundings(hub: Hub, cluster: Cluster | None) -> Iterator[Family]:
    yield gauge("hivemind_ready", "The hub takes connections", int(hub.ready))
    yield gauge(
        "hivemind_agent_available", "The assistant can be reached", {hub.agent.name: hub.agent.available}, "agent"
    )
    yield gauge("hivemind_agent_queue", "Messages that wait for the bus of the assistant", hub.agent.queued)
    problem = hub.admission.database_problem
    yield gauge("hivemind_database_available", "The client database can be read", int(not problem))
    yield gauge("hivemind_database_writable", "The last write to it succeeded", int(not hub.db.write_problem))
    age = max(0.0, hub.clocks.monotonic() - hub.admission.database_read_at)
    yield gauge("hivemind_database_read_age_seconds", "Since when the client database was not read", age)
    yield gauge("hivemind_clients", "Clients that may join", len(hub.db))
    if hub.parent is not None:
        yield gauge("hivemind_upstream_available", "The hub above is joined", int(hub.parent.available))
    if cluster is not None:
        yield gauge("hivemind_cluster_available", "The other hubs can be reached", int(cluster.available))
        yield gauge("hivemind_cluster_members", "Hubs of the cluster, this one included", 1 + len(cluster.others()))
        yield gauge("hivemind_cluster_leads", "This hub leads the cluster", int(cluster.leads))


def _process() -> Iterator[Family]:
    yield gauge("process_start_time_seconds", "When the process started (Unix time)", _STARTED_AT)
    yield total("process_cpu_seconds_total", "Processor time of the process", time.process_time())
    with suppress(OSError, ValueError, IndexError):  # where there is no /proc
        with open("/proc/self/statm", encoding="ascii") as statm:
            resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        yield gauge("process_resident_memory_bytes", "Memory of the process", resident)
        yield gauge("process_open_fds", "Open file descriptors", len(os.listdir("/proc/self/fd")))
        import resource

        yield gauge("process_max_fds", "File descriptors it may open", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
