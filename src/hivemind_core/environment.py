"""The environment variables of the hub, in one table, each with the key of server.json that it stands for.

Most win over the file, for containers: the image holds the file, the variables what differs. The four that the released
hub reads, too, fill in what the file leaves open, as there. A variable that is empty is not set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import proxies
from .config_values import ConfigError, is_number

CONFIG = "HIVEMIND_CONFIG"
"""Names the file itself."""
ADVERTISED_HOST, ADVERTISED_PORT = "HIVEMIND_ADVERTISED_HOST", "HIVEMIND_ADVERTISED_PORT"
"""What satellites are told to dial, where a container or a router stands between them and the port listened at."""
CLUSTER_JOIN_CODE = "HIVEMIND_CLUSTER_JOIN_CODE"
"""The code that `hivemind-core cluster join` would ask for."""
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("auto", "plain", "json", "journal")

WEBSOCKET_MODULE = "hivemind-websocket-plugin"
OVOS_AGENT = "hivemind-ovos-agent-plugin"
_WEBSOCKET = ("network_protocol", WEBSOCKET_MODULE)
_OVOS = ("agent_protocol", OVOS_AGENT)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class Variable:
    """One row of the table."""

    name: str
    keys: tuple[str, ...]
    """Path of keys in server.json."""
    expected: str
    """What it must be, for people."""
    read: Callable[[str], Any]
    """Makes the value that would stand in the file; None is as if not set. Raises ValueError."""
    wins: bool = True
    """It counts even where the file has the key."""

    def value(self, environ: Mapping[str, str]) -> Any:
        """Return its value, or None when it is not set. Raises ConfigError."""
        text = environ.get(self.name, "").strip()
        if not text:
            return None
        try:
            return self.read(text)
        except ValueError:
            raise ConfigError(
                f"The environment variable {self.name} must be {self.expected}, not {text[:60]!r}."
            ) from None


def _from_to(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError
        return number

    return read


def _seconds(text: str) -> float:
    number = float(text)
    if not is_number(number) or math.isnan(number):
        raise ValueError
    return number


def _log_level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError
    return text.upper()


def _log_format(text: str) -> str:
    if text.lower() not in LOG_FORMATS:
        raise ValueError
    return text.lower()


def _off(text: str) -> bool | None:
    return False if text.lower() in _TRUE else None


def _yes_or_no(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError
    return text.lower() in _TRUE


def _networks(text: str) -> list[str]:
    proxies.networks(text)
    return list(proxies.parts(text))


def _protocol(text: str) -> int:
    return _from_to(0, 3)(text)


_PORT, _SECONDS = "a port number", "a number of seconds, zero or more"
VARIABLES = (
    Variable("HIVEMIND_HOST", (*_WEBSOCKET, "host"), "an address", str),
    Variable("HIVEMIND_PORT", (*_WEBSOCKET, "port"), _PORT, _from_to(0, 65535)),
    Variable("HIVEMIND_MIN_PROTOCOL_VERSION", ("min_protocol_version",), "a number from 0 to 3", _protocol),
    Variable("HIVEMIND_AGENT", ("agent_protocol", "module"), "the name of an agent", str),
    Variable("HIVEMIND_OVOS_HOST", (*_OVOS, "host"), "an address", str),
    Variable("HIVEMIND_OVOS_PORT", (*_OVOS, "port"), _PORT, _from_to(1, 65535)),
    Variable("HIVEMIND_ADMIN_HOST", ("admin", "host"), "an address", str),
    Variable("HIVEMIND_ADMIN_PORT", ("admin", "port"), _PORT, _from_to(0, 65535)),
    Variable("HIVEMIND_ADMIN_TOKEN", ("admin", "token"), "a text", str),
    Variable("HIVEMIND_LOG_LEVEL", ("log_level",), f"one of {', '.join(LOG_LEVELS)}", _log_level),
    Variable("HIVEMIND_LOG_FORMAT", ("log_format",), f"one of {', '.join(LOG_FORMATS)}", _log_format),
    Variable("HIVEMIND_DISABLE_PASSWORD_STRENGTH_CHECK", ("runtime_password_strength_check",), "1 or 0", _off),
    Variable("HIVEMIND_CLUSTER_URL", ("cluster", "url"), "an address of Redis", str),
    Variable("HIVEMIND_CLUSTER_NAME", ("cluster", "name"), "a name", str),
    Variable("HIVEMIND_CLUSTER_HUB_NAME", ("cluster", "hub_name"), "a name", str),
    Variable("HIVEMIND_CLUSTER_USERNAME", ("cluster", "username"), "a name", str),
    Variable("HIVEMIND_CLUSTER_PASSWORD", ("cluster", "password"), "a password", str),
    Variable("HIVEMIND_CLUSTER_CA_CERTS", ("cluster", "ca_certs"), "a file", str),
    Variable("HIVEMIND_CLUSTER_CERTFILE", ("cluster", "certfile"), "a file", str),
    Variable("HIVEMIND_CLUSTER_KEYFILE", ("cluster", "keyfile"), "a file", str),
    Variable("HIVEMIND_CLUSTER_CHECK_HOSTNAME", ("cluster", "check_hostname"), "1 or 0", _yes_or_no),
    Variable(
        "HIVEMIND_WEBSOCKET_PING_INTERVAL", (*_WEBSOCKET, "websocket_ping_interval"), _SECONDS, _seconds, wins=False
    ),
    Variable(
        "HIVEMIND_WEBSOCKET_PING_TIMEOUT", (*_WEBSOCKET, "websocket_ping_timeout"), _SECONDS, _seconds, wins=False
    ),
    Variable(
        "HIVEMIND_TRUSTED_PROXY_CIDRS",
        (*_WEBSOCKET, "trusted_proxy_cidrs"),
        "networks like 10.0.0.0/8, with commas between them",
        _networks,
        wins=False,
    ),
    Variable(
        "HIVEMIND_TRUSTED_CLIENT_IP_HEADERS",
        (*_WEBSOCKET, "trusted_client_ip_headers"),
        "names of headers, with commas between them",
        str,
        wins=False,
    ),
)


def document(environ: Mapping[str, str], *, wins: bool) -> dict[str, Any]:
    """Return what the environment says as a part of server.json: what wins over the file, or what fills it.

    Raises ConfigError naming a variable that cannot be used.
    """
    found: dict[str, Any] = {}
    for variable in VARIABLES:
        value = variable.value(environ) if variable.wins is wins else None
        if value is not None:
            block = found
            for key in variable.keys[:-1]:
                block = block.setdefault(key, {})
            block[variable.keys[-1]] = value
    return found
