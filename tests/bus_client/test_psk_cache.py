import hashlib
import json
import os
import stat

from hivemind_bus_client.psk_cache import PskCache, clear_cached_psks

PSK = b"\x01" * 32


def test_the_released_form(tmp_path):
    cache = PskCache(tmp_path / "me_noise.key")
    cache.save("key", "node", PSK, "pw")
    path = tmp_path / "me_noise_psks.json"
    assert json.loads(path.read_text())[hashlib.sha256(b"key").hexdigest()[:16] + "@node"] == PSK.hex()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert PskCache(tmp_path / "me_noise.key").load("key", "node", "pw") == PSK


def test_one_key_a_hub_and_access_key(tmp_path):
    cache = PskCache(tmp_path / "n.key")
    cache.save("key", "node", PSK, "pw")
    assert cache.load("other", "node", "pw") is None
    assert cache.load("key", "other", "pw") is None
    cache.forget("other", "node", PSK)
    assert cache.load("key", "node", "pw") == PSK
    cache.forget("key", "node", PSK)
    assert cache.load("key", "node", "pw") is None


def test_a_key_counts_for_its_password_only(tmp_path):
    """Else a wrong password would seem to be right."""
    cache = PskCache(tmp_path / "n.key")
    cache.save("key", "node", PSK, "pw")
    assert cache.load("key", "node", "other", trusted=True) is None
    assert PSK.hex() in cache.path.read_text()


def test_a_key_of_the_released_client_counts_where_it_is_trusted(tmp_path):
    entry = hashlib.sha256(b"key").hexdigest()[:16] + "@node"
    cache = PskCache(tmp_path / "n.key")
    cache.path.write_text(json.dumps({entry: PSK.hex()}))
    assert cache.load("key", "node", "pw") is None
    assert cache.load("key", "node", "pw", trusted=True) == PSK
    cache.save("key", "second", PSK, "pw")
    assert cache.load("key", "node", "pw", trusted=True) == PSK


def test_only_the_key_that_failed_is_dropped(tmp_path):
    cache = PskCache(tmp_path / "n.key")
    cache.save("key", "node", PSK, "pw")
    cache.forget("key", "node", bytes(32))
    assert cache.load("key", "node", "pw") == PSK


def test_the_oldest_beyond_32_go(tmp_path):
    cache = PskCache(tmp_path / "n.key")
    for number in range(33):
        cache.save("key", f"node {number}", PSK, "pw")
    cache.save("key", "node 1", PSK, "pw")
    assert cache.load("key", "node 0", "pw") is None
    assert cache.load("key", "node 1", "pw") == PSK
    entries = json.loads((tmp_path / "n_psks.json").read_text())
    assert sum("check:" not in name for name in entries) == 32
    assert sum("check:" in name for name in entries) == 32
    assert list(entries)[-1].endswith("@node 1")


def test_what_cannot_be_read_counts_as_nothing(tmp_path, caplog):
    path = tmp_path / "n_psks.json"
    cache = PskCache(tmp_path / "n.key")
    entry = hashlib.sha256(b"key").hexdigest()[:16] + "@node"
    for content in ("{", "[]", json.dumps({entry: 5}), json.dumps({entry: "zz"}), json.dumps({entry: "ab"})):
        path.write_text(content)
        assert cache.load("key", "node", "pw") is None
    cache.save("key", "node", PSK, "pw")
    assert cache.load("key", "node", "pw") == PSK


def test_a_place_that_cannot_be_written_is_reported_only(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    PskCache(tmp_path / "file" / "n.key").save("key", "node", PSK, "pw")
    assert "n_psks.json" in caplog.text


def test_all_can_be_dropped(tmp_path):
    key = tmp_path / "folder" / "n.key"
    PskCache(key).save("key", "node", PSK, "pw")
    clear_cached_psks(key)
    clear_cached_psks(key)
    assert os.listdir(key.parent) == []
