"""The identity in the hub's folder: put there whole, for its owner alone, and the former one kept."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.psk_cache import PskCache
from hivemind_core.cluster.identity_files import own, own_fingerprint, put
from hivemind_core.cluster.shared_identity import SharedIdentity
from hivemind_core.config import ConfigError
from hivemind_core.hub_identity import identity_path, load_identity

NOW = datetime(2031, 2, 3, 4, 5, 6)
PIN = "ab" * 32


@pytest.fixture
def shared(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedIdentity:
    """The identity of a hub on another machine."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    load_identity()
    file = NodeIdentity(identity_file=identity_path())
    file.site_id = "attic"
    file.add_trusted_key("alice", "A PEM")
    file.pin_noise_key("above:5678", PIN)
    found = own()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own_home / "config"))
    return found


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_that_members_share_is_read(shared: SharedIdentity) -> None:
    assert shared.rsa_key.startswith("-----BEGIN")
    expected = ("attic", {"alice": "A PEM"}, {"above:5678": PIN})
    assert (shared.site_id, shared.trusted_keys, shared.pinned_keys) == expected


def test_a_hub_without_an_identity_gets_it_before_its_first_start(shared: SharedIdentity) -> None:
    assert own_fingerprint() is None
    assert not identity_path().exists()
    assert put(shared, NOW) is None
    assert own() == shared
    assert own_fingerprint() == shared.fingerprint
    loaded = load_identity()
    assert (loaded.node_id, loaded.noise_key, loaded.rsa_key) == (shared.node_id, shared.noise_key, shared.rsa_key)
    assert (loaded.site_id, loaded.trusted_keys) == ("attic", ("A PEM",))


def test_only_the_owner_may_read_any_of_it(shared: SharedIdentity) -> None:
    load_identity()
    backup = put(shared, NOW)
    assert backup is not None
    folder = identity_path().parent
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert backup.stat().st_mode & 0o777 == 0o700


def test_the_former_identity_is_kept_and_works_when_it_is_put_back(shared: SharedIdentity) -> None:
    former = load_identity()
    folder = identity_path().parent
    noise = NodeIdentity(identity_file=identity_path()).noise_key
    PskCache(noise).save("key", "node", bytes(32), "password")
    before = everything(folder)
    backup = put(shared, NOW)
    assert backup == folder / "identity-backup-20310203-040506"
    assert everything(backup) == before
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "_identity.json",
        f"cluster-{shared.fingerprint[:8]}.pem",
        f"cluster-{shared.fingerprint[:8]}_noise.key",
    }
    for name, data in before.items():
        (folder / name).write_bytes(data)
    assert load_identity() == former


def test_what_cannot_be_read_is_kept_too(shared: SharedIdentity) -> None:
    identity_path().parent.mkdir(parents=True)
    identity_path().write_text("{ half")
    with pytest.raises(ConfigError):
        own_fingerprint()
    backup = put(shared, NOW)
    assert backup is not None
    assert everything(backup) == {"_identity.json": b"{ half"}
    assert own() == shared


def test_a_step_that_fails_leaves_the_former_identity_whole(
    shared: SharedIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = load_identity()

    def full(self: Path, target: Path) -> Path:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space"):
            put(shared, NOW)
    assert load_identity() == former
    put(shared, NOW)
    assert own() == shared


def test_an_identity_that_misses_its_rsa_key_is_not_shared() -> None:
    load_identity()
    Path(NodeIdentity(identity_file=identity_path()).private_key).unlink()
    with pytest.raises(ConfigError, match="RSA key is missing"):
        own()
