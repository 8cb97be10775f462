"""Where the hub listens, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.live_hub import LiveHub
from helpers.processes import free_port
from helpers.strangers import LOCAL, echoes, http, stranger
from hivemind_bus_client.doctor.findings import Finding
from hivemind_core.config import data_dir, load_config
from hivemind_core.doctor import ports
from hivemind_core.doctor.case import HubCase
from hivemind_core.doctor.ports import holder, look
from hivemind_core.whereabouts import announce


def found(port: int, *, host: str = LOCAL, **document: Any) -> list[Finding]:
    websocket = {"hivemind-websocket-plugin": {"host": host, "port": port}}
    return list(look(HubCase(config=load_config(overrides={"network_protocol": websocket, **document}))))


@pytest.fixture(autouse=True)
def no_firewall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """This machine's firewall is none of our business."""
    monkeypatch.setattr(ports, "UFW", tmp_path / "ufw.conf")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_settings_nothing_is_said() -> None:
    assert list(look(HubCase())) == []


def test_a_free_port_means_that_the_hub_does_not_run() -> None:
    (told,) = found(free_port())
    assert (told.verdict, told.cure) == ("warn", "Start it: `hivemind-core listen`.")


@pytest.mark.parametrize("manner", [echoes, http()])
def test_a_port_that_somebody_else_has(manner: Any) -> None:
    with stranger(manner) as port:
        (told,) = found(port)
    assert told.verdict == "FAIL"
    assert f"(pid {os.getpid()})" in told.reason
    assert f":{port}" in told.cure


async def test_the_hub_that_runs(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "hub") as live:
        runs, refuses, hidden = await asyncio.to_thread(found, live.port)
    assert (runs.verdict, refuses.verdict, hidden.verdict) == ("ok", "ok", "warn")
    assert "access key" in refuses.reason
    assert f"ws://127.0.0.1:{live.port}" in runs.reason
    assert "0.0.0.0" in hidden.cure


async def test_another_release_runs_than_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with LiveHub(tmp_path / "hub") as live:
        data_dir().joinpath("hivemind-core").mkdir(parents=True)
        announce(live.config, live.port)
        assert [each.verdict for each in await asyncio.to_thread(found, live.port)] == ["ok", "ok", "warn"]
        monkeypatch.setattr(ports, "__version__", "99.0")
        other = (await asyncio.to_thread(found, live.port))[-1]
    assert (other.verdict, "99.0 is installed" in other.reason, other.cure) == ("warn", True, "Restart the hub.")


def test_an_address_that_is_not_ours() -> None:
    told = found(free_port(), host="203.0.113.1") + found(free_port(), host="nowhere.example")
    assert [each.verdict for each in told] == ["FAIL", "FAIL"]


def test_any_free_port_is_not_looked_for() -> None:
    assert [each.verdict for each in found(0)] == ["ok"]


def test_who_listens() -> None:
    with socket.create_server((LOCAL, 0)) as server:
        assert holder(server.getsockname()[1]).endswith(f"(pid {os.getpid()})")
    assert holder(free_port()) == ""


def test_a_firewall_is_hinted_at(no_firewall: Path) -> None:
    front = load_config().websocket
    assert list(ports._ways_in(front)) == []
    (no_firewall / "ufw.conf").write_text("ENABLED=yes\n")
    (told,) = ports._ways_in(front)
    assert (told.verdict, "sudo ufw allow 5678/tcp" in told.cure) == ("warn", True)


@pytest.mark.parametrize(("answer", "verdicts"), [("no", ["warn"]), ("yes", [])])
def test_firewalld_is_asked(no_firewall: Path, answer: str, verdicts: list[str]) -> None:
    program = no_firewall / "firewall-cmd"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)
    assert [each.verdict for each in ports._ways_in(load_config().websocket)] == verdicts
