"""Checks are run in order; whatever one does, the others are run, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from hivemind_bus_client.doctor.findings import Finding, ok
from hivemind_bus_client.doctor.running import REPORT_IT, Check, run


def good(case: str) -> Iterator[Finding]:
    yield ok(case, "Fine.")


def breaks(case: str) -> Iterator[Finding]:
    yield ok(case, "Begun.")
    raise KeyError("secret")


def no_disk(case: str) -> Iterator[Finding]:
    raise PermissionError(13, "Permission denied", "secret")
    yield


def test_they_are_run_in_order() -> None:
    assert [finding.reason for finding in run([Check("a", good), Check("b", good)], "x")] == ["Fine.", "Fine."]


def test_one_that_breaks_does_not_spoil_what_it_found_or_the_others() -> None:
    begun, broken, fine = run([Check("a", breaks), Check("b", good)], "x")
    assert (begun.reason, fine.reason) == ("Begun.", "Fine.")
    assert (broken.verdict, broken.what, broken.cure) == ("FAIL", "a", REPORT_IT)
    assert broken.reason == "It could not be looked at (KeyError)."


def test_what_the_system_says_is_told_without_names() -> None:
    (told,) = run([Check("a", no_disk)], "x")
    assert told.reason == "It could not be looked at: Permission denied."


def test_one_that_hangs_is_left_behind() -> None:
    over = threading.Event()

    def hangs(case: str) -> Iterator[Finding]:
        yield ok(case, "Begun.")
        over.wait(30)

    begun, late, fine = run([Check("a", hangs, 0.05), Check("b", good)], "x")
    over.set()
    assert (begun.reason, fine.reason) == ("Begun.", "Fine.")
    assert (late.verdict, late.reason) == ("FAIL", "It was not done within 0.05 s.")
