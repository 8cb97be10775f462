"""What checks say, counted and summed up."""

from __future__ import annotations

import pytest

from hivemind_bus_client.doctor.findings import Finding, count, fail, ok, summary, warn

GOOD, HM, BAD = ok("a", "Fine."), warn("b", "So so.", "Look."), fail("c", "Broken.", "Mend it.", "invalid_key")


def test_each_has_its_verdict() -> None:
    assert [finding.verdict for finding in (GOOD, HM, BAD)] == ["ok", "warn", "FAIL"]


def test_as_json_the_code_is_left_out_where_there_is_none() -> None:
    assert GOOD.as_dict() == {"verdict": "ok", "what": "a", "reason": "Fine.", "cure": ""}
    assert BAD.as_dict() == {
        "verdict": "FAIL",
        "what": "c",
        "reason": "Broken.",
        "cure": "Mend it.",
        "code": "invalid_key",
    }


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], "All is well: 0 findings, nothing to do."),
        ([GOOD], "All is well: 1 finding, nothing to do."),
        ([GOOD, HM], "1 warning."),
        ([BAD, HM, BAD, HM], "2 failures and 2 warnings."),
    ],
)
def test_what_it_comes_to(findings: list[Finding], expected: str) -> None:
    assert summary(findings) == expected
    assert sum(count(findings).values()) == len(findings)
