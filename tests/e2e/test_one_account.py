"""A hub and a satellite under one account: what is done to the one's identity leaves the other's alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from helpers.hub_process import HubProcess
from helpers.processes import Child, Children, free_port
from hivemind_bus_client.identity import NodeIdentity

BIN = Path(sys.executable).parent
KEY, PASSWORD = "access-key-of-the-kitchen", "orbital-walnut-cipher-93-lantern"


@pytest.fixture
def hub(children: Children) -> HubProcess:
    made = HubProcess(children, BIN / "hivemind-core", free_port())
    made.configure({"agent_protocol": {"module": "builtin"}})
    made.add_client(KEY, PASSWORD, name="kitchen")
    made.start()
    return made


def satellite(children: Children, hub: HubProcess, *arguments: str) -> Child:
    """Run a command of the satellite in the hub's own home."""
    child = children.spawn(arguments[0], [BIN / "hivemind-client", *arguments], hub.home)
    child.close_stdin()
    assert child.wait_exit() == 0, child.tail()
    return child


def hub_files(hub: HubProcess) -> dict[str, bytes]:
    folder = hub.home.config / "hivemind-core"
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def node_id(hub: HubProcess) -> str | None:
    return NodeIdentity(hub.home.config / "hivemind-core" / "_identity.json").public_key


@pytest.mark.parametrize("command", [["set-identity", "--siteid", "attic"], ["reset-pgp"]])
def test_what_changes_the_satellite_changes_nothing_of_the_hub(
    children: Children, hub: HubProcess, command: list[str]
) -> None:
    where = ["--host", "127.0.0.1", "--port", str(hub.port)]
    satellite(children, hub, "set-identity", "--key", KEY, "--password", PASSWORD, *where)
    satellite(children, hub, "test-identity")
    own = NodeIdentity(hub.home.config / "hivemind" / "_identity.json")
    before, files, pins = node_id(hub), hub_files(hub), own.pinned_noise_keys
    assert before
    assert before != own.public_key

    satellite(children, hub, *command)
    satellite(children, hub, "test-identity")
    hub.stop()
    hub.start()
    satellite(children, hub, "test-identity")

    assert node_id(hub) == before
    assert hub_files(hub) == files
    own.reload()
    assert own.pinned_noise_keys == pins
    assert own.site_id == ("attic" if "--siteid" in command else None)


def test_the_hubs_rsa_key_is_the_one_it_announces(children: Children, hub: HubProcess) -> None:
    where = ["--host", "127.0.0.1", "--port", str(hub.port), "--key", KEY, "--password", PASSWORD]
    satellite(children, hub, "test-identity", *where)
    folder = hub.home.config / "hivemind"
    assert not (folder / "HiveMindComs.pem").exists()
    kept = json.loads(next(folder.glob("*_psks.json")).read_text("utf-8"))
    assert any(str(node_id(hub)) in name for name in kept)
