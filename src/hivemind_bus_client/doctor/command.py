"""``hivemind-client doctor``: the table of its checks."""

from __future__ import annotations

from collections.abc import Iterator

from . import credentials
from .findings import Finding
from .machine import clock, versions
from .running import Check
from .session import session
from .telling import tell
from .visit import Visit

SLACK_S = 15.0
"""What a check that waits for others takes besides: a key to derive, a connection to close."""


def _versions(visit: Visit) -> Iterator[Finding]:
    return versions()


def _clock(visit: Visit) -> Iterator[Finding]:
    yield clock(visit.wall())


def checks(timeout_s: float) -> tuple[Check[Visit], ...]:
    """Return the checks in their order; a later one may use what an earlier one found out."""
    return (
        Check("versions", _versions),
        Check("clock", _clock),
        Check("identity", credentials.identity),
        Check("keys", credentials.keys),
        Check("address", credentials.address),
        Check("port", credentials.network),
        Check("port", credentials.door),
        Check("session", session, 2 * timeout_s + SLACK_S),
    )


def examine(visit: Visit, *, as_json: bool) -> None:
    """Examine a satellite and print what was found. Raises Exit with code 1 where something failed."""
    tell(checks(visit.target.timeout), visit, as_json=as_json)
