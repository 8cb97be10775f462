"""docs/compatibility.md says what the matrix is expected to find, cell by cell; tests/interop tries every cell."""

from __future__ import annotations

import pytest

from helpers.compatibility import LINES, PAGE, render
from helpers.matrix import CELLS, COLUMNS, VERSIONS, expected
from helpers.released import PINS


def test_the_page_is_what_the_matrix_finds() -> None:
    assert PAGE.read_text("utf-8") == render({cell: expected(*cell) for cell in CELLS})


def test_every_column_has_a_line() -> None:
    assert set(LINES) == set(COLUMNS)


@pytest.mark.parametrize("make", VERSIONS)
def test_every_peer_is_pinned(make: str) -> None:
    version = VERSIONS[make].rpartition(" ")[2]
    package = "hivemind-core" if " hub" in f" {VERSIONS[make]}" else "hivemind-bus-client"
    pins = (PINS / f"{make}.txt").read_text("utf-8").replace("_", "-").lower().splitlines()
    assert f"{package}=={version}" in pins
