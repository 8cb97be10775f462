"""What is printed, and the exit code."""

from __future__ import annotations

import json

import click
import pytest

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn
from hivemind_bus_client.doctor.running import Check
from hivemind_bus_client.doctor.telling import tell

GOOD, HM, BAD = ok("a", "Fine."), warn("b", "So so.", "Look."), fail("c", "Broken.", "Mend it.")


def told(*findings: Finding, as_json: bool = False) -> int:
    try:
        tell([Check("a", lambda case: findings)], None, as_json=as_json)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return 0


@pytest.mark.parametrize(("findings", "code"), [([GOOD], 0), ([GOOD, HM], 0), ([HM, BAD], 1), ([], 0)])
def test_only_failures_end_with_1(findings: list[Finding], code: int) -> None:
    assert told(*findings) == told(*findings, as_json=True) == code


def test_a_report_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    told(GOOD, BAD)
    expected = "ok    a           Fine.\nFAIL  c           Broken.\n                  -> Mend it.\n\n1 failure.\n"
    assert capsys.readouterr() == (expected, "")


def test_a_report_for_programs_is_nothing_but_json(capsys: pytest.CaptureFixture[str]) -> None:
    told(GOOD, BAD, as_json=True)
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 2


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    told(GOOD)
    assert ("\033[32mok\033[0m" in capsys.readouterr().out) is coloured
