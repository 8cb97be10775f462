"""The block `upstream` of server.json: the hub above this one, and how this hub joins it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hivemind_bus_client.address import Address, parse_address

from .config_values import ConfigError, Values

BLOCK = "upstream"
DEFAULTS: dict[str, Any] = {
    "enabled": False,
    "host": "127.0.0.1",
    "port": 5678,
    "key": "",
    "password": "",
    "ssl": False,
    "self_signed": True,
}


@dataclass(frozen=True)
class UpstreamConfig:
    """Which hub this one joins as a client."""

    enabled: bool = False
    address: Address = field(default_factory=lambda: Address("127.0.0.1"))
    key: str = field(default="", repr=False)
    """The access key of this hub's row in the database of the hub above."""
    password: str = field(default="", repr=False)
    self_signed: bool = True
    """Accept any TLS certificate: the session inside proves who the hub above is."""

    @property
    def missing(self) -> str:
        """Which keys it cannot do without and that have no value, for people; empty where nothing is missing."""
        given = {"key": self.key, "password": self.password}
        return " and ".join(f"`{BLOCK}.{name}`" for name, value in given.items() if not value)


def read(file: str, values: Values) -> UpstreamConfig:
    """Return what the block says; what is wrong in it counts only where it is enabled. Raises ConfigError."""
    block = values.get((BLOCK,), "an object", lambda value: isinstance(value, dict) or value is False, {})
    if not block or not values.flag(BLOCK, "enabled"):
        return UpstreamConfig()
    host = values.text(BLOCK, "host", expected="an address")
    try:
        found = parse_address(host, values.port(BLOCK, "port"))
    except ValueError as error:
        raise ConfigError(f"{file}: `{BLOCK}.host` and `{BLOCK}.port`: {error}.") from None
    return UpstreamConfig(
        enabled=True,
        address=Address(found.host, found.port, found.secure or values.flag(BLOCK, "ssl")),
        key=_secret(file, block, "key"),
        password=_secret(file, block, "password"),
        self_signed=values.flag(BLOCK, "self_signed"),
    )


def _secret(file: str, block: Mapping[str, Any], name: str) -> str:
    """Return a text that no message may show."""
    value = block.get(name) or ""
    if not isinstance(value, str):
        raise ConfigError(f"{file}: `{BLOCK}.{name}` must be text.")
    return value
