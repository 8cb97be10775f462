import json
import os
import stat

import pytest

from hivemind_bus_client import identity as identity_module
from hivemind_bus_client.exceptions import IdentityFileCorrupted
from hivemind_bus_client.identity import NodeIdentity, create_RSA_key, export_RSA_key, shared_identity_for


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "hivemind"


@pytest.fixture(scope="module")
def rsa():
    return create_RSA_key()


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_new_identity_is_empty_and_writes_nothing(config):
    identity = NodeIdentity()
    assert identity.IDENTITY_FILE.path == str(config / "_identity.json")
    assert (identity.name, identity.site_id, identity.public_key) == ("unnamed-node", None, None)
    assert identity.private_key == str(config / "unnamed-node.pem")
    assert identity.noise_key == str(config / "unnamed-node_noise.key")
    assert not config.exists()
    with pytest.raises(FileNotFoundError):
        identity.reload()


def test_a_released_file_is_read_and_written_in_its_own_words(config, rsa):
    """What `set-identity` and one v3 connection of the released client leave behind."""
    config.mkdir()
    (config / "HiveMindComs.pem").write_text(rsa[1])
    released = {
        "password": "p",
        "access_key": "k",
        "site_id": "kitchen",
        "default_port": 5678,
        "default_master": "ws://hub",
        "secret_key": "HiveMindComs.pem",
        "public_key": rsa[0],
        "pinned_noise_keys": {"hub:5678": "ab" * 32},
    }
    (config / "_identity.json").write_text(json.dumps(released, indent=4))
    identity = NodeIdentity()
    assert (identity.password, identity.access_key, identity.site_id) == ("p", "k", "kitchen")
    assert (identity.default_master, identity.default_port) == ("ws://hub", 5678)
    assert identity.private_key == str(config / "HiveMindComs.pem")
    assert identity.get_pinned_noise_key("hub:5678") == "ab" * 32
    identity.site_id = "hall"
    identity.save()
    assert json.loads((config / "_identity.json").read_text()) == {**released, "site_id": "hall"}


def test_all_that_may_be_stored_comes_back(tmp_path):
    identity = NodeIdentity(tmp_path / "i.json")
    values = {
        "name": "n",
        "access_key": "k",
        "password": "p",
        "site_id": "s",
        "default_master": "ws://h",
        "default_port": 1,
        "public_key": "PEM",
        "trusted_keys": {"a": "PEM"},
        "pinned_noise_keys": {"h:1": "00"},
    }
    for name, value in values.items():
        setattr(identity, name, value)
    identity.save()
    again = NodeIdentity(str(tmp_path / "i.json"))
    assert {name: getattr(again, name) for name in values} == values
    assert mode(tmp_path / "i.json") == 0o600


def test_any_attribute_may_be_assigned(config):
    NodeIdentity().siteid = "a released satellite does this"


def test_keys_are_private_and_the_released_name_is_kept(config):
    identity = NodeIdentity()
    identity.create_keys()
    assert mode(config / "HiveMindComs.pem") == 0o600
    assert identity.IDENTITY_FILE["secret_key"] == "HiveMindComs.pem"
    pem = (config / "HiveMindComs.pem").read_text()
    assert pem.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert identity.public_key.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert identity.public_key.endswith("-----END PUBLIC KEY-----")
    assert len(identity.public_key) == 450
    assert not (config / "_identity.json").exists()


def test_the_public_key_comes_from_the_private_one_when_it_is_not_stored(config, rsa):
    config.mkdir()
    (config / "unnamed-node.pem").write_text(rsa[1])
    (config / "unnamed-node.pem").chmod(0o644)
    assert NodeIdentity().public_key == rsa[0]
    assert mode(config / "unnamed-node.pem") == 0o600


def test_a_private_key_that_cannot_be_read_means_no_public_one(config, caplog):
    config.mkdir()
    (config / "unnamed-node.pem").write_text("nonsense")
    assert NodeIdentity().public_key is None
    assert "unnamed-node.pem" in caplog.text


def test_key_paths_may_be_relative_absolute_or_from_another_machine(tmp_path, caplog):
    identity = NodeIdentity(tmp_path / "i.json")
    identity.private_key = "keys/a.pem"
    assert identity.private_key == str(tmp_path / "keys" / "a.pem")
    identity.private_key = str(tmp_path / "b.pem")
    assert identity.private_key == str(tmp_path / "b.pem")
    identity.noise_key = str(tmp_path / "new" / "folder" / "c.key")
    assert identity.noise_key == str(tmp_path / "new" / "folder" / "c.key")
    (tmp_path / "no folder").write_text("")
    identity.noise_key = str(tmp_path / "no folder" / "c.key")
    assert identity.noise_key == str(tmp_path / "c.key")
    assert "out of reach" in caplog.text


def test_the_legacy_key_gives_the_name(tmp_path):
    (tmp_path / "i.json").write_text('{"key": "/some/where/living-room"}')
    identity = NodeIdentity(tmp_path / "i.json")
    assert identity.name == identity.IDENTITY_FILE["name"] == "living-room"


def test_keys_are_made_by_the_names_of_the_module(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(identity_module, "create_RSA_key", lambda: ("public", "private"))
    monkeypatch.setattr(identity_module, "export_RSA_key", lambda *given: written.append(given))
    identity = NodeIdentity(tmp_path / "i.json")
    identity.create_keys()
    assert written == [("private", str(tmp_path / "HiveMindComs.pem"))]
    assert identity.public_key == "public"


def test_a_private_key_is_exported_as_text_or_from_an_object(tmp_path, rsa):
    class Exporting:
        def export_key(self):
            return rsa[1].encode()

    for key in (rsa[1], rsa[1].encode(), Exporting()):
        export_RSA_key(key, tmp_path / "new" / "k.pem")
        assert (tmp_path / "new" / "k.pem").read_text() == rsa[1]
        assert mode(tmp_path / "new" / "k.pem") == 0o600
        (tmp_path / "new" / "k.pem").unlink()


def test_the_file_is_opened_by_the_name_of_the_module(config, monkeypatch):
    opened = []
    monkeypatch.setattr(identity_module, "JsonConfigXDG", lambda *args, **named: opened.append((args, named)) or {})
    assert NodeIdentity().IDENTITY_FILE == {}
    NodeIdentity(app_name="sat")
    home = str(config.parent)
    assert opened == [
        (("_identity",), {"subfolder": "hivemind", "xdg_folder": home}),
        (("_identity",), {"subfolder": "hivemind/sat", "xdg_folder": home}),
    ]


def test_a_stand_in_for_the_file_may_be_put_in_later():
    """As tests of applications do."""

    class Store(dict):
        path = "/somewhere/_identity.json"

    identity = NodeIdentity.__new__(NodeIdentity)
    identity.IDENTITY_FILE = Store()
    assert (identity.name, identity.password, identity.trusted_keys) == ("unnamed-node", None, {})
    assert identity.private_key == "/somewhere/unnamed-node.pem"
    identity.default_port = 1
    assert identity.add_trusted_key("a", "PEM")
    assert identity.IDENTITY_FILE == {"default_port": 1, "trusted_keys": {"a": "PEM"}}


def test_a_damaged_file_is_an_error_and_stays(config):
    config.mkdir()
    (config / "_identity.json").write_text('{"password": "p"')
    with pytest.raises(IdentityFileCorrupted):
        NodeIdentity()
    assert (config / "_identity.json").read_text() == '{"password": "p"'


def test_an_application_may_have_its_own(config, caplog):
    assert NodeIdentity(app_name="sat").IDENTITY_FILE.path == str(config / "sat" / "_identity.json")
    config.mkdir()
    (config / "_identity.json").write_text('{"site_id": "shared"}')
    fallback = NodeIdentity(app_name="sat")
    assert (fallback.uses_shared_fallback, fallback.site_id, fallback.app_name) == (True, "shared", "sat")
    assert "shared identity" in caplog.text
    own = NodeIdentity(app_name="sat", shared_fallback=False)
    own.site_id = "own"
    own.save()
    assert NodeIdentity(app_name="sat").site_id == "own"
    assert not NodeIdentity(app_name="sat").uses_shared_fallback


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a" * 65])
def test_an_application_name_that_is_no_folder_name_is_refused(config, name):
    with pytest.raises(ValueError, match="app_name"):
        NodeIdentity(app_name=name)


def test_file_and_application_are_one_too_many(config):
    with pytest.raises(ValueError, match="not both"):
        NodeIdentity("x.json", app_name="x")


def test_another_store_may_stand_in(tmp_path):
    class Store(dict):
        path = str(tmp_path / "store.json")
        stored = 0

        def store(self):
            self.stored += 1

        def reload(self):
            pass

    (tmp_path / "store.json").write_text("{")
    with pytest.raises(IdentityFileCorrupted):
        NodeIdentity(Store())
    store = Store(site_id="there")
    identity = NodeIdentity(identity_file=store)
    identity.pin_noise_key("h:1", "ab")
    assert (identity.site_id, store["pinned_noise_keys"], store.stored) == ("there", {"h:1": "ab"}, 1)


def test_trusted_keys(tmp_path):
    identity = NodeIdentity(tmp_path / "i.json")
    assert identity.add_trusted_key("hub", "PEM")
    assert not identity.add_trusted_key("hub", "other")
    assert identity.is_trusted_key("PEM")
    assert not identity.is_trusted_key("PEM ")
    assert identity.get_trusted_alias("PEM") == "hub"
    assert identity.get_trusted_alias("other") is None
    identity.trusted_keys.clear()
    assert identity.remove_trusted_key("hub")
    assert not identity.remove_trusted_key("hub")


def test_pins_are_saved_at_once(tmp_path):
    NodeIdentity(tmp_path / "i.json").pin_noise_key("h:1", "ab")
    identity = NodeIdentity(tmp_path / "i.json")
    assert identity.get_pinned_noise_key("h:1") == "ab"
    assert identity.forget_noise_key("h:1")
    assert not identity.forget_noise_key("h:1")
    assert NodeIdentity(tmp_path / "i.json").pinned_noise_keys == {}


def test_the_shared_one_is_given_with_a_warning(config, caplog):
    assert shared_identity_for("a plugin").IDENTITY_FILE.path == str(config / "_identity.json")
    assert "a plugin" in caplog.text


def test_secrets_do_not_show(tmp_path):
    identity = NodeIdentity(tmp_path / "i.json")
    identity.password = "hush"
    assert "hush" not in repr(identity)
