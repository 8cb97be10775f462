"""Checks of the admin address: whether the hub answers there, and what it says of itself."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn
from hivemind_bus_client.doctor.network import OPEN, knock, places

from ..admin_config import AdminConfig
from ..healthcheck import ANYWHERE
from .case import HubCase
from .ports import holder

ANSWER_S = 4.0
WHAT = "admin"


def look(case: HubCase) -> Iterator[Finding]:
    """Ask it, where there is one and the hub runs."""
    if case.config is None or case.config.admin is None or case.config.admin.port == 0:
        return
    admin = case.config.admin
    host = ANYWHERE.get(admin.host, admin.host)
    try:
        place = places(host, admin.port)[0]
    except (OSError, UnicodeError):
        yield fail(WHAT, f"`admin.host` {admin.host!r} is not known here.", "Use 127.0.0.1.")
        return
    if knock(place) != OPEN:
        yield ok(
            WHAT, f"Nothing answers at the admin address, port {admin.port}: the hub does not run, or is not yet told."
        )
        return
    try:
        told = _readiness(host, admin)
    except (OSError, ValueError):
        by = holder(admin.port) or "another program"
        yield fail(WHAT, f"The admin port {admin.port} is held by {by}.", "Give the hub another `admin.port`.")
        return
    yield from _parts(told)


def _readiness(host: str, admin: AdminConfig) -> dict[str, Any]:
    """Return what `/readyz` says. Raises OSError, ValueError."""
    where = f"http://{f'[{host}]' if ':' in host else host}:{admin.port}/readyz"
    request = urllib.request.Request(where, headers={"Authorization": f"Bearer {admin.token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_S) as answer:
            said = json.loads(answer.read(1 << 16))
    except urllib.error.HTTPError as error:
        with error:
            said = json.loads(error.read(1 << 16))
    if not isinstance(said, dict) or not isinstance(said.get("ready"), bool):
        raise ValueError("that is no hub")
    return said


def _parts(told: dict[str, Any]) -> Iterator[Finding]:
    parts = told.get("parts")
    if not isinstance(parts, dict):
        yield warn(WHAT, "The hub that runs has another token than server.json.", "Restart the hub.")
        return
    ill = {name: str(part.get("reason")) for name, part in parts.items() if not part.get("ready")}
    for name, reason in ill.items():
        yield warn(WHAT, f"The hub says of its {name}: {reason}.", "See what is said of it here, and the hub's log.")
    if not ill:
        yield ok(WHAT, "The hub says that it is ready.")
