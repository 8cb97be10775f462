from __future__ import annotations

import json
from pathlib import Path

import pytest

from hivemind_bus_client.identity import NodeIdentity
from hivemind_core.config import ConfigError
from hivemind_core.hub_identity import load_identity


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()}


def test_the_first_start_makes_an_identity_that_stays(own_home: Path) -> None:
    first = load_identity()
    assert first.node_id.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert not first.node_id.endswith("\n")
    assert len(first.noise_key) == 32
    again = load_identity()
    assert again == first
    assert modes(own_home / "config" / "hivemind-core") == {0o600}
    assert first.noise_key.hex() not in repr(first)


def test_a_satellite_of_the_same_account_has_its_own_keys(own_home: Path) -> None:
    satellite = NodeIdentity()
    satellite.create_keys()
    satellite.save()
    hub = load_identity()
    assert hub.node_id != satellite.public_key
    satellite.site_id = "kitchen"
    satellite.create_keys()
    satellite.save()
    assert load_identity() == hub
    assert hub.site_id is None


@pytest.mark.parametrize("trace", ["config/hivemind-core/server.json", "data/hivemind-core/clients.db"])
def test_a_released_installation_keeps_its_node_id(own_home: Path, trace: str) -> None:
    released = NodeIdentity()
    released.create_keys()
    released.site_id = "attic"
    released.save()
    noise = own_home / "config" / "hivemind" / "unnamed-node_noise.key"
    noise.write_text("ab" * 32)
    left = own_home / trace
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("{}")
    hub = load_identity()
    assert hub.node_id == released.public_key
    assert hub.noise_key == bytes.fromhex("ab" * 32)
    assert hub.site_id == "attic"
    assert modes(own_home / "config" / "hivemind-core") <= {0o600, 0o644 if trace.endswith("server.json") else 0o600}
    released.create_keys()
    released.save()
    assert load_identity() == hub


def test_a_released_installation_without_a_key_gets_a_new_one(own_home: Path) -> None:
    left = own_home / "data/hivemind-core/clients.db"
    left.parent.mkdir(parents=True)
    left.touch()
    assert load_identity().node_id


def test_a_broken_identity_is_never_replaced(own_home: Path) -> None:
    load_identity()
    path = own_home / "config" / "hivemind-core" / "_identity.json"
    path.write_text("{broken")
    with pytest.raises(ConfigError, match="left as it is"):
        load_identity()
    assert path.read_text() == "{broken"


def test_a_lost_key_is_said_not_replaced(own_home: Path) -> None:
    load_identity()
    folder = own_home / "config" / "hivemind-core"
    (folder / "HiveMindComs.pem").unlink()
    document = json.loads((folder / "_identity.json").read_text())
    document.pop("public_key", None)
    (folder / "_identity.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=r"Put back .*HiveMindComs\.pem"):
        load_identity()
