"""Pairs of a satellite and a hub of either make, as processes of their own; what the matrix found is written down."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from helpers import compatibility
from helpers.pair import Pair
from helpers.processes import Children

CONTROL = {"released-satellite-released-hub": ("released-client", "released-hub")}
MIXED = {
    "released-satellite-our-hub": ("released-client", "ours"),
    "our-satellite-released-hub": ("ours", "released-hub"),
}


@pytest.fixture(params=MIXED)
def pair(children: Children, request: pytest.FixtureRequest) -> Pair:
    """A released satellite at our hub, then ours at a released one."""
    return Pair(children, *MIXED[request.param])


@pytest.fixture(params=[*CONTROL, *MIXED])
def every_pair(children: Children, request: pytest.FixtureRequest) -> Pair:
    """The same and, as a control, released with released."""
    return Pair(children, *{**CONTROL, **MIXED}[request.param])


FOUND = pytest.StashKey[dict[tuple[Any, str], str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-compatibility", action="store_true", help="write docs/compatibility.md if the whole matrix passed"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the outcome of a cell that passed."""
    report = yield
    outcome = dict(report.user_properties).get("outcome")
    if report.when == "call" and report.passed and outcome is not None and isinstance(item, pytest.Function):
        params = item.callspec.params
        item.config.stash[FOUND][params["row"], params["column"]] = str(outcome)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--write-compatibility"):
        written = compatibility.write(config.stash[FOUND])
        whether = "written" if written else "not written: not every cell was tried and passed"
        terminalreporter.write_line(f"docs/compatibility.md was {whether}")
