import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from hivemind_bus_client.exceptions import IdentityFileCorrupted
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.identity_file import IdentityFile, make_private, read_or_create_noise_key, write_private


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_private_file_is_private_from_the_start(tmp_path):
    path = tmp_path / "new" / "secret"
    write_private(path, "text")
    assert (path.read_text(), mode(path), mode(path.parent)) == ("text", 0o600, 0o700)


def test_a_write_replaces_the_whole_file_or_nothing(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path), os.listdir(folder)) == (b"new", 0o600, ["secret"])
    with pytest.raises(OSError, match="directory"):
        write_private(folder, b"x")
    assert os.listdir(folder) == ["secret"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_private(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_reading_takes_comments_and_making_one_writes_nothing(tmp_path):
    path = tmp_path / "sub" / "i.json"
    assert dict(IdentityFile(path)) == {}
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text('// a comment\n{\n  # another\n  "name": "é"\n}')
    assert dict(IdentityFile(path)) == {"name": "é"}


def test_the_released_format_is_written(tmp_path):
    file = IdentityFile(tmp_path / "i.json")
    file["name"] = "é"
    file.store()
    assert (tmp_path / "i.json").read_text() == '{\n    "name": "é"\n}'
    assert mode(tmp_path / "i.json") == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', '{"a": 1'])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "i.json"
    path.write_text(content)
    with pytest.raises(IdentityFileCorrupted, match=r"i\.json"):
        IdentityFile(path)
    assert path.read_text() == content


def test_a_file_damaged_meanwhile_is_not_overwritten(tmp_path):
    file = IdentityFile(tmp_path / "i.json")
    (tmp_path / "i.json").write_text("{")
    file["name"] = "x"
    with pytest.raises(IdentityFileCorrupted):
        file.store()
    assert (tmp_path / "i.json").read_text() == "{"


def test_what_others_changed_meanwhile_stays(tmp_path):
    """A satellite that pins a key must not undo the set-identity that ran since it started."""
    path = tmp_path / "i.json"
    path.write_text(json.dumps({"password": "old", "gone": 1, "pins": {"a": "1", "b": "2"}}))
    satellite, command = IdentityFile(path), IdentityFile(path)
    command["password"] = "new"
    del command["gone"]
    command["pins"].pop("b")
    command.store()
    satellite["pins"]["c"] = "3"
    satellite.store()
    assert json.loads(path.read_text()) == {"password": "new", "pins": {"a": "1", "c": "3"}}
    assert satellite["password"] == "new"


def test_reload_needs_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        IdentityFile(tmp_path / "i.json").reload()


def test_secrets_do_not_show(tmp_path):
    file = IdentityFile(tmp_path / "i.json")
    file["password"] = "hush"
    assert "hush" not in repr(file)


def test_a_noise_key_is_made_once(tmp_path):
    path = tmp_path / "x" / "n.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: read_or_create_noise_key(path), range(16)))
    assert len(keys) == 1
    assert bytes.fromhex(path.read_text()) in keys
    assert mode(path) == 0o600
    assert os.listdir(path.parent) == ["n.key"]


def test_a_noise_key_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "n.key"
    path.write_text("ab" * 32 + "\n")
    path.chmod(0o644)
    assert read_or_create_noise_key(path) == b"\xab" * 32
    assert mode(path) == 0o600


@pytest.mark.parametrize("content", ["", "zz" * 32, "ab" * 31])
def test_a_damaged_noise_key_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "n.key").write_text(content)
    with pytest.raises(IdentityFileCorrupted, match=r"n\.key"):
        read_or_create_noise_key(tmp_path / "n.key")
    assert (tmp_path / "n.key").read_text() == content


def test_a_folder_is_not_taken_for_a_file_to_be_made_private(tmp_path):
    tmp_path.chmod(0o755)
    make_private(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("text", ["[" * 100_000, '{"port": ' + "9" * 5000 + "}", '{"name": "\\ud800"}', '"x"'])
def test_whatever_is_no_json_object_is_one_error(tmp_path, text):
    path = tmp_path / "i.json"
    path.write_text(text)
    with pytest.raises(IdentityFileCorrupted, match=r"i\.json"):
        IdentityFile(path)
    assert path.read_text() == text


def test_any_line_break_of_unicode_is_kept(tmp_path):
    """Written as it is, it once ended a line of the file when that was read."""
    stored = IdentityFile(tmp_path / "i.json")
    stored["password"] = "a\u2028// b\x85# c"
    stored.store()
    assert IdentityFile(tmp_path / "i.json") == {"password": "a\u2028// b\x85# c"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 5) for key in ("name", "key", "password", "access_key", "site_id", "secret_key", "noise_key")),
        *((key, "a\0b") for key in ("name", "secret_key", "noise_key")),
        *((key, value) for key in ("trusted_keys", "pinned_noise_keys") for value in (5, [1], {"a": 1}, "x")),
        ("default_port", [1]),
        ("default_port", True),
        ("default_port", 1.5),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path, key, value):
    path = tmp_path / "i.json"
    path.write_text(json.dumps({key: value}))
    with pytest.raises(IdentityFileCorrupted, match=rf"i\.json: `{key}` must be "):
        NodeIdentity(path)
    path.write_text(json.dumps({key: None}))
    identity = NodeIdentity(path)
    path.write_text(json.dumps({key: value}))
    with pytest.raises(IdentityFileCorrupted, match=key):
        identity.reload()


def test_a_full_disk_is_not_filled_further(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setattr(os, "fsync", full)
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            write_private(folder / "file", b"x")
    assert list(folder.iterdir()) == []
