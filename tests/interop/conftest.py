"""Pairs of a satellite and a hub of either make, as processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.pair import Pair
from helpers.processes import Children

CHILDREN = pytest.StashKey[Children]()
CONTROL = {"released-satellite-released-hub": ("released-client", "released-hub")}
MIXED = {
    "released-satellite-our-hub": ("released-client", "ours"),
    "our-satellite-released-hub": ("ours", "released-hub"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):  # type: ignore[no-untyped-def]
    report = yield
    children = item.stash.get(CHILDREN, None)
    if report.failed and children is not None:
        report.sections.append(("processes", children.report()))
    return report


@pytest.fixture
def children(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Children]:
    with Children(tmp_path) as running:
        request.node.stash[CHILDREN] = running
        yield running


@pytest.fixture(params=MIXED)
def pair(children: Children, request: pytest.FixtureRequest) -> Pair:
    """A released satellite at our hub, then ours at a released one."""
    return Pair(children, *MIXED[request.param])


@pytest.fixture(params=[*CONTROL, *MIXED])
def every_pair(children: Children, request: pytest.FixtureRequest) -> Pair:
    """The same and, as a control, released with released."""
    return Pair(children, *{**CONTROL, **MIXED}[request.param])
