"""Hubs and satellites as processes of their own, over real sockets and real SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.processes import Children

CHILDREN = pytest.StashKey[Children]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


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
