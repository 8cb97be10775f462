"""Files that satellites send: kept where server.json says, bounded, whole, and never in the place of another."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from hivemind_core.binary import Declined
from hivemind_core.binary.files import FileHandler, FileSettings
from hivemind_core.binary.sender import Sender
from hivemind_core.config_values import ConfigError, Values


class Nobody:
    peer = "ua::1::kitchen::session"


CLIENT = cast(Sender, Nobody())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def handler(folder: Path, **limits: int) -> FileHandler:
    return FileHandler(FileSettings(folder, **limits))


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_kept_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "inbox"
    handler(folder).handle_receive_file(b"\0\xffdata", "photo.jpg", CLIENT)
    assert kept(folder) == {"photo.jpg": b"\0\xffdata"}
    assert stat.S_IMODE((folder / "photo.jpg").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_is_made_before_there_is_a_file(tmp_path: Path) -> None:
    handler(tmp_path / "inbox")
    assert not (tmp_path / "inbox").exists()


def test_a_file_of_the_same_name_is_another(folder: Path) -> None:
    files = handler(folder)
    for data in (b"1", b"2", b"3"):
        files.handle_receive_file(data, "a.tar.gz", CLIENT)
    files.handle_receive_file(b"4", "README", CLIENT)
    files.handle_receive_file(b"5", "README", CLIENT)
    assert kept(folder) == {
        "a.tar.gz": b"1",
        "a-2.tar.gz": b"2",
        "a-3.tar.gz": b"3",
        "README": b"4",
        "README-2": b"5",
    }


def test_what_a_link_points_to_is_not_touched(tmp_path: Path) -> None:
    target, folder = tmp_path / "target", tmp_path / "inbox"
    folder.mkdir()
    target.write_bytes(b"mine")
    (folder / "a.txt").symlink_to(target)
    (folder / "b.txt").symlink_to(tmp_path / "nowhere")
    for name in ("a.txt", "b.txt"):
        handler(folder).handle_receive_file(b"theirs", name, CLIENT)
    assert target.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()
    assert (folder / "a-2.txt").read_bytes() == (folder / "b-2.txt").read_bytes() == b"theirs"


@pytest.mark.parametrize("name", ["x" * 251 + ".txt", "ü" * 125 + ".jpg", "x." + "y" * 253])
def test_a_name_as_long_as_names_may_be_is_numbered_too(folder: Path, name: str) -> None:
    for data in (b"1", b"2"):
        handler(folder).handle_receive_file(data, name, CLIENT)
    assert sorted(kept(folder).values()) == [b"1", b"2"]


@pytest.mark.parametrize(
    ("name", "limits", "why"),
    [
        (".bashrc", {}, "its name begins with a dot"),
        ("a.txt", {"max_file_bytes": 9}, "it is larger than 9 bytes"),
        ("a.txt", {"max_files": 0}, "the folder for files is full"),
        ("a.txt", {"max_total_bytes": 9}, "the folder for files is full"),
    ],
)
def test_what_is_not_kept_is_told(folder: Path, name: str, limits: dict[str, int], why: str) -> None:
    with pytest.raises(Declined) as declined:
        handler(folder, **limits).handle_receive_file(b"0123456789", name, CLIENT)
    assert (declined.value.code, declined.value.detail) == ("file_not_kept", why)
    assert kept(folder) == {}


def test_there_is_room_again_when_files_are_taken_away(folder: Path) -> None:
    files = handler(folder, max_files=2, max_total_bytes=25)
    for name in ("a", "b"):
        files.handle_receive_file(b"0123456789", name, CLIENT)
    with pytest.raises(Declined):
        files.handle_receive_file(b"", "c", CLIENT)
    os.unlink(folder / "a")
    with pytest.raises(Declined):
        files.handle_receive_file(b"0123456789012345", "c", CLIENT)
    files.handle_receive_file(b"0123456789", "c", CLIENT)
    assert sorted(kept(folder)) == ["b", "c"]


def test_many_at_once_stay_within_the_bounds(folder: Path) -> None:
    files = handler(folder, max_files=10)
    refused: list[Declined] = []

    def send(number: int) -> None:
        try:
            files.handle_receive_file(str(number).encode(), "a.txt", CLIENT)
        except Declined as declined:
            refused.append(declined)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(refused) == 6
    assert len(set(kept(folder).values())) == 10


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(OSError):
        handler(blocked / "inbox").handle_receive_file(b"x", "a", CLIENT)


def settings(**block: Any) -> FileSettings:
    return FileSettings.read(Values("server.json", {"binary_protocol": {"files": block}}), ("binary_protocol", "files"))


def test_settings() -> None:
    assert settings(folder="~/inbox") == FileSettings(Path.home() / "inbox")
    read = settings(folder="/x", max_file_bytes=1, max_files=2, max_total_bytes=3)
    assert read == FileSettings(Path("/x"), 1, 2, 3)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({}, r"`binary_protocol\.files\.folder` must be the folder for files of satellites, not null"),
        ({"folder": ""}, "folder"),
        ({"folder": "/x", "max_files": -1}, r"`binary_protocol\.files\.max_files` must be a whole number up to"),
        ({"folder": "/x", "max_file_bytes": "1M"}, "max_file_bytes"),
        ({"folder": "/x", "max_total_bytes": 1.5}, "max_total_bytes"),
    ],
)
def test_settings_that_cannot_be(block: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        settings(**block)
