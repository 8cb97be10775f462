"""HiveMind for satellites: connect to a hub and exchange messages with it.

The names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .async_client import AsyncHiveMessageBusClient, AsyncHiveMessageWaiter, AsyncHivePayloadWaiter
    from .client import HiveMessageBusClient
    from .http_client import HiveMindHTTPClient
    from .message import HiveMessage, HiveMessageType

__all__ = [
    "AsyncHiveMessageBusClient",
    "AsyncHiveMessageWaiter",
    "AsyncHivePayloadWaiter",
    "HiveMessage",
    "HiveMessageBusClient",
    "HiveMessageType",
    "HiveMindHTTPClient",
]

_HOMES = {
    "AsyncHiveMessageBusClient": "async_client",
    "AsyncHiveMessageWaiter": "async_client",
    "AsyncHivePayloadWaiter": "async_client",
    "HiveMessage": "message",
    "HiveMessageBusClient": "client",
    "HiveMessageType": "message",
    "HiveMindHTTPClient": "http_client",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
