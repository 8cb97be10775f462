"""The block `admin` of server.json: where the hub tells its operator how it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from .config_values import ConfigError, Values
from .proxies import is_loopback

BLOCK = "admin"
DEFAULT_HOST = "127.0.0.1"
LEAST_TOKEN, MOST_TOKEN = 16, 256
"""Characters of a token."""


@dataclass(frozen=True)
class AdminConfig:
    """Where it is told, and to whom."""

    port: int
    """0 takes any free one."""
    host: str = DEFAULT_HOST
    token: str = field(default="", repr=False)
    """Who asks has to bring it; empty: whoever reaches the address may ask."""

    @property
    def is_loopback(self) -> bool:
        """Only this machine reaches it."""
        return is_own_machine(self.host)


def read(file: str, values: Values) -> AdminConfig | None:
    """Return what the block says; None where there is none or nothing in it. Raises ConfigError."""
    block = {key: value for key, value in values.object(BLOCK).items() if value is not None}
    if not block:
        return None
    port = values.port(BLOCK, "port")
    host = values.get((BLOCK, "host"), "an address", lambda value: isinstance(value, str) and value != "", DEFAULT_HOST)
    token = block.get("token", "")
    if not (token == "" or _is_token(token)):
        raise ConfigError(
            f"{file}: `{BLOCK}.token` must be a text of {LEAST_TOKEN} to {MOST_TOKEN} printable ASCII characters"
            " without spaces."
        )
    if not token and not is_own_machine(host):
        raise ConfigError(
            f"{file}: `{BLOCK}.host` is {host}, which other machines may reach. Set `{BLOCK}.token`, which whoever"
            f" asks has to bring, or leave the host at {DEFAULT_HOST}."
        )
    return AdminConfig(port, host, token)


def is_own_machine(host: str) -> bool:
    """Tell whether nobody else reaches an address."""
    return host == "localhost" or is_loopback(host)


def _is_token(value: object) -> bool:
    is_text = isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
    return is_text and LEAST_TOKEN <= len(str(value)) <= MOST_TOKEN
