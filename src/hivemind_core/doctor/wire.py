"""A connection to a message bus, as the checks need one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hivemind_bus_client.doctor.door import any_certificate

from ..agents.busclient import BusAddress
from ..agents.busserver import VISITOR

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

OPEN_S = 4.0
MAX_FRAME = 32 * 1024 * 1024


@contextmanager
def connected(address: BusAddress) -> Iterator[ClientConnection]:
    """Connect for as long as the block runs. Raises OSError, WebSocketException."""
    from websockets.sync.client import connect

    context = any_certificate() if address.ssl else None
    options: dict[str, Any] = {"ssl": context, "proxy": None, "compression": None, "max_size": MAX_FRAME}
    options["additional_headers"] = {VISITOR: "doctor"}
    with connect(address.url, open_timeout=OPEN_S, close_timeout=1, **options) as bus:
        yield bus


def read(frame: str | bytes) -> dict[str, Any]:
    """Return a message of the bus; an empty one for what is none."""
    try:
        value = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
