"""Runs checks one after the other: each in a thread that is left behind where it takes too long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from .findings import Finding, fail

Case = TypeVar("Case")

LIMIT_S = 30.0
"""How long one check may take, in seconds; those that wait for others have shorter limits of their own."""
REPORT_IT = "This is a fault of the doctor; report it with this line."


@dataclass(frozen=True)
class Check(Generic[Case]):
    """One row of a table of checks."""

    what: str
    """Its name, for what it cannot say itself."""
    look: Callable[[Case], Iterable[Finding]]
    """May block and raise; what it yielded before counts."""
    limit_s: float = LIMIT_S


def run(checks: Sequence[Check[Case]], case: Case) -> Iterator[Finding]:
    """Yield what the checks find in a case, in their order, as soon as each is done."""
    for check in checks:
        yield from _examined(check, case)


def _examined(check: Check[Case], case: Case) -> list[Finding]:
    found: list[Finding] = []
    outcome: Future[None] = Future()

    def look() -> None:
        try:
            for finding in check.look(case):
                found.append(finding)
            outcome.set_result(None)
        except BaseException as error:  # noqa: BLE001 - top of a thread; it becomes a finding
            outcome.set_exception(error)

    threading.Thread(target=look, name=f"doctor: {check.what}", daemon=True).start()
    try:
        outcome.result(check.limit_s)
    except futures.TimeoutError:
        return [*found, fail(check.what, f"It was not done within {check.limit_s:g} s.", "Try again.")]
    except OSError as error:
        return [*found, fail(check.what, f"It could not be looked at: {error.strerror or error}.", REPORT_IT)]
    except BaseException as error:  # noqa: BLE001 - whatever a check raises, the others go on
        return [*found, fail(check.what, f"It could not be looked at ({type(error).__name__}).", REPORT_IT)]
    return found
