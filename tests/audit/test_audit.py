"""The audit finds what is wrong; what pip-audit says is read as it is meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from packaging.requirements import Requirement

from audit import __main__ as program
from audit import advisories, licences, tree


def printed(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(dependencies), "fixes": []})


FLAW = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0"], "description": "…"}
FLAWED = {"name": "thing", "version": "1.0", "vulns": [FLAW]}
UNKNOWN = {"name": "other", "skip_reason": "Dependency not found on PyPI and could not be audited: other (1.0)"}


def test_what_the_project_brings_is_what_is_expected() -> None:
    for extra in tree.EXPECTED:
        found = tree.installed(extra)
        assert found.problems == []
        assert [*tree.unexpected(extra, found.versions)] == []
        assert [*filter(None, map(licences.problem, found.versions))] == []
    assert {"click", "cryptography", "websockets", "cffi"} <= tree.installed(tree.SATELLITE).versions.keys()
    assert "aiohttp" in tree.installed("hub").versions


def test_what_is_not_expected_is_told() -> None:
    assert "brings left-pad 1.0" in next(tree.unexpected(tree.SATELLITE, {"click": "8", "left-pad": "1.0"}))
    many = {f"p{number}": "1" for number in range(11)}
    assert "11 packages; 10 are the most" in [*tree.unexpected(tree.SATELLITE, many)][-1]


def test_what_does_not_fit_is_told() -> None:
    assert tree.missing(Requirement("click>=1")) == ""
    assert "asks for click >=999, and" in tree.missing(Requirement("click>=999"))
    assert "is not installed" in tree.missing(Requirement("there-is-no-such-thing"))


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("Apache-2.0 OR BSD-3-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("BSD License", True),
        ("ZPL 2.1", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_licences(licence: str, allowed: bool) -> None:
    assert licences.is_allowed(licence) is allowed


def test_a_flaw_is_told_unless_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    told = advisories.read(printed(FLAWED))
    assert (told.problems, told.why_not) == (["thing 1.0: PYSEC-1; mended in 2.0"], "")
    monkeypatch.setitem(advisories.ACCEPTED, "CVE-1", "it concerns another part")
    assert advisories.read(printed(FLAWED)).problems == []


def test_what_could_not_be_asked_is_not_taken_for_safe() -> None:
    told = advisories.read(printed(UNKNOWN, {"name": "fine", "version": "1", "vulns": []}))
    assert told.asked == ["fine"]
    assert "1 packages" in told.why_not


def test_the_last_word_names_what_was_not_asked_and_is_no_pass() -> None:
    versions = {"fine": "1", "other": "1.0", "third": "3"}
    told = advisories.read(printed(UNKNOWN, {"name": "fine", "version": "1", "vulns": []}))
    for required in (False, True):
        lines, fails = advisories.verdict(told, versions, required)
        assert fails is required
        assert lines[0].startswith("advisories: NOT ASKED for 2 of 3 packages: the advisories know nothing of")
        assert lines[1] == "NOT ASKED: other==1.0 third==3"
        assert "no pass" in lines[2]


def test_only_when_all_were_asked_is_that_said() -> None:
    told = advisories.read(printed(FLAWED))
    assert advisories.verdict(told, {"thing": "1.0"}, required=True) == (
        ["advisories: all 1 packages were looked up; 1 findings."],
        False,
    )
    nothing = advisories.Advice()
    assert "they are not in the answer" in advisories.verdict(nothing, {"thing": "1.0"}, required=False)[0][0]


@pytest.mark.parametrize(("value", "code"), [("", 0), ("required", 1)])
def test_a_machine_without_reach_says_so_and_fails_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, code: int
) -> None:
    monkeypatch.setenv(advisories.REQUIRED, value)
    monkeypatch.setattr(program, "advice", lambda versions: advisories.Advice(why_not="nobody answers"))
    assert program.main() == code
    last = capsys.readouterr().out.splitlines()
    assert "NOT ASKED" in last[-2]
    assert "aiohttp==" in last[-2]
    assert "no pass" in last[-1]


def test_the_program_that_asks_is_pinned() -> None:
    (pin,) = Requirement(advisories.PIP_AUDIT).specifier
    assert pin.operator == "=="
    assert pin.version in advisories.ENVIRONMENT.name


@pytest.mark.parametrize("text", ["", "[]", "{}", "Traceback"])
def test_anything_else_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError):
        advisories.read(text)
