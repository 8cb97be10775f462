"""Each target with coverage guidance for HIVEMIND_FUZZ_SECONDS (60): three at a time, behind everything else."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.targets import TARGETS
from helpers.pair import cannot_run
from helpers.processes import Child, Children, wait_until

SECONDS = int(os.environ.get("HIVEMIND_FUZZ_SECONDS", "60"))
AT_ONCE = 3
PATIENCE_S = 120
"""For each, on a busy machine: to import, to try what is in the corpus, to end."""
ALL_S = -(-len(TARGETS) // AT_ONCE) * (SECONDS + PATIENCE_S)
TOLD = 6000
"""Characters of what broke, which is printed before libFuzzer's own end."""
TESTS = Path(__file__).parents[1]

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(ALL_S + PATIENCE_S)]


class Minutes:
    """The processes that fuzz, started one after the other while somebody waits for any of them."""

    def __init__(self, children: Children, names: list[str]) -> None:
        self._children = children
        self._waiting = names
        self._started: dict[str, Child] = {}

    def ended(self, name: str) -> Child:
        """Wait for the end of one."""
        wait_until(lambda: self._is_over(name), ALL_S, f"the end of {name}")
        return self._started[name]

    def _is_over(self, name: str) -> bool:
        running = sum(child.running for child in self._started.values())
        for target in self._waiting[: AT_ONCE - running]:
            self._waiting.remove(target)
            self._started[target] = self._start(target)
        time.sleep(0.2)
        return name in self._started and not self._started[name].running

    def _start(self, name: str) -> Child:
        home = self._children.home(name)
        argv: list[str | Path] = [sys.executable, "-m", "fuzz", name, "--seconds", str(SECONDS), "--nice", "10"]
        env = {"PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        child = self._children.spawn(name, [*argv, "--crashes", home.path / "crashes"], home, env)
        child.close_stdin()
        return child


@pytest.fixture(scope="module")
def minutes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minutes]:
    """Those of the targets that are chosen."""
    if importlib.util.find_spec("atheris") is None:
        cannot_run("there is no atheris for this Python or this machine: only what is known already was tried")
    items = [item for item in request.session.items if item.path == request.path]
    with Children(tmp_path_factory.mktemp("fuzz")) as children:
        yield Minutes(children, [name for name in sorted(TARGETS) for item in items if item.name.endswith(f"[{name}]")])


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_breaks_in_time(name: str, minutes: Minutes) -> None:
    child = minutes.ended(name)
    assert child.process.returncode == 0, f"{child.stdout.read_text()[-TOLD:]}\n{child.tail()}"
    assert "stat::number_of_executed_units" in child.output()
