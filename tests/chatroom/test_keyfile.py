from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from hivemind_chatroom import keyfile
from hivemind_chatroom.keyfile import KeyFileError, read_or_create


def test_it_is_made_once(own_home: Path) -> None:
    path = keyfile.default_path()
    assert path == own_home / "state" / "hivemind" / "chatroom" / "secret"
    key = read_or_create(path)
    assert len(key) == 32
    assert read_or_create(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["secret"]


def test_each_installation_has_its_own(tmp_path: Path) -> None:
    assert read_or_create(tmp_path / "a") != read_or_create(tmp_path / "b")


def test_all_who_start_at_once_agree(tmp_path: Path) -> None:
    barrier, keys = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        keys.append(read_or_create(tmp_path / "secret"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_who_comes_second_takes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    make = keyfile._create

    def create(where: Path) -> None:
        path.write_text("ab" * 32)
        make(where)

    monkeypatch.setattr(keyfile, "_create", create)
    assert read_or_create(path) == bytes.fromhex("ab" * 32)


def test_others_may_not_read_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("ab" * 32)
    path.chmod(0o644)
    read_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "ab" * 31, "ab" * 33, "xy" * 32, "é" * 32])
def test_a_file_that_holds_no_key_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(KeyFileError, match="Move it away"):
        read_or_create(path)
    assert path.read_text() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="file"):
        read_or_create(tmp_path / "file" / "secret")


def test_without_xdg_it_is_in_the_home(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    assert keyfile.state_dir() == own_home / ".local" / "state" / "hivemind"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert keyfile.state_dir() == own_home / ".local" / "state" / "hivemind"
