"""What is wrong with Redis, in a sentence with its cure; never with a password in it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from redis import exceptions as redis

from ..cluster_config import ClusterConfig

_NO_ANSWER = "does not answer. See that it runs and that this machine may reach it"
_NEEDS_TLS = "ended the connection. If it speaks TLS, write `cluster.url` as rediss://…"
_PASSWORD = "refuses the username or password. Set `cluster.password` (and `cluster.username`, where it has users)"
_RIGHTS = "does not let this user do that. Give it the rights that docs/clusters.md names"
_FILES = "cannot be reached: a file named by `cluster.ca_certs`, `certfile` or `keyfile` cannot be read"
_FULL = "is full. Raise its `maxmemory`"
_NO_SOCKET = "cannot be reached: there is no such socket. See that it runs, with `unixsocket` in its configuration"


def sentence(error: BaseException, config: ClusterConfig) -> str:
    """Say what is wrong and what to do, beginning with where the server is."""
    said = next((text for cause in _causes(error) if (text := _said(cause, config)) is not None), None)
    if said is None:
        said = f"{_NO_ANSWER} ({_short(error)})"
    return f"The cluster's Redis at {config.url} {said}."


def is_refusal(error: BaseException, config: ClusterConfig) -> bool:
    """Tell whether the configuration is wrong, so that waiting does not help; else Redis may come back."""
    kinds: tuple[type[BaseException], ...] = (redis.AuthenticationError, redis.NoPermissionError)
    if config.tls:
        kinds += (ssl.SSLCertVerificationError, FileNotFoundError)
    return any(isinstance(cause, kinds) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the deepest cause first: it says most."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)


def _said(error: BaseException, config: ClusterConfig) -> str | None:
    return next((say(error, config) for kind, say in _ROWS if isinstance(error, kind)), None)


def _certificate(error: Any, config: ClusterConfig) -> str:
    reason = getattr(error, "verify_message", "") or "it is not valid"
    cure = "name its CA's certificate as `cluster.ca_certs`"
    if "match" in reason:
        cure = "write `cluster.url` with a name that is in the certificate, or set `cluster.check_hostname` to false"
    return f"has a certificate that is not accepted ({reason.rstrip('.')}); {cure}"


def _tls(error: Any, config: ClusterConfig) -> str:
    reason = str(getattr(error, "reason", None) or "").replace("_", " ").lower()
    if "wrong version" in reason or "record layer" in reason:
        return "does not speak TLS at this port. Write `cluster.url` as redis://…, or with the port that does"
    if "no certificate or crl" in reason or "pem" in reason:
        return (
            "cannot be reached: `cluster.ca_certs`, `certfile` or `keyfile` names a file without a usable certificate"
        )
    return "ended the TLS handshake. If it wants a certificate of its clients, name it: `cluster.certfile`, `keyfile`"


def _timeout(error: Any, config: ClusterConfig) -> str:
    return f"{_NO_ANSWER}, and that it speaks TLS at this port" if config.tls else _NO_ANSWER


def _as_it_says(error: Any, config: ClusterConfig) -> str:
    return f"refuses: {_short(error)}"


def _fixed(text: str) -> Callable[[Any, ClusterConfig], str]:
    return lambda error, config: text


def _missing(error: Any, config: ClusterConfig) -> str:
    return _NO_SOCKET if config.socket_path is not None else _FILES


_ROWS: tuple[tuple[type[BaseException], Callable[[Any, ClusterConfig], str]], ...] = (
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (socket.gaierror, _fixed("has a name that cannot be looked up. Correct `cluster.url`")),
    (ConnectionRefusedError, _fixed("refuses connections. See that it runs, and that address and port are right")),
    (ConnectionResetError, _fixed(_NEEDS_TLS)),
    (FileNotFoundError, _missing),
    (PermissionError, _fixed("cannot be reached: this account may not read a file, or the socket, on the way to it")),
    (TimeoutError, _timeout),
    (redis.AuthenticationError, _fixed(_PASSWORD)),
    (redis.NoPermissionError, _fixed(_RIGHTS)),
    (redis.ReadOnlyError, _fixed("only keeps a copy. Name the primary in `cluster.url`")),
    (redis.BusyLoadingError, _fixed("is still loading its data. Try again in a moment")),
    (redis.TimeoutError, _timeout),
    (redis.OutOfMemoryError, _fixed(_FULL)),
    (redis.ResponseError, _as_it_says),
)


def _short(error: BaseException) -> str:
    return str(error).strip().rstrip(".")[:200] or type(error).__name__
