"""Configuration: ``server.json`` and the environment, read once into one frozen `Config`. Nothing is ever written.

What is looked up, in this order: the command line, the file, the environment, the defaults. Keys that nothing here
reads stay in `Config.raw` and are otherwise ignored.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

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
DISABLE_PASSWORD_CHECK = "HIVEMIND_DISABLE_PASSWORD_STRENGTH_CHECK"
PING_VARIABLES = {
    "websocket_ping_interval": "HIVEMIND_WEBSOCKET_PING_INTERVAL",
    "websocket_ping_timeout": "HIVEMIND_WEBSOCKET_PING_TIMEOUT",
}

DEFAULTS: dict[str, Any] = {
    "binarize": False,
    "allowed_encodings": list(ENCODINGS),
    "allowed_ciphers": list(CIPHERS),
    "min_password_bits": 40,
    "runtime_password_strength_check": True,
    "min_protocol_version": 3,
    "agent_protocol": {"module": DEFAULT_AGENT, OVOS_AGENT: {"host": "127.0.0.1", "port": 8181}},
    "binary_protocol": {"module": None},
    "presence": {"enabled": True, "name": "HiveMind-Node", "zeroconf": True, "upnp": False},
    "rendezvous": {"enabled": False, "max_pending_per_mailbox": 256},
    "upstream": {
        "enabled": False,
        "host": "127.0.0.1",
        "port": 5678,
        "key": "",
        "password": "",
        "ssl": False,
        "self_signed": True,
    },
    "network_protocol": {WEBSOCKET_MODULE: {"host": "0.0.0.0", "port": 5678, "ssl": False}},
    "policy": {"chain": [{"module": "hivemind-ovos-agent-policy"}]},
    "ping_flood_interval": 30,
    "last_seen_update_interval": 60,
    "database": {"module": SQLITE_MODULE, SQLITE_MODULE: {"name": "clients", "subfolder": "hivemind-core"}},
    "utterance_transformers": {},
    "metadata_transformers": {},
    "dialog_transformers": {},
}
_FILLED = ("agent_protocol", "binary_protocol", "database", "policy", "upstream")
"""Blocks whose missing keys are filled from the defaults. The keys of the others say what is wanted."""
_TRUE = frozenset({"1", "true", "yes", "on"})


class ConfigError(Exception):
    """The configuration cannot be used; the text names the file, what is wrong and what to do."""


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


@dataclass(frozen=True)
class Config:
    """Everything the hub is told."""

    path: Path
    """Where the file is, or would be."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The effective document, as `print-config` shows it."""
    binarize: bool = False
    allowed_encodings: tuple[str, ...] = ENCODINGS
    allowed_ciphers: tuple[str, ...] = CIPHERS
    min_password_bits: float = 40.0
    """What a password must resist, in bits; 0 accepts any."""
    runtime_password_strength_check: bool = True
    """Whether a client with a weak password is refused when it connects, too."""
    min_protocol_version: int = 3
    websocket: WebSocketConfig = WebSocketConfig()
    agent_module: str = DEFAULT_AGENT
    agent: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The agent's own settings."""
    database_module: str = SQLITE_MODULE
    database: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The client database's own settings."""
    policy_chain: tuple[Mapping[str, Any], ...] = ()
    """Objects with a `module`, and perhaps `config` and `optional`."""
    last_seen_update_interval_s: float = 60.0


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    named = environ.get(variable, "")
    return Path(named) if os.path.isabs(named) else Path.home() / fallback


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

    A missing file means defaults, unless it was named. `overrides` is a document like the file's that wins over it.
    """
    where = path or default_path(environ)
    given = _merged(_read(where, named=path is not None), overrides or {})
    return _Reader(where, _filled(given), environ).config()


def check_transports(config: Config) -> None:
    """Raise ConfigError where `network_protocol` asks for what this hub does not serve."""
    named = [name for name in config.raw.get("network_protocol", {}) if name != "module"]
    if WEBSOCKET_MODULE not in named:
        raise ConfigError(f"{config.path}: `network_protocol` enables no transport; add `{WEBSOCKET_MODULE}` to it.")
    if (config.raw["network_protocol"][WEBSOCKET_MODULE] or {}).get("ssl"):
        raise ConfigError(
            f"{config.path}: `network_protocol.{WEBSOCKET_MODULE}.ssl` is on, and this hub serves no TLS by itself."
            " Set it to false; every session is encrypted all the same, and a reverse proxy can add TLS."
        )
    for other in set(named) - {WEBSOCKET_MODULE}:
        log.warning("%s: this hub does not serve the transport %s", config.path, other)


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
    # Comment lines are blanked, not removed, so that line numbers stay right.
    lines = ["" if line.lstrip().startswith(("//", "#")) else line for line in text.split("\n")]
    try:
        return json.loads("\n".join(lines))
    except (json.JSONDecodeError, RecursionError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise ConfigError(
            f"The configuration file {path} is not valid JSON, {line}."
            " It was left as it is; mend it, or move it away to start from defaults."
        ) from None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _filled(given: Mapping[str, Any]) -> dict[str, Any]:
    effective = deepcopy(DEFAULTS | {key: value for key, value in given.items() if value is not None})
    for name in _FILLED:
        if isinstance(effective[name], dict):
            effective[name] = deepcopy(DEFAULTS[name]) | effective[name]
    policy = effective["policy"]
    if isinstance(policy, dict) and policy.pop("fail_open", None) is not None:
        log.warning("`policy.fail_open` is ignored: a policy that fails refuses")
    return effective


class _Reader:
    """Takes values out of the document and says which key is wrong where one is."""

    def __init__(self, path: Path, document: dict[str, Any], environ: Mapping[str, str]) -> None:
        self._path = path
        self._document = document
        self._environ = environ

    def config(self) -> Config:
        websocket = self._websocket()  # first: it adds to the document what the environment says
        agent_module, agent = self._module("agent_protocol")
        database_module, database = self._module("database")
        disabled = self._environ.get(DISABLE_PASSWORD_CHECK, "").lower() in _TRUE
        return Config(
            path=self._path,
            raw=self._document,
            binarize=self._flag("binarize"),
            allowed_encodings=self._names("allowed_encodings", ENCODINGS) or ENCODINGS,
            allowed_ciphers=self._names("allowed_ciphers", CIPHERS) or ("AES-GCM",),
            min_password_bits=self._number("min_password_bits"),
            runtime_password_strength_check=self._flag("runtime_password_strength_check") and not disabled,
            min_protocol_version=self._whole("min_protocol_version", 3),
            websocket=websocket,
            agent_module=agent_module,
            agent=agent or self._object("agent_protocol", OVOS_AGENT),
            database_module=database_module,
            database=database,
            policy_chain=self._chain(),
            last_seen_update_interval_s=self._number("last_seen_update_interval"),
        )

    def _get(self, keys: tuple[str, ...], expected: str, fits: Callable[[Any], bool], default: Any = None) -> Any:
        """Return the value at a path of keys. Absent or null is the default; without one, that is wrong, too."""
        value: Any = self._document
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        value = default if value is None else value
        if not fits(value):
            raise ConfigError(f"{self._path}: `{'.'.join(keys)}` must be {expected}, not {json.dumps(value)[:60]}.")
        return value

    def _flag(self, *keys: str) -> bool:
        return bool(self._get(keys, "true or false", lambda value: isinstance(value, bool)))

    def _number(self, *keys: str, default: float | None = None) -> float:
        return float(self._get(keys, "a number, zero or more", _is_number, default))

    def _whole(self, key: str, most: int) -> int:
        return int(self._get((key,), f"a whole number from 0 to {most}", lambda value: _is_whole(value, most)))

    def _object(self, *keys: str) -> dict[str, Any]:
        found: dict[str, Any] = self._get(keys, "an object", lambda value: isinstance(value, dict), {})
        return found

    def _names(self, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        def fits(value: Any) -> bool:
            return isinstance(value, list) and all(name in known for name in value)

        return tuple(self._get((key,), f"an array of names out of {', '.join(known)}", fits, []))

    def _module(self, key: str) -> tuple[str, dict[str, Any]]:
        self._object(key)
        module = self._get((key, "module"), "a name", lambda value: isinstance(value, str), DEFAULTS[key]["module"])
        return module, self._object(key, module)

    def _websocket(self) -> WebSocketConfig:
        self._object("network_protocol")
        block = self._object("network_protocol", WEBSOCKET_MODULE)
        for key, variable in PING_VARIABLES.items():
            if variable in self._environ and block.get(key) is None:
                block[key] = self._seconds(variable)
        path, plain = ("network_protocol", WEBSOCKET_MODULE), WebSocketConfig()
        return WebSocketConfig(
            self._get((*path, "host"), "an address", lambda value: isinstance(value, str) and value != "", plain.host),
            self._get((*path, "port"), "a port number", lambda value: _is_whole(value, 65535), plain.port),
            self._number(*path, "websocket_ping_interval", default=plain.ping_interval_s),
            self._number(*path, "websocket_ping_timeout", default=plain.ping_timeout_s),
        )

    def _seconds(self, variable: str) -> float:
        try:
            value = float(self._environ[variable])
        except ValueError:
            value = math.nan
        if not _is_number(value):
            raise ConfigError(
                f"The environment variable {variable} must be a number of seconds, not {self._environ[variable]!r}."
            )
        return value

    def _chain(self) -> tuple[Mapping[str, Any], ...]:
        def fits(value: Any) -> bool:
            return isinstance(value, list) and all(
                isinstance(item, dict)
                and isinstance(item.get("module"), str)
                and isinstance(item.get("config") or {}, dict)
                for item in value
            )

        self._object("policy")
        chain = self._get(("policy", "chain"), 'an array of objects like {"module": NAME}', fits, [])
        return tuple(chain)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
