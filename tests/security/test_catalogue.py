"""Every known weakness has a row in docs/security.md and a test in this folder, and every attack is tried."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import attacks_commands, attacks_outside, attacks_parts, attacks_protocol, attacks_satellite

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "security.md").read_text("utf-8")
TESTS = "\n".join(
    path.read_text("utf-8") for path in sorted(HERE.glob("test_*.py")) if path.name != Path(__file__).name
)
RELEASED = [(HERE / f"test_released_{of}.py").read_text("utf-8") for of in ("hub", "client")]
OURS = TESTS.replace(RELEASED[0], "").replace(RELEASED[1], "")
MODULES = (attacks_commands, attacks_outside, attacks_parts, attacks_protocol, attacks_satellite)
ATTACK = re.compile(r"[wpc]\d\d_")
ROW = re.compile(r"^\| (([WPC])\d+) \| (\S+) \|.*\| ([^|]*) \|$", re.MULTILINE)
CHATROOM_ROW = re.compile(r"^\| R(\d+) \|.*\| ([^|]*) \|$", re.MULTILINE)
ROWS = [match.groups() for match in ROW.finditer(PAGE)]


def attacks() -> list[Callable[..., Any]]:
    found = {name: value for module in MODULES for name, value in vars(module).items() if ATTACK.match(name)}
    return list(found.values())


def made_there(kind: str) -> set[str]:
    """The attacks that are made on released packages, and are HARMFUL or HARMLESS to them."""
    trees = [ast.parse(text) for text in RELEASED]
    lists = [node for tree in trees for node in tree.body if isinstance(node, ast.Assign)]
    ours = [
        node.value for node in lists if isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith(kind)
    ]
    named = {leaf.attr for node in ours for leaf in ast.walk(node) if isinstance(leaf, ast.Attribute)}
    alone = set(re.findall(r"is_harmed_by_([wpc]\d\d_\w+)", "".join(RELEASED)))
    return named | (alone if kind == "HARMFUL" else set())


def is_any(tests: str, made: set[str]) -> bool:
    """Whether a row names an attack that is among these; its name may be cut short."""
    return any(attack.startswith(name) for name in re.findall(r"`([wpc]\d\d_\w*)", tests) for attack in made)


@pytest.mark.parametrize("number", range(1, 38), ids=lambda number: f"W{number}")
def test_every_weakness_has_a_row_and_a_test(number: int) -> None:
    assert f"\n| W{number} |" in PAGE
    assert re.search(rf"\bw{number:02}_|test_w{number:02}_|of_w{number:02}_", OURS)


@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.__name__)
def test_every_attack_is_tried_and_told(attack: Callable[..., Any]) -> None:
    assert attack.__name__ in OURS
    assert f"`{attack.__name__}`" in PAGE


@pytest.mark.parametrize(("row", "letter", "mark", "tests"), ROWS, ids=[row[0] for row in ROWS])
def test_the_table_says_of_the_released_packages_what_is_shown_there(
    row: str, letter: str, mark: str, tests: str
) -> None:
    shown = "✔" if is_any(tests, made_there("HARMFUL")) else "=" if is_any(tests, made_there("HARMLESS")) else "–"
    assert mark == shown
    assert mark == "✔" or re.search(rf"^\* (?:[WPC]\d+, )*{row}\b.*: ", PAGE, re.MULTILINE), "and why?"


def test_the_tables_have_every_line() -> None:
    assert [row for row, letter, *_ in ROWS if letter == "W"] == [f"W{number}" for number in range(1, 38)]
    assert [row for row, letter, *_ in ROWS if letter == "P"] == [f"P{number}" for number in range(1, 19)]
    assert {row for row, letter, *_ in ROWS if letter == "C"} == {f"C{number}" for number in (9, 10, 12, 15, 22, 23)}


@pytest.mark.parametrize("number", range(1, 15), ids=lambda number: f"R{number}")
def test_every_row_of_the_chatroom_names_tests_that_are_there(number: int) -> None:
    tests = dict(CHATROOM_ROW.findall(PAGE))[str(number)]
    named = re.findall(r"`([\w/]+\.py)`", tests)
    assert named
    for name in named:
        assert (HERE.parent / (name if "/" in name else f"chatroom/{name}")).is_file(), name


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:\w+/)+test_\w+\.py)`", PAGE)
    assert len(named) > 20
    assert [name for name in named if not (HERE.parent / name.removeprefix("tests/")).is_file()] == []


@pytest.mark.parametrize("letter", "WPC")
def test_every_row_names_a_test_that_is_there(letter: str) -> None:
    rows = re.findall(rf"^\| {letter}(\d+) \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 6
    for number, tests in rows:
        for name in re.findall(r"`(test_[wpc]\d\d_|[wpc]\d\d_)", tests):
            assert name in OURS, (number, name)
