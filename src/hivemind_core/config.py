"""Configuration: ``server.json`` and the environment, read once into one frozen `Config`. Nothing is ever written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
WEBSOCKET_MODULE = "hivemind-websocket-plugin"
OVOS_AGENT = "hivemind-ovos-agent-plugin"
DEFAULT_AGENT = "auto"
SQLITE_MODULE = "hivemind-sqlite-db-plugin"
JSON_MODULE = "hivemind-json-db-plugin"

_OVOS_BUS = {"host": "127.0.0.1", "port": 8181}
DEFAULTS: dict[str, Any] = {
    "binarize": False,
    "allowed_encodings": list(ENCODINGS),
    "allowed_ciphers": list(CIPHERS),
    "min_password_bits": 40,
    "runtime_password_strength_check": True,
    "min_protocol_version": 3,
    "agent_protocol": {"module": DEFAULT_AGENT, OVOS_AGENT: dict(_OVOS_BUS)},
    "network_protocol": {WEBSOCKET_MODULE: {"host": "0.0.0.0", "port": 5678}},
    "policy": {"chain": [{"module": "hivemind-ovos-agent-policy"}]},
    "last_seen_update_interval": 60,
}
_BLOCKS_TO_FILL = ("agent_protocol", "policy")


class ConfigError(Exception):
    """The configuration cannot be used; the text names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class WebSocketConfig:
    """Where the WebSocket transport listens and how it watches its connections."""

    host: str = "0.0.0.0"
    port: int = 5678
    ping_interval_s: float = 30.0
    """Seconds between pings of a silent connection; 0 sends none."""
    ping_timeout_s: float = 20.0
    """Seconds to wait for the pong before the connection is cut."""


@dataclass(frozen=True)
class Config:
    """Everything the hub is told."""

    path: Path
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The effective document, as `print-config` shows it."""
    binarize: bool = False
    allowed_encodings: tuple[str, ...] = ENCODINGS
    allowed_ciphers: tuple[str, ...] = CIPHERS
    min_password_bits: float = 40.0
    runtime_password_strength_check: bool = True
    min_protocol_version: int = 3
    websocket: WebSocketConfig = WebSocketConfig()
    agent_module: str = DEFAULT_AGENT
    agent: Mapping[str, Any] = field(default_factory=lambda: dict(_OVOS_BUS))
    database_module: str = SQLITE_MODULE
    database: Mapping[str, Any] = field(default_factory=dict, repr=False)
    policy_chain: tuple[Mapping[str, Any], ...] = ()
    last_seen_update_interval_s: float = 60.0


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of configuration files (XDG)."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of data files (XDG)."""
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where server.json is looked for."""
    return config_dir(environ) / "hivemind-core" / "server.json"


def load_config(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration and fill in defaults, in memory only. Raises ConfigError.

    A missing file means defaults, unless it was named.
    """
    where = path or default_path(environ)
    document = _read(where, named=path is not None)
    effective = _filled(document)
    if "database" not in document:
        effective["database"] = {"module": _existing_database(environ)}
    return _Reader(where, effective, environ).config()


def _read(path: Path, *, named: bool) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if named:
            raise ConfigError(f"There is no configuration file {path}.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error}.") from None
    try:
        document = json.loads(_without_comments(text))
    except ValueError as error:
        raise ConfigError(
            f"The configuration file {path} is not valid JSON: {error}."
            " It was left as it is; mend it, or move it away to start from defaults."
        ) from None
    if not isinstance(document, dict):
        raise ConfigError(f"The configuration file {path} must hold a JSON object. It was left as it is.")
    return document


def _without_comments(text: str) -> str:
    """Blank out whole-line comments, so that line numbers in errors stay right."""
    return "\n".join(
        "" if line.lstrip().startswith(("//", "#")) else line for line in text.splitlines()
    )


def _filled(document: Mapping[str, Any]) -> dict[str, Any]:
    effective = {**deepcopy(DEFAULTS), **deepcopy(dict(document))}
    for block in _BLOCKS_TO_FILL:
        given = effective[block]
        if isinstance(given, dict):
            effective[block] = {**deepcopy(DEFAULTS[block]), **given}
    return effective


def _existing_database(environ: Mapping[str, str]) -> str:
    """Return the kind of database an installation without a `database` key has."""
    folder = data_dir(environ) / "hivemind-core"
    only_json = (folder / "clients.json").exists() and not (folder / "clients.db").exists()
    return JSON_MODULE if only_json else SQLITE_MODULE


class _Reader:
    """Takes values out of the document and says which key is wrong where one is."""

    def __init__(self, path: Path, document: dict[str, Any], environ: Mapping[str, str]) -> None:
        self._path = path
        self._document = document
        self._environ = environ

    def config(self) -> Config:
        agent_module, agent = self._module("agent_protocol", DEFAULT_AGENT)
        database_module, database = self._module("database", SQLITE_MODULE)
        top = self._document
        return Config(
            path=self._path,
            raw=top,
            binarize=self._bool(top, "binarize"),
            allowed_encodings=self._texts("allowed_encodings") or ENCODINGS,
            allowed_ciphers=self._texts("allowed_ciphers") or ("AES-GCM",),
            min_password_bits=self._number(top, "min_password_bits", 40),
            runtime_password_strength_check=self._bool(top, "runtime_password_strength_check"),
            min_protocol_version=int(self._number(top, "min_protocol_version", 3)),
            websocket=self._websocket(),
            agent_module=agent_module,
            agent=agent or dict(_OVOS_BUS),
            database_module=database_module,
            database=database,
            policy_chain=self._chain(),
            last_seen_update_interval_s=self._number(top, "last_seen_update_interval", 60),
        )

    def _wrong(self, key: str, expected: str, value: object) -> ConfigError:
        return ConfigError(f"In {self._path}: `{key}` must be {expected}, not {json.dumps(value)[:60]}.")

    def _block(self, parent: Mapping[str, Any], key: str, name: str | None = None) -> dict[str, Any]:
        value = parent.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(name or key, "an object", value)
        return value

    def _bool(self, parent: Mapping[str, Any], key: str) -> bool:
        value = parent.get(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def _number(self, parent: Mapping[str, Any], key: str, default: float, name: str | None = None) -> float:
        value = parent.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise self._wrong(name or key, "a number, zero or more", value)
        return float(value)

    def _texts(self, key: str) -> tuple[str, ...]:
        value = self._document.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "an array of names", value)
        return tuple(value)

    def _module(self, key: str, default: str) -> tuple[str, Mapping[str, Any]]:
        block = self._block(self._document, key)
        module = block.get("module") or default
        if not isinstance(module, str):
            raise self._wrong(f"{key}.module", "a name", module)
        options = self._block(block, module, f"{key}.{module}")
        if key == "agent_protocol" and not options:
            options = self._block(block, OVOS_AGENT, f"{key}.{OVOS_AGENT}")
        return module, options

    def _websocket(self) -> WebSocketConfig:
        network = self._block(self._document, "network_protocol")
        name = f"network_protocol.{WEBSOCKET_MODULE}"
        block = self._block(network, WEBSOCKET_MODULE, name)
        host = block.get("host") or "0.0.0.0"
        if not isinstance(host, str):
            raise self._wrong(f"{name}.host", "an address", host)
        port = self._number(block, "port", 5678, f"{name}.port")
        if port > 65535 or port != int(port):
            raise self._wrong(f"{name}.port", "a port number", block.get("port"))
        return WebSocketConfig(
            host,
            int(port),
            self._interval(block, "websocket_ping_interval", 30.0),
            self._interval(block, "websocket_ping_timeout", 20.0),
        )

    def _interval(self, block: Mapping[str, Any], key: str, default: float) -> float:
        if key in block:
            return self._number(block, key, default, f"network_protocol.{WEBSOCKET_MODULE}.{key}")
        variable = f"HIVEMIND_{key.upper()}"
        text = self._environ.get(variable)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ConfigError(f"The environment variable {variable} must be a number of seconds, not {text!r}.")
        return value

    def _chain(self) -> tuple[Mapping[str, Any], ...]:
        chain = self._block(self._document, "policy").get("chain") or []
        if not isinstance(chain, list) or not all(
            isinstance(item, dict) and isinstance(item.get("module"), str) for item in chain
        ):
            raise self._wrong("policy.chain", 'an array of objects like {"module": NAME}', chain)
        return tuple(chain)
