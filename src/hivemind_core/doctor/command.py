"""The table of a hub's checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hivemind_bus_client.doctor.findings import Finding
from hivemind_bus_client.doctor.machine import clock, versions
from hivemind_bus_client.doctor.running import Check
from hivemind_bus_client.doctor.telling import tell

from . import above, admin, agent, certificates, clients, identity, ports, services, settings, shared
from .case import HubCase

LIBRARIES = ("aiohttp", "websockets", "cryptography", "zxcvbn")
AGENT_S = 40.0
"""What a question and a turn with the assistant may take."""
ABOVE_S = 45.0
"""What looking at the hub above, and logging in there, may take."""
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
    Check("admin", admin.look),
    Check("agent", agent.look, AGENT_S),
    Check("upstream", above.look, ABOVE_S),
    Check("cluster", shared.look),
    Check("service", services.look),
)
"""In this order: a later one may use what an earlier one found out."""


def examine(named_config: Path | None, probe: str = "", *, as_json: bool) -> None:
    """Examine this hub and print what was found. Raises Exit with code 1 where something failed.

    `probe` is said to the assistant; nothing is said where it is empty.
    """
    tell(CHECKS, HubCase(named_config, probe=probe), as_json=as_json)
