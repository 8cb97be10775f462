"""The block `cluster` of server.json: the Redis server through which several hubs are one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from .config_values import ConfigError, Values

BLOCK = "cluster"
REDIS_MODULE = "hivemind-redis-db-plugin"
DEFAULT_NAME = "hivemind"
DEFAULT_PORT = 6379
DEFAULTS: dict[str, Any] = {
    "url": None,
    "name": DEFAULT_NAME,
    "hub_name": None,
    "username": None,
    "password": None,
    "ca_certs": None,
    "certfile": None,
    "keyfile": None,
    "check_hostname": True,
}
MAX_HUB_NAME = 64
FORMS = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB (TLS) or unix:///PATH"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DB = re.compile(r"[0-9]{0,4}")
_WHERE = ("host", "port", "db", "cluster_nodes", "unix_socket_path")
"""Settings of the client database that say which server it is at."""


@dataclass(frozen=True)
class ClusterConfig:
    """Which cluster this hub belongs to, and where its Redis is."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    db: int = 0
    socket_path: str | None = None
    """A Unix socket; then `host` and `port` mean nothing."""
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: str | None = None
    """A file of certificates that vouch for the server's; None: those of the system."""
    certfile: str | None = None
    """This hub's own certificate, where the server wants one, and its key."""
    keyfile: str | None = None
    check_hostname: bool = True
    """The server's certificate must be for `host`. That it is a valid one is checked in any case."""
    name: str = DEFAULT_NAME
    """The cluster's; hubs with the same name at the same Redis are one hive."""
    hub_name: str = "hub"
    """This member's, for people."""

    def key(self, *parts: str) -> str:
        """Return a key in Redis; all of one cluster are in one slot, by the tag in braces."""
        return ":".join((f"hivemind:{{{self.name}}}", *parts))

    @property
    def url(self) -> str:
        """Where the server is, for people: without username and password."""
        if self.socket_path is not None:
            return f"unix://{self.socket_path}" + (f"?db={self.db}" if self.db else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    def connection(self) -> dict[str, Any]:
        """Return what redis-py's clients, blocking and asyncio, take to reach the server; timeouts are the caller's."""
        where = {"unix_socket_path": self.socket_path} if self.socket_path else {"host": self.host, "port": self.port}
        options = {**where, "db": self.db, "username": self.username, "password": self.password}
        return {**options, **self._tls()} if self.tls else options

    def database_options(self) -> dict[str, Any]:
        """Return what the module of the client database takes to keep the clients at the same server."""
        given = {key: value for key, value in self.connection().items() if value is not None}
        return {**given, "index_prefix": self.key("clients")}

    def _tls(self) -> dict[str, Any]:
        files = {"ssl_ca_certs": self.ca_certs, "ssl_certfile": self.certfile, "ssl_keyfile": self.keyfile}
        return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": self.check_hostname, **files}


def settle(file: str, document: dict[str, Any], given: Mapping[str, Any], host_name: str) -> ClusterConfig | None:
    """Return what the block says; None where there is none. Raises ConfigError, without a secret in it.

    In the document, which is the effective one, the block is filled in and its secrets are under their own keys; the
    client database is that at the same server where `given`, what was said before defaults, names no other.
    `host_name` is this machine's; the hub has it where the block gives it no name.
    """
    values = Values(file, document)
    block = values.get((BLOCK,), "an object", lambda value: isinstance(value, dict) or value in (None, False))
    if not block:
        return None
    document[BLOCK] = DEFAULTS | {key: value for key, value in block.items() if value is not None}
    config = _read(file, Values(file, document), host_name)
    document[BLOCK] |= {"url": config.url, "username": config.username, "password": config.password}
    document["database"] = _database(file, config, given.get("database"))
    return config


def _read(file: str, values: Values, host_name: str) -> ClusterConfig:
    called = host_name[:MAX_HUB_NAME] if _is_label(host_name[:MAX_HUB_NAME]) else "hub"
    where = _where(file, _text(file, values, "url"))
    name = values.get((BLOCK, "name"), "letters, digits, '.', '_' and '-', at most 64", _is_name)
    texts = {key: _text(file, values, key) for key in ("ca_certs", "certfile", "keyfile")}
    credentials = {key: _text(file, values, key) for key in ("username", "password")}
    return ClusterConfig(
        name=name,
        hub_name=values.get((BLOCK, "hub_name"), f"printable text, at most {MAX_HUB_NAME}", _is_label, called),
        check_hostname=values.flag(BLOCK, "check_hostname"),
        **{**where, **texts, **{key: value for key, value in credentials.items() if value}},
    )


def _text(file: str, values: Values, key: str) -> str | None:
    """Return a text that no message may show; an empty one is none."""
    value = values.get((BLOCK, key), "", lambda value: True)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{file}: `{BLOCK}.{key}` must be text.")
    return value or None


def _where(file: str, url: str | None) -> dict[str, Any]:
    if url is None:
        raise ConfigError(f"{file}: `{BLOCK}.url` is missing; it names the cluster's Redis server, as {FORMS}.")
    try:
        split = urlsplit(url)
        read = {"redis": _network, "rediss": _network, "unix": _unix}[split.scheme]
        return {**read(split), "username": _plain(split.username), "password": _plain(split.password)}
    except (ValueError, KeyError):
        raise ConfigError(f"{file}: `{BLOCK}.url` must be written as {FORMS}.") from None


def _network(split: SplitResult) -> dict[str, Any]:
    db = split.path.removeprefix("/")
    if not split.hostname or split.query or split.fragment or not _DB.fullmatch(db):
        raise ValueError
    port = DEFAULT_PORT if split.port is None else split.port
    return {"host": split.hostname, "port": port, "db": int(db or 0), "tls": split.scheme == "rediss"}


def _unix(split: SplitResult) -> dict[str, Any]:
    asked = dict(parse_qsl(split.query, strict_parsing=True)) if split.query else {}
    db = asked.pop("db", "")
    if asked or split.hostname or split.fragment or len(split.path) < len("/x") or not _DB.fullmatch(db):
        raise ValueError
    return {"socket_path": unquote(split.path), "db": int(db or 0)}


def _plain(text: str | None) -> str | None:
    return unquote(text) if text else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_HUB_NAME


def _database(file: str, config: ClusterConfig, given: Any) -> Any:
    """Return the block `database` of a hub in a cluster. Raises ConfigError where it names another module."""
    block = given or {}
    if not isinstance(block, dict):
        return given
    module = block.get("module") or REDIS_MODULE
    if module != REDIS_MODULE:
        raise ConfigError(
            f"{file}: hubs of a cluster share their clients in Redis, but `database.module` is {str(module)[:60]!r}."
            f" Remove `database` from the file, then copy the clients with `hivemind-core migrate-db --from {module}"
            f" --to {REDIS_MODULE}`."
        )
    own = block.get(REDIS_MODULE) or {}
    if isinstance(own, dict) and not any(own.get(key) for key in _WHERE):
        own = config.database_options() | own
    return {**block, "module": REDIS_MODULE, REDIS_MODULE: own}
