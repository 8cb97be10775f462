"""``hivemind-core doctor`` in this process: what is printed, the exit code, and that nothing is made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.hub_commands import add, hub_command
from helpers.processes import free_port
from hivemind_core.config import default_path
from hivemind_core.doctor.command import CHECKS


def configure(**document: object) -> None:
    default_path().parent.mkdir(parents=True, exist_ok=True)
    default_path().write_text(json.dumps(document), "utf-8")


@pytest.fixture
def quiet() -> None:
    """A hub that does not run, at a port that nobody has."""
    port = {"host": "127.0.0.1", "port": free_port()}
    configure(network_protocol={"hivemind-websocket-plugin": port}, agent_protocol={"module": "builtin"})


def test_a_fresh_account_has_no_failure_and_nothing_is_made_in_it(own_home: Path, quiet: None) -> None:
    before = sorted(own_home.rglob("*"))
    ran = hub_command("doctor")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(own_home.rglob("*")) == before
    assert ran.out.splitlines()[0].startswith("ok    versions    hivemind-mesh")


def test_a_failure_ends_with_1(quiet: None) -> None:
    add("the-access-key", name="kitchen")
    ran = hub_command("doctor")
    assert (ran.code, ran.err) == (1, "")
    assert "FAIL  clients     'kitchen' (id 1): no password" in ran.out
    assert "the-access-key" not in ran.out


def test_as_json(quiet: None) -> None:
    ran = hub_command("doctor", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["ok"]) == (0, True)
    assert {finding["what"] for finding in told["findings"]} <= {*(check.what for check in CHECKS), "disk", "probe"}


def test_the_assistant_is_asked_unless_that_is_not_wanted(quiet: None) -> None:
    assert '"what time is it" was answered "It is ' in hub_command("doctor").out
    assert '"hello" was answered "Good ' in hub_command("doctor", "--probe", "hello").out
    for silent in (["--no-probe"], ["--probe", " "]):
        assert "probe" not in hub_command("doctor", *silent).out


def test_the_file_that_is_named_is_the_one_that_is_read(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("{")
    ran = hub_command("--config", str(mine), "doctor")
    assert ran.code == 1
    assert str(mine) in ran.out


def test_other_commands_do_not_load_it() -> None:
    code = "import sys, hivemind_core.scripts, hivemind_bus_client.scripts; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not [name for name in done.stdout.split() if ".doctor." in name]
