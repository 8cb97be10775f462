"""A hub that serves TLS, and what a satellite is told to join it, each a process of its own."""

from __future__ import annotations

import shlex
import ssl
import sys
import urllib.request
from pathlib import Path

import pytest

from helpers.hub_process import HOST, HubProcess
from helpers.processes import Child, Children, free_port

BIN = Path(sys.executable).parent


@pytest.fixture
def hub(children: Children) -> HubProcess:
    made = HubProcess(children, BIN / "hivemind-core", free_port())
    block = {"host": HOST, "port": made.port, "ssl": True}
    made.configure({"agent_protocol": {"module": "builtin"}, "network_protocol": {"hivemind-websocket-plugin": block}})
    return made


def test_the_printed_line_joins_over_tls(children: Children, hub: HubProcess) -> None:
    printed = hub.command("add-client", "--name", "kitchen")
    (line,) = [line.strip() for line in printed.splitlines() if "set-identity" in line]
    program, *arguments = shlex.split(line)
    assert f"wss://{HOST}" in arguments
    running = hub.start()
    running.wait_output(f"listening on wss://{HOST}:{hub.port}")
    home = children.home("satellite")
    children.run("set-identity", [BIN / program, *arguments], home)
    asked = talk(children, home.path.name)
    assert ">  It is " in asked.output()
    assert hub.stop() == 0


def talk(children: Children, home: str) -> Child:
    child = children.spawn("terminal", [BIN / "hivemind-client", "terminal"], children.home(home))
    child.write("what time is it\n")
    child.close_stdin()
    assert child.wait_exit() == 0
    return child


def test_its_certificate_stays_and_can_be_verified(hub: HubProcess) -> None:
    hub.start()
    certificate = hub.home.data / "hivemind" / "hivemind.crt"
    before = certificate.read_bytes()
    context = ssl.create_default_context(cafile=certificate)
    with urllib.request.urlopen(f"https://localhost:{hub.port}/_healthz", context=context, timeout=60) as answer:
        assert answer.status == 204
    hub.stop()
    hub.start()
    assert certificate.read_bytes() == before
