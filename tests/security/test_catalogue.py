"""Every known weakness has a row in docs/security.md and a test in this folder, and every attack is tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import attacks_commands, attacks_outside

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "security.md").read_text("utf-8")
TESTS = "\n".join(
    path.read_text("utf-8") for path in sorted(HERE.glob("test_*.py")) if path.name != Path(__file__).name
)
OURS = TESTS.replace((HERE / "test_released_hub.py").read_text("utf-8"), "")
RELEASED = (HERE / "test_released_hub.py").read_text("utf-8")
ATTACK = re.compile(r"[wp]\d\d_")


def attacks(module: Any) -> list[Callable[..., Any]]:
    return [value for name, value in vars(module).items() if ATTACK.match(name)]


@pytest.mark.parametrize("number", range(1, 38), ids=lambda number: f"W{number}")
def test_every_weakness_has_a_row_and_a_test(number: int) -> None:
    assert f"\n| W{number} |" in PAGE
    assert re.search(rf"\bw{number:02}_|test_w{number:02}_|of_w{number:02}_", OURS)


@pytest.mark.parametrize("attack", [*attacks(attacks_outside), *attacks(attacks_commands)], ids=lambda a: a.__name__)
def test_every_attack_is_tried_and_told(attack: Callable[..., Any]) -> None:
    assert attack.__name__ in OURS
    assert f"`{attack.__name__}`" in PAGE


def test_the_table_says_of_the_released_hub_what_is_shown_there() -> None:
    shown = {int(number) for number in re.findall(r"\.w(\d\d)_", RELEASED)}
    assert shown == {int(number) for number in re.findall(r"^\| W(\d+) \| ✔ \|", PAGE, re.MULTILINE)}


@pytest.mark.parametrize("letter", "PC")
def test_every_other_row_names_a_test_that_is_there(letter: str) -> None:
    rows = re.findall(rf"^\| {letter}(\d+) \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 6
    for number, tests in rows:
        for name in re.findall(r"`(test_[pc]\d\d_|[wp]\d\d_)", tests):
            assert name in OURS, (number, name)
