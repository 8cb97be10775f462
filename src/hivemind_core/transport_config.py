"""The block `network_protocol` of server.json: which transports are served, where and how."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import origins, proxies
from .config_values import Values
from .environment import WEBSOCKET_MODULE
from .origins import ANY, AllowedOrigins
from .paths import is_path
from .proxies import TrustedProxies

BLOCK = "network_protocol"
WEBSOCKET_DEFAULTS: dict[str, Any] = {
    "host": "0.0.0.0",
    "port": 5678,
    "ssl": False,
    "cert_name": "hivemind",
    "websocket_ping_interval": 30.0,
    "websocket_ping_timeout": 20.0,
    "trusted_proxy_cidrs": [],
    "trusted_client_ip_headers": proxies.DEFAULT_HEADERS,
    "allowed_origins": [ANY],
}
HTTP_MODULE = "hivemind-http-plugin"
HTTP_DEFAULTS: dict[str, Any] = {
    "host": "0.0.0.0",
    "port": 5679,
    "ssl": False,
    "cert_name": "hivemind",
    "trusted_proxy_cidrs": [],
    "trusted_client_ip_headers": proxies.DEFAULT_HEADERS,
    "allowed_origins": [],
    "max_undelivered": 256,
    "undelivered_ttl": 300.0,
    "queue_ttl_s": 300.0,
    "session_ttl_s": 3600.0,
}
LEAST_UNDELIVERED, MOST_UNDELIVERED = 8, 100_000
"""A handshake takes fewer than 8."""


@dataclass(frozen=True)
class CertificateFiles:
    """A TLS certificate and its private key, as PEM."""

    folder: Path
    name: str = "hivemind"

    @property
    def certificate(self) -> Path:
        """The certificate, with those that vouch for it after it."""
        return self.folder / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        return self.folder / f"{self.name}.key"


@dataclass(frozen=True)
class WebSocketConfig:
    """Where the WebSocket transport listens and how it watches its connections."""

    host: str = "0.0.0.0"
    port: int = 5678
    """0 takes any free one."""
    ping_interval_s: float = 30.0
    """Seconds between pings of a silent connection; 0 sends none."""
    ping_timeout_s: float = 20.0
    """Seconds to wait for the pong before the connection is cut."""
    tls: CertificateFiles | None = None
    """The certificate to serve with; None serves without TLS."""
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    origins: AllowedOrigins = field(default_factory=AllowedOrigins)
    """Whose web pages may connect. Everybody's may unless told otherwise: satellites in browsers are served from
    anywhere, and a page can do nothing without an access key and its password, which no browser sends by itself."""

    @property
    def scheme(self) -> str:
        """How its addresses begin: ``ws`` or ``wss``."""
        return "wss" if self.tls else "ws"

    def dialled_as(self, host: str) -> str:
        """Return a host as a satellite must be told it: with ``wss://`` where that is needed."""
        return _with_scheme(self.scheme, host) if self.tls else host


@dataclass(frozen=True)
class HTTPConfig:
    """Where the HTTP transport listens, and what it keeps for clients that do not fetch it."""

    host: str = "0.0.0.0"
    port: int = 5679
    """0 takes any free one."""
    tls: CertificateFiles | None = None
    """The certificate to serve with; None serves without TLS."""
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    max_undelivered: int = 256
    """Frames of each kind that wait to be fetched; one more ends the session."""
    undelivered_ttl_s: float = 300.0
    """Seconds after which a frame that was not fetched ends its session; 0: never."""
    queue_ttl_s: float = 300.0
    """Seconds without a fetch after which a session ends; 0: never."""
    session_ttl_s: float = 3600.0
    """Seconds without any request after which a session ends; 0: never."""
    origins: AllowedOrigins = field(default_factory=lambda: AllowedOrigins(()))
    """Whose web pages may ask. None of another host may unless told otherwise: no satellite in a browser speaks HTTP,
    and here an access key alone, with the address of a satellite, is enough to end a session that has no cookie."""

    @property
    def scheme(self) -> str:
        """How its addresses begin: ``http`` or ``https``."""
        return "https" if self.tls else "http"

    def dialled_as(self, host: str) -> str:
        """Return a host as a satellite must be told it."""
        return _with_scheme(self.scheme, host)


def _with_scheme(scheme: str, host: str) -> str:
    return f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"


def for_transport(over: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Let what options and variables say of the WebSocket be of the HTTP transport, where the file has that alone."""
    transports, said = given.get(BLOCK), over.get(BLOCK)
    alone = isinstance(transports, dict) and HTTP_MODULE in transports and WEBSOCKET_MODULE not in transports
    if not alone or not said:
        return over
    return {**over, BLOCK: {HTTP_MODULE: said[WEBSOCKET_MODULE]}}


def fill(transports: Any, open_ends: Mapping[str, Any], data: Path) -> None:
    """Fill in what a block leaves out; `open_ends` is what the environment says where the file says nothing."""
    outside = open_ends.get(BLOCK, {}).get(WEBSOCKET_MODULE, {})
    for module, own in ((WEBSOCKET_MODULE, WEBSOCKET_DEFAULTS), (HTTP_MODULE, HTTP_DEFAULTS)):
        defaults = {key: deepcopy(outside.get(key, value)) for key, value in own.items()}
        _fill(transports, module, {**defaults, "cert_dir": str(data / "hivemind")})


def _fill(transports: Any, module: str, defaults: dict[str, Any]) -> None:
    if not isinstance(transports, dict) or module not in transports:
        return
    given = transports[module]
    if given is not None and not isinstance(given, dict):
        return
    transports[module] = defaults | {key: value for key, value in (given or {}).items() if value is not None}


def websocket(values: Values) -> WebSocketConfig:
    """Return what is said of the WebSocket transport. Raises ConfigError."""
    values.object(BLOCK)
    block = (BLOCK, WEBSOCKET_MODULE)
    if not values.object(*block):
        return WebSocketConfig()
    return WebSocketConfig(
        values.text(*block, "host", expected="an address"),
        values.port(*block, "port"),
        values.number(*block, "websocket_ping_interval"),
        values.number(*block, "websocket_ping_timeout"),
        _tls(values, block),
        _proxies(values, block),
        _origins(values, block),
    )


def http(values: Values) -> HTTPConfig | None:
    """Return what is said of the HTTP transport; None where it is not served. Raises ConfigError."""
    block = (BLOCK, HTTP_MODULE)
    if not values.object(*block):
        return None
    return HTTPConfig(
        values.text(*block, "host", expected="an address"),
        values.port(*block, "port"),
        _tls(values, block),
        _proxies(values, block),
        values.whole(*block, "max_undelivered", least=LEAST_UNDELIVERED, most=MOST_UNDELIVERED),
        values.number(*block, "undelivered_ttl"),
        values.number(*block, "queue_ttl_s"),
        values.number(*block, "session_ttl_s"),
        _origins(values, block),
    )


def _origins(values: Values, block: tuple[str, str]) -> AllowedOrigins:
    expected = 'origins like https://pages.example.org, or "*"'
    return AllowedOrigins(values.listed((*block, "allowed_origins"), expected, origins.origins))


def _proxies(values: Values, block: tuple[str, str]) -> TrustedProxies:
    return TrustedProxies(
        values.listed((*block, "trusted_proxy_cidrs"), "networks like 10.0.0.0/8", proxies.networks),
        values.listed((*block, "trusted_client_ip_headers"), "names of headers", proxies.parts),
    )


def _tls(values: Values, block: tuple[str, str]) -> CertificateFiles | None:
    folder = Path(values.get((*block, "cert_dir"), "a folder", is_path)).expanduser()
    name = values.get((*block, "cert_name"), "a file name without its ending", _is_file_name)
    return CertificateFiles(folder, name) if values.flag(*block, "ssl") else None


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and value not in ("", ".", "..") and "\0" not in value and Path(value).name == value
