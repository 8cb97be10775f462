"""The hubs that are attacked: one of ours for a module, and others as an attack needs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.processes import Children
from helpers.target import Target


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Our hub as a process of its own; each attack uses clients of its own."""
    with Children(tmp_path_factory.mktemp("target")) as children:
        made = Target(children)
        try:
            yield made
        except AssertionError:
            print(children.report())
            raise
        made.close()
