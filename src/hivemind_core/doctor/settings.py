"""Checks of server.json: it can be read, what has no effect in it, and what is risky."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from hivemind_bus_client.doctor.files import private
from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn

from ..admin_config import DEFAULT_HOST
from ..config import Config, ConfigError, load_config
from ..config import warnings as remarks
from ..origins import ANY
from ..own_address import EVERYWHERE
from ..transport_config import HTTP_MODULE
from .case import HubCase

PASSWORD_PROTOCOL, DEFAULT_BITS = 2, 40
WHAT = "settings"
_CURE = re.compile(
    r"\. (?=(?:Check|Copy|It was left|Let|Move|Name|On the hub|Put|Raise|Remove|Run|See|Set|Start|Update|Wait)\b)"
)
"""Where the second part of what the hub says begins: what to do."""


def look(case: HubCase) -> Iterator[Finding]:
    """Read it, and keep it for the checks that follow."""
    try:
        case.config = config = load_config(case.named_config, os.environ)
    except ConfigError as error:
        yield unusable(WHAT, error, "Mend it; docs/hub.md has every key.")
        return
    if config.path.exists():
        yield ok(WHAT, f"{config.path} can be read.")
        yield from private(WHAT, config.path) if _has_secrets(config) else ()
    else:
        yield ok(WHAT, f"There is no {config.path}; the hub runs with its defaults.")
    for remark in remarks(config):
        yield warn(WHAT, f"{remark[:1].upper()}{remark[1:]}", "Correct the key, or remove it.")
    yield from _risks(config)


def unusable(what: str, error: Exception, cure: str) -> Finding:
    """Return the failure that an exception of the hub describes, whose text ends with what to do about it."""
    reason, *own_cure = _CURE.split(" ".join(str(error).split()), maxsplit=1)
    return fail(what, f"{reason.rstrip('.')}.", own_cure[0] if own_cure else cure)


def _has_secrets(config: Config) -> bool:
    cluster = config.cluster is not None and bool(config.cluster.password)
    admin = config.admin is not None and bool(config.admin.token)
    return cluster or admin or bool(config.upstream.password) or bool(config.database.get("password"))


def _risks(config: Config) -> Iterator[Finding]:
    if config.min_password_bits < DEFAULT_BITS or not config.runtime_password_strength_check:
        yield warn(
            WHAT,
            "Passwords that are easy to guess are accepted.",
            "Remove `min_password_bits` and `runtime_password_strength_check` from server.json.",
        )
    if config.min_protocol_version < PASSWORD_PROTOCOL:
        yield warn(
            WHAT,
            f"Protocol v{config.min_protocol_version} is accepted, which proves neither side to the other.",
            "Raise `min_protocol_version` to 2, or to 3 once all devices are new.",
        )
    if config.max_connections_per_address == 0:
        yield warn(WHAT, "One address may open any number of connections.", "Remove `max_connections_per_address`.")
    if not (config.limits.client.is_limit and config.limits.address.is_limit):
        yield warn(
            WHAT, "A client, or an address, may send as much as it likes.", "Remove `limits`, or give each a rate."
        )
    if config.http is not None and ANY in config.http.origins.origins:
        yield warn(
            WHAT,
            f"Any web page may use `{HTTP_MODULE}` from the browser of whoever opens it.",
            "Name the pages in `allowed_origins`, as `https://HOST`.",
        )
    if config.admin is not None and not config.admin.is_loopback:
        yield warn(
            WHAT,
            f"The admin address {config.admin.host} is for other machines: its token crosses the network in the clear.",
            f"Put a proxy with TLS before it, or set `admin.host` to {DEFAULT_HOST}.",
        )
    if not config.serves_websocket and config.http is None:
        yield fail(WHAT, "`network_protocol` enables no transport.", "Add `hivemind-websocket-plugin` to it.")
    if config.http is not None and config.http.tls is None and config.http.host in EVERYWHERE:
        yield ok(WHAT, f"`{HTTP_MODULE}` serves without TLS; the sessions inside are encrypted all the same.")
    if config.agent_module == "embedded" and config.agent.get("host") in EVERYWHERE:
        yield warn(
            WHAT,
            "The embedded message bus is open to the whole network, and whoever is on it may do anything.",
            'Set `agent_protocol.embedded.host` to "127.0.0.1".',
        )
    if any(item.get("optional") is True for item in config.policy_chain):
        yield warn(WHAT, "An optional policy is left out where it cannot be loaded.", "Remove `optional`.")
