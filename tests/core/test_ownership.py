"""Whose the hub's folders are: the line to run where they are somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hivemind_core import ownership
from hivemind_core.config import config_dir, data_dir
from hivemind_core.ownership import explained, rootless

ERROR = PermissionError(13, "Permission denied")


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Paths that belong to nobody we are and cannot be written, whatever account runs the tests."""
    paths: set[Path] = set()
    access = os.access
    own = os.geteuid()
    monkeypatch.setattr(os, "access", lambda path, mode: path not in paths and access(path, mode))
    monkeypatch.setattr(os, "geteuid", lambda: own + 1000)
    monkeypatch.setattr(os, "getegid", lambda: own + 1001)
    return paths


@pytest.fixture
def folders() -> tuple[Path, Path]:
    made = config_dir() / "hivemind-core", data_dir() / "hivemind-core"
    for folder in made:
        folder.mkdir(parents=True)
    return made


def lines() -> list[str]:
    first, *rest = explained(ERROR).splitlines()
    assert first == "[Errno 13] Permission denied"
    return rest


def test_where_nothing_is_foreign_the_error_says_all(folders: tuple[Path, Path], foreign: set[Path]) -> None:
    assert lines() == []


def test_a_foreign_folder_is_named_with_its_cure(folders: tuple[Path, Path], foreign: set[Path]) -> None:
    foreign.update(folders)
    owner, us = folders[0].stat().st_uid, f"{os.geteuid()}:{os.getegid()}"
    assert lines() == [
        f"{folder} belongs to uid {owner}, and this runs as uid {os.geteuid()}. Run: sudo chown -R {us} {folder}"
        for folder in folders
    ]


def test_in_a_container_the_folder_of_the_host_is_named(
    folders: tuple[Path, Path], foreign: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVEMIND_SHARE_FOLDER", "/srv/hive mind/share")
    foreign.add(folders[1])
    (line,) = lines()
    assert line.endswith(f". Run on the host: sudo chown -R {os.geteuid()}:{os.getegid()} '/srv/hive mind/share'")


@pytest.mark.parametrize(
    ("uid_map", "expected"),
    [("", False), ("         0          0 4294967295\n", False), ("  0  1717  1\n  1  200000  65536\n", True)],
)
def test_a_container_of_podman_without_root_is_known(uid_map: str, expected: bool) -> None:
    assert rootless(uid_map) is expected


def test_podman_without_root_is_told_what_to_set(
    folders: tuple[Path, Path], foreign: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the folders of the account that starts the containers are root's."""
    monkeypatch.setenv("HIVEMIND_SHARE_FOLDER", "/home/me/hivemind/share")
    monkeypatch.setattr(ownership, "_uid_map", lambda: "0 1717 1")
    monkeypatch.setattr(ownership, "_owner", lambda path: 0)
    foreign.add(folders[1])
    (line,) = lines()
    assert line.endswith(ownership.ROOTLESS)


def test_a_folder_not_made_yet_is_made_and_nothing_around_it_is_touched(foreign: set[Path]) -> None:
    config_dir().mkdir(parents=True, exist_ok=True)
    foreign.add(config_dir())
    (line,) = lines()
    assert line.startswith(f"{config_dir()} belongs to uid ")
    run = f"sudo install -d -m 700 -o {os.geteuid()} -g {os.getegid()} {config_dir()}/hivemind-core"
    assert line.endswith(f". Run: {run}")


def test_nobody_is_told_to_take_over_the_machine(foreign: set[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The home of an account may not be there at all, and its parents are not for the hub."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent/.config")
    monkeypatch.setenv("XDG_DATA_HOME", "/nonexistent/.local/share")
    foreign.add(Path("/"))
    assert lines() == []


def test_what_cannot_be_looked_at_is_no_further_error(
    folders: tuple[Path, Path], foreign: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def barred(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == folders[0] or (path.name == "link" and follow_symlinks):
            raise PermissionError(13, "Permission denied")
        return stat(path, follow_symlinks=follow_symlinks)

    (folders[1] / "link").symlink_to("/root/x")
    foreign.add(folders[1] / "link")
    monkeypatch.setattr(Path, "stat", barred)
    assert lines() == []


def test_a_foreign_file_in_a_folder_of_ours_is_found(folders: tuple[Path, Path], foreign: set[Path]) -> None:
    database = folders[1] / "clients.db"
    database.touch()
    foreign.add(database)
    (line,) = lines()
    assert line.startswith(f"{database} belongs to uid ")


def test_what_is_ours_and_read_only_needs_another_cure(
    folders: tuple[Path, Path], foreign: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.update(folders)
    owner = folders[0].stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    assert lines() == []
