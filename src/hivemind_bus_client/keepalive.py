"""WebSocket pings: how often, and how long to wait for the answer (docs/protocol.md 5.3)."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence

LOG = logging.getLogger(__name__)

DEFAULT_WEBSOCKET_PING_INTERVAL = 25.0
DEFAULT_WEBSOCKET_PING_TIMEOUT = 10.0

CLIENT_PING_INTERVAL_ENVS = ("HIVEMIND_WEBSOCKET_CLIENT_PING_INTERVAL", "HIVEMIND_WEBSOCKET_PING_INTERVAL")
CLIENT_PING_TIMEOUT_ENVS = ("HIVEMIND_WEBSOCKET_CLIENT_PING_TIMEOUT", "HIVEMIND_WEBSOCKET_PING_TIMEOUT")


def _seconds(value: float | str | None, envs: Sequence[str], default: float) -> float:
    """The value given, else the first environment variable that is set, else the default."""
    named: list[tuple[str, float | str]] = [("the argument", value)] if value is not None else []
    named += [(name, os.environ[name]) for name in envs if os.environ.get(name)]
    if not named:
        return default
    name, chosen = named[0]
    try:
        seconds = float(chosen)
    except (TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        LOG.warning("%s is not a number of seconds: %r; using %g", name, chosen, default)
        return default
    return seconds


def websocket_keepalive_options(
    ping_interval: float | str | None = None,
    ping_timeout: float | str | None = None,
    interval_envs: Sequence[str] = CLIENT_PING_INTERVAL_ENVS,
    timeout_envs: Sequence[str] = CLIENT_PING_TIMEOUT_ENVS,
    disabled_interval_value: float | None = 0,
) -> dict[str, float | None]:
    """Return ``ping_interval`` and ``ping_timeout`` in seconds for a WebSocket library.

    An interval of 0 or less disables pings: only ``{"ping_interval": disabled_interval_value}`` is returned.
    A timeout of 0 or less waits for ever (None); one that is not shorter than the interval becomes half of
    it.
    """
    interval_s = _seconds(ping_interval, interval_envs, DEFAULT_WEBSOCKET_PING_INTERVAL)
    timeout_s = _seconds(ping_timeout, timeout_envs, DEFAULT_WEBSOCKET_PING_TIMEOUT)
    if interval_s <= 0:
        return {"ping_interval": disabled_interval_value}
    if timeout_s <= 0:
        return {"ping_interval": interval_s, "ping_timeout": None}
    if timeout_s >= interval_s:
        timeout_s = max(0.1, interval_s / 2)
    return {"ping_interval": interval_s, "ping_timeout": timeout_s}
