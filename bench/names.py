"""What is measured, by the names that tables have for it."""

from __future__ import annotations

from .report import OURS

RELEASED = "released-hub"
EMBEDDED, OVOS_BUS = "ours, embedded bus", "ours, OVOS bus"
RELEASED_OVOS_BUS = "released-hub, OVOS bus"
BARE, RELAY = "bare echo", "bare relay"

OUR_HUBS = (OURS, EMBEDDED, OVOS_BUS)
AT_OVOS_BUS = (OVOS_BUS, RELEASED_OVOS_BUS)
FLOORS = (BARE, RELAY)
"""What is no hub."""
PASSWORD = "correct horse battery staple 42"

__all__ = [
    "AT_OVOS_BUS",
    "BARE",
    "EMBEDDED",
    "FLOORS",
    "OURS",
    "OUR_HUBS",
    "OVOS_BUS",
    "PASSWORD",
    "RELAY",
    "RELEASED",
    "RELEASED_OVOS_BUS",
]
