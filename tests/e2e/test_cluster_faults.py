"""A minute of `make soak-cluster`: hubs and Redis on hosts of their own, faults, and every message accounted for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from helpers.pair import cannot_run
from helpers.processes import Children, wait_until
from soak.__main__ import CANNOT

TESTS = Path(__file__).parents[1]
MOST_S = 300
ARGUMENTS = ("--minutes", "0.8", "--satellites", "60", "--seed", "7")


@pytest.mark.timeout(MOST_S + 60)
def test_under_faults_every_message_is_accounted_for(children: Children) -> None:
    record = children.folder / "found.json"
    argv = [sys.executable, "-m", "soak", *ARGUMENTS, "--json", record]
    run = children.spawn("soak", argv, env={"PYTHONPATH": str(TESTS)})
    try:
        wait_until(lambda: not run.running, MOST_S, f"the end of the run\n{run.tail()}")
    finally:
        status = run.stop()  # which takes its network away
    if status == CANNOT:
        cannot_run(run.tail())
    assert status == 0, run.output()
    found = json.loads(record.read_text("utf-8"))
    assert found["faults"] >= 3
    for kind in ("utterance", "speak", "downstream", "propagate", "broadcast", "cascade"):
        assert found["fates"][kind]["delivered"] > 0
