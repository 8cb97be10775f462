"""What a check says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"
"""Verdicts: as it should be; works, but somebody should know; does not work."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    verdict: str
    """`OK`, `WARN` or `FAIL`."""
    what: str
    """What was looked at, in a word or two."""
    reason: str
    """What was found, a sentence without any secret in it."""
    cure: str = ""
    """What to do about it, with the command to run; empty where all is well."""
    code: str = ""
    """The name in the table of refusals or denials, where it is one of them."""

    def as_dict(self) -> dict[str, str]:
        """The JSON form; what is empty is left out, the cure apart."""
        return {key: value for key, value in asdict(self).items() if value or key != "code"}


def ok(what: str, reason: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(OK, what, reason)


def warn(what: str, reason: str, cure: str = "") -> Finding:
    """Return a finding that somebody should know of."""
    return Finding(WARN, what, reason, cure)


def fail(what: str, reason: str, cure: str = "", code: str = "") -> Finding:
    """Return a finding of something that does not work."""
    return Finding(FAIL, what, reason, cure, code)


def count(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each verdict."""
    verdicts = [finding.verdict for finding in findings]
    return {verdict: verdicts.count(verdict) for verdict in (OK, WARN, FAIL)}


def summary(findings: Iterable[Finding]) -> str:
    """Return what it comes to, in one line."""
    counts = count(findings)
    told = [_number(counts[FAIL], "failure")] if counts[FAIL] else []
    told += [_number(counts[WARN], "warning")] if counts[WARN] else []
    return f"{' and '.join(told)}." if told else f"All is well: {_number(counts[OK], 'finding')}, nothing to do."


def _number(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
