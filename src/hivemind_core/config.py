"""Configuration: ``server.json`` and the environment, read once into one frozen `Config`. Nothing is ever written.

What counts, in this order: the command line, the environment, the file, the defaults. The variables that released hubs
read, too, come after the file, as there (see `environment`). Keys that nothing here reads stay in `Config.raw`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import gethostname
from typing import Any

from hivemind_bus_client.exceptions import InvalidJson

from . import (
    admin_config,
    cluster_config,
    environment,
    limits_config,
    mailbox_config,
    transport_config,
    upstream_config,
)
from .admin_config import AdminConfig
from .cluster_config import ClusterConfig
from .config_values import ConfigError as ConfigError
from .config_values import Values
from .environment import LOG_FORMATS, LOG_LEVELS, OVOS_AGENT
from .environment import WEBSOCKET_MODULE as WEBSOCKET_MODULE
from .known_keys import remarks
from .limits_config import LimitsConfig
from .mailbox_config import MailboxConfig
from .transport_config import HTTP_DEFAULTS as HTTP_DEFAULTS
from .transport_config import HTTP_MODULE as HTTP_MODULE
from .transport_config import WEBSOCKET_DEFAULTS as WEBSOCKET_DEFAULTS
from .transport_config import CertificateFiles as CertificateFiles
from .transport_config import HTTPConfig as HTTPConfig
from .transport_config import WebSocketConfig as WebSocketConfig
from .upstream_config import UpstreamConfig

ENCODINGS = (
    "JSON-B64",
    "JSON-URLSAFE-B64",
    "JSON-B91",
    "JSON-Z85B",
    "JSON-Z85P",
    "JSON-B32",
    "JSON-HEX",
)
CIPHERS = ("CHACHA20-POLY1305", "AES-GCM")
DEFAULT_AGENT = "auto"
SQLITE_MODULE = "hivemind-sqlite-db-plugin"
NEWEST_PROTOCOL = 3
DEFAULT_MIN_PROTOCOL = 2
DEFAULT_CONNECTIONS_PER_ADDRESS, MOST_CONNECTIONS = 1024, 1_000_000

DEFAULTS: dict[str, Any] = {
    "binarize": False,
    "allowed_encodings": list(ENCODINGS),
    "allowed_ciphers": list(CIPHERS),
    "min_password_bits": 40,
    "runtime_password_strength_check": True,
    "min_protocol_version": DEFAULT_MIN_PROTOCOL,
    "max_connections_per_address": DEFAULT_CONNECTIONS_PER_ADDRESS,
    "limits": limits_config.DEFAULTS,
    "agent_protocol": {"module": DEFAULT_AGENT, OVOS_AGENT: {"host": "127.0.0.1", "port": 8181}},
    "binary_protocol": {"module": None},
    "presence": {"enabled": True, "name": "HiveMind-Node", "zeroconf": True, "upnp": False},
    "rendezvous": mailbox_config.DEFAULTS,
    "upstream": upstream_config.DEFAULTS,
    "network_protocol": {WEBSOCKET_MODULE: {}},
    "cluster": None,
    "policy": {"chain": [{"module": "hivemind-ovos-agent-policy"}]},
    "ping_flood_interval": 30,
    "last_seen_update_interval": 60,
    "admin": None,
    "log_level": "INFO",
    "log_format": "auto",
    "site_id": None,
    "database": {"module": SQLITE_MODULE, SQLITE_MODULE: {"name": "clients", "subfolder": "hivemind-core"}},
    "utterance_transformers": {},
    "metadata_transformers": {},
    "dialog_transformers": {},
}
_FILLED = ("agent_protocol", "binary_protocol", "database", "limits", "policy", "rendezvous", "upstream")
"""Blocks whose missing keys are filled from the defaults. The keys of `network_protocol` say which transports run."""

LIVE_KEYS = (
    "binarize",
    "allowed_encodings",
    "allowed_ciphers",
    "min_password_bits",
    "runtime_password_strength_check",
    "min_protocol_version",
    "max_connections_per_address",
    "limits",
)
"""Keys, and fields of `Config`, that a running hub takes over for its next connections."""


@dataclass(frozen=True)
class Config:
    """Everything the hub is told."""

    path: Path
    """Where the file is, or would be."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The effective document, as `print-config` shows it."""
    overrides: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the command line said, a part of the same document."""
    binarize: bool = False
    allowed_encodings: tuple[str, ...] = ENCODINGS
    allowed_ciphers: tuple[str, ...] = CIPHERS
    min_password_bits: float = 40.0
    """What a password must resist, in bits; 0 accepts any."""
    runtime_password_strength_check: bool = True
    """Whether a client with a weak password is refused when it connects, too."""
    min_protocol_version: int = DEFAULT_MIN_PROTOCOL
    """The oldest handshake that is accepted: 3 Noise, 2 password, 1 RSA, 0 pre-shared key."""
    max_connections_per_address: int = DEFAULT_CONNECTIONS_PER_ADDRESS
    """How many satellites one address may connect at once, this machine's own excepted; 0 sets no limit."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """How much one client and one address may send."""
    websocket: WebSocketConfig = field(default_factory=WebSocketConfig)
    serves_websocket: bool = True
    http: HTTPConfig | None = None
    """None: this transport is not served."""
    agent_module: str = DEFAULT_AGENT
    agent: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The agent's own settings."""
    binary_module: str | None = None
    """The handler for binary data; None declines all of it."""
    database_module: str = SQLITE_MODULE
    database_is_open: bool = False
    """Nobody named a database: clients that are stored already decide which it is."""
    database: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The client database's own settings."""
    policy_chain: tuple[Mapping[str, Any], ...] = ()
    """Objects with a `module`, and perhaps `config` and `optional`."""
    upstream: UpstreamConfig = field(default_factory=UpstreamConfig)
    """The hub above this one."""
    rendezvous: MailboxConfig = field(default_factory=MailboxConfig)
    """Messages kept for clients who are not here."""
    cluster: ClusterConfig | None = None
    """The hubs this one is one hive with; None: it stands alone."""
    admin: AdminConfig | None = None
    """Where the hub tells how it is; None: nowhere."""
    last_seen_update_interval_s: float = 60.0
    log_level: str = "INFO"
    log_format: str = "auto"
    site_id: str | None = None
    """The place this hub stands at; None: what its identity says."""

    @property
    def front(self) -> WebSocketConfig | HTTPConfig:
        """The transport that satellites are told of."""
        return self.websocket if self.serves_websocket or self.http is None else self.http


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    named = environ.get(variable, "")
    if os.path.isabs(named):
        return Path(named)
    try:
        return Path.home() / fallback
    except RuntimeError:
        raise ConfigError(f"This account has no home folder. Set HOME, or {variable}.") from None


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of configuration files (XDG)."""
    return _xdg("XDG_CONFIG_HOME", ".config", environ)


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of data files (XDG)."""
    return _xdg("XDG_DATA_HOME", ".local/share", environ)


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where server.json is looked for."""
    return config_dir(environ) / "hivemind-core" / "server.json"


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Read the configuration and fill in defaults, in memory only. Raises ConfigError.

    A missing file means defaults, unless it was named, by `path` or by HIVEMIND_CONFIG. `overrides` is a document like
    the file's that wins over everything.
    """
    named = path or (Path(environ[environment.CONFIG]) if environ.get(environment.CONFIG) else None)
    where = named or default_path(environ)
    given = _read(where, named=named is not None)
    for over in (environment.document(environ, wins=True), overrides or {}):
        given = _merged(given, transport_config.for_transport(over, given))
    effective = _filled(given, environment.document(environ, wins=False), data_dir(environ))
    cluster = cluster_config.settle(str(where), effective, given, gethostname())
    config = _config(Values(str(where), effective), where, effective)
    open_choice = given.get("database") is None and cluster is None
    return replace(config, overrides=overrides or {}, database_is_open=open_choice, cluster=cluster)


def check_transports(config: Config) -> None:
    """Raise ConfigError where `network_protocol` enables none of the transports this hub serves."""
    if not config.serves_websocket and config.http is None:
        raise ConfigError(f"{config.path}: `network_protocol` enables no transport; add `{WEBSOCKET_MODULE}` to it.")


def warnings(config: Config) -> Iterator[str]:
    """Say what in the file has no effect: keys that nothing reads, and what this hub does not serve."""
    return (f"{config.path}: {remark}" for remark in remarks(config.raw))


def _read(path: Path, *, named: bool) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        if named:
            raise ConfigError(f"There is no configuration file {path}.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error}.") from None
    document = _parse(text, path)
    if not isinstance(document, dict):
        raise ConfigError(f"The configuration file {path} must hold a JSON object. It was left as it is.")
    return document


def _parse(text: str, path: Path) -> Any:
    from hivemind_bus_client.codec import loads_commented  # `--help` needs none of it

    try:
        return loads_commented(text)
    except InvalidJson as error:
        raise ConfigError(
            f"The configuration file {path} is not valid JSON, {error}."
            " It was left as it is; mend it, or move it away to start from defaults."
        ) from None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document in which what `over` says counts; a null of the base is as if absent."""
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, Mapping) and (below is None or isinstance(below, dict)):
            merged[key] = _merged(below or {}, value)
        else:
            merged[key] = value
    return merged


def _filled(given: Mapping[str, Any], open_ends: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """Fill in what was not given; `open_ends` is what the environment says where the file says nothing."""
    effective = deepcopy(DEFAULTS | {key: value for key, value in given.items() if value is not None})
    for name in _FILLED:
        if isinstance(effective[name], dict):
            effective[name] = deepcopy(DEFAULTS[name]) | effective[name]
    transport_config.fill(effective["network_protocol"], open_ends, data)
    return effective


def _config(values: Values, path: Path, document: dict[str, Any]) -> Config:
    agent_module, agent = _module(values, "agent_protocol")
    database_module, database = _module(values, "database")
    values.object("policy")
    return Config(
        path=path,
        raw=document,
        binarize=values.flag("binarize"),
        allowed_encodings=values.names("allowed_encodings", ENCODINGS) or ENCODINGS,
        allowed_ciphers=values.names("allowed_ciphers", CIPHERS) or ("AES-GCM",),
        min_password_bits=values.number("min_password_bits"),
        runtime_password_strength_check=values.flag("runtime_password_strength_check"),
        min_protocol_version=values.whole("min_protocol_version", most=NEWEST_PROTOCOL),
        max_connections_per_address=values.whole("max_connections_per_address", most=MOST_CONNECTIONS),
        limits=limits_config.read(values),
        websocket=transport_config.websocket(values),
        serves_websocket=WEBSOCKET_MODULE in document["network_protocol"],
        http=transport_config.http(values),
        agent_module=agent_module,
        agent=agent or values.object("agent_protocol", OVOS_AGENT),
        binary_module=_binary_module(values),
        database_module=database_module,
        database=database,
        policy_chain=values.chain("policy", "chain"),
        upstream=upstream_config.read(str(path), values),
        rendezvous=mailbox_config.read(values),
        admin=admin_config.read(str(path), values),
        last_seen_update_interval_s=values.number("last_seen_update_interval"),
        log_level=values.one_of("log_level", LOG_LEVELS),
        log_format=values.one_of("log_format", LOG_FORMATS),
        site_id=values.get(("site_id",), "text", lambda value: value is None or isinstance(value, str), None) or None,
    )


def _module(values: Values, key: str) -> tuple[str, dict[str, Any]]:
    values.object(key)
    module = values.get((key, "module"), "a name", lambda value: isinstance(value, str), DEFAULTS[key]["module"])
    return module, values.object(key, module)


def _binary_module(values: Values) -> str | None:
    values.object("binary_protocol")
    found = values.get(("binary_protocol", "module"), "a name or null", lambda value: isinstance(value, str), "")
    return found or None
