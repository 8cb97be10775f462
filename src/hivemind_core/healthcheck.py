"""``hivemind-core healthcheck``: does the hub of this machine answer? For containers and other supervisors.

It opens a WebSocket at ``/_healthz`` and reads the greeting, which comes from the loop that serves the satellites
(docs/protocol.md 5.1). No access key takes part, so nothing is counted against anybody. Whatever answers there, it is
over in time.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import click

from hivemind_bus_client.log_lines import printable

from .config import Config, HTTPConfig, WebSocketConfig
from .console import Failure, configuration
from .whereabouts import as_it_runs

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where to knock at a hub that listens at every address."""
PATH = "/_healthz"
TIMEOUT_S = 5.0


class Unhealthy(Failure):
    """The hub does not answer as a hub does; the text says where and what came instead."""


@click.command()
@click.option("--host", help="Address it listens at (default: as configured).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port it listens at (default: as configured).")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1, 3600), default=TIMEOUT_S, show_default=True, help="Seconds."
)
def healthcheck(host: str | None, port: int | None, timeout_s: float) -> None:
    """Ask the hub of this machine for its greeting; exit with 0 when it comes, else with 1."""
    front = front_of(configuration(), host, port)
    url = f"{front.scheme}://{_bracketed(ANYWHERE.get(front.host, front.host))}:{front.port}{PATH}"
    try:
        _in_time(PROBES[type(front)], url, timeout_s)
    except (OSError, ValueError) as error:
        why = printable(str(error)) or type(error).__name__
        raise Unhealthy(f"The hub at {url} is not healthy: {why}.") from None
    click.echo(f"The hub at {url} is healthy.")


def front_of(config: Config, host: str | None, port: int | None) -> WebSocketConfig | HTTPConfig:
    """Return where to knock: as named, else where a hub of this account says it listens, else as configured."""
    front = config.front if host or port else as_it_runs(config).front
    return replace(front, host=host or front.host, port=port or front.port)


def greeting(text: str | bytes) -> str:
    """Return the node id in a HELLO. Raises ValueError."""
    try:
        message: Any = json.loads(text)
    except RecursionError:
        raise ValueError("what it sent is no greeting") from None
    payload = message.get("payload") if isinstance(message, dict) and message.get("msg_type") == "hello" else None
    node_id = payload.get("node_id") if isinstance(payload, dict) else None
    if not isinstance(node_id, str) or not node_id:
        raise ValueError("what it sent is no greeting")
    return node_id


def probe_websocket(url: str, timeout_s: float) -> None:
    """Read the greeting. Raises OSError, ValueError."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    context = _any_certificate() if url.startswith("wss:") else None
    try:
        with connect(url, ssl=context, open_timeout=timeout_s, close_timeout=1, proxy=None, compression=None) as ws:
            greeting(ws.recv(timeout_s))
    except WebSocketException as error:
        raise ValueError(str(error)) from None


def probe_http(url: str, timeout_s: float) -> None:
    """Get 204. Raises OSError, ValueError."""
    where = urlsplit(url)
    port, host = where.port, where.hostname or ""
    connection: HTTPConnection = HTTPConnection(host, port, timeout=timeout_s)
    if where.scheme == "https":
        connection = HTTPSConnection(host, port, timeout=timeout_s, context=_any_certificate())
    try:
        connection.request("GET", where.path)
        status = connection.getresponse().status
    except HTTPException as error:
        raise ValueError(f"what it sent is no answer ({type(error).__name__})") from None
    finally:
        connection.close()
    if status != 204:
        raise ValueError(f"it answers {status}")


PROBES: dict[type, Callable[[str, float], None]] = {WebSocketConfig: probe_websocket, HTTPConfig: probe_http}


def _in_time(probe: Callable[[str, float], None], url: str, timeout_s: float) -> None:
    """Probe in a thread that is left behind where it takes too long: one time limit for all of it, not for each part.

    Raises what the probe does, and OSError.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            probe(url, timeout_s)
            outcome.set_result(None)
        except Exception as error:  # noqa: BLE001 - top of a thread; it is raised in the other
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        outcome.result(timeout_s)
    except futures.TimeoutError:
        raise OSError(f"it did not answer within {timeout_s:g} s") from None


def _any_certificate() -> ssl.SSLContext:
    """The certificate is the hub's own and may be made out to any name: this is the same machine."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


COMMANDS = (healthcheck,)
