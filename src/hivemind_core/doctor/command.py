"""The table of a hub's checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hivemind_bus_client.doctor.findings import Finding
from hivemind_bus_client.doctor.machine import clock, versions
from hivemind_bus_client.doctor.running import Check
from hivemind_bus_client.doctor.telling import tell

from . import agent, certificates, clients, identity, ports, services, settings, shared
from .case import HubCase

LIBRARIES = ("aiohttp", "websockets", "cryptography", "zxcvbn")
OPTIONAL = ("msgspec", "uvloop", "redis", "ovos-bus-client")


def _versions(case: HubCase) -> Iterator[Finding]:
    return versions(LIBRARIES, OPTIONAL)


def _clock(case: HubCase) -> Iterator[Finding]:
    yield clock(case.wall())


CHECKS = (
    Check("versions", _versions),
    Check("clock", _clock),
    Check("settings", settings.look),
    Check("folders", identity.folders),
    Check("identity", identity.look),
    Check("clients", clients.look),
    Check("port", ports.look),
    Check("certificate", certificates.look),
    Check("agent", agent.look),
    Check("upstream", agent.upstream),
    Check("cluster", shared.look),
    Check("service", services.look),
)
"""In this order: a later one may use what an earlier one found out."""


def examine(named_config: Path | None, *, as_json: bool) -> None:
    """Examine this hub and print what was found. Raises Exit with code 1 where something failed."""
    tell(CHECKS, HubCase(named_config), as_json=as_json)
