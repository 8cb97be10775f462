import hashlib
import json
import os
import stat

from hivemind_bus_client.psk_cache import PskCache, clear_cached_psks

PSK = b"\x01" * 32


def test_the_released_form(tmp_path):
    cache = PskCache(tmp_path / "me_noise.key")
    cache.save("key", "node", PSK)
    path = tmp_path / "me_noise_psks.json"
    assert json.loads(path.read_text()) == {hashlib.sha256(b"key").hexdigest()[:16] + "@node": PSK.hex()}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert PskCache(tmp_path / "me_noise.key").load("key", "node") == PSK


def test_one_key_a_hub_and_access_key(tmp_path):
    cache = PskCache(tmp_path / "n.key")
    cache.save("key", "node", PSK)
    assert cache.load("other", "node") is None
    assert cache.load("key", "other") is None
    cache.forget("other", "node")
    assert cache.load("key", "node") == PSK
    cache.forget("key", "node")
    assert cache.load("key", "node") is None


def test_the_oldest_beyond_32_go(tmp_path):
    cache = PskCache(tmp_path / "n.key")
    for number in range(33):
        cache.save("key", f"node {number}", PSK)
    cache.save("key", "node 1", PSK)
    assert cache.load("key", "node 0") is None
    assert cache.load("key", "node 1") == PSK
    assert len(json.loads((tmp_path / "n_psks.json").read_text())) == 32


def test_what_cannot_be_read_counts_as_nothing(tmp_path, caplog):
    path = tmp_path / "n_psks.json"
    cache = PskCache(tmp_path / "n.key")
    entry = hashlib.sha256(b"key").hexdigest()[:16] + "@node"
    for content in ("{", "[]", json.dumps({entry: 5}), json.dumps({entry: "zz"}), json.dumps({entry: "ab"})):
        path.write_text(content)
        assert cache.load("key", "node") is None
    cache.save("key", "node", PSK)
    assert cache.load("key", "node") == PSK


def test_a_place_that_cannot_be_written_is_reported_only(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    PskCache(tmp_path / "file" / "n.key").save("key", "node", PSK)
    assert "n_psks.json" in caplog.text


def test_all_can_be_dropped(tmp_path):
    key = tmp_path / "folder" / "n.key"
    PskCache(key).save("key", "node", PSK)
    clear_cached_psks(key)
    clear_cached_psks(key)
    assert os.listdir(key.parent) == []
