"""Owner and mode of files and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hivemind_bus_client.doctor.files import private


def found(path: Path) -> list[tuple[str, str]]:
    return [(finding.verdict, finding.cure) for finding in private("x", path)]


@pytest.mark.parametrize(("mode", "verdicts"), [(0o600, []), (0o640, ["warn"]), (0o604, ["warn"]), (0o644, ["warn"])])
def test_a_file_that_others_can_get_at(tmp_path: Path, mode: int, verdicts: list[str]) -> None:
    path = tmp_path / "a file"
    path.write_text("secret")
    path.chmod(mode)
    assert found(path) == [(verdict, f"Run: chmod 600 '{path}'") for verdict in verdicts]


@pytest.mark.parametrize(("mode", "verdicts"), [(0o700, []), (0o755, []), (0o775, ["warn"]), (0o777, ["warn"])])
def test_a_folder_that_others_can_write_into(tmp_path: Path, mode: int, verdicts: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    assert found(folder) == [(verdict, f"Run: chmod go-w {folder}") for verdict in verdicts]


def test_one_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    assert found(tmp_path / "none") == [("FAIL", f"Run: ls -ld {tmp_path}")]


def test_one_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for another account: root, whom tests may run as, can read everything."""
    path = tmp_path / "file"
    path.write_text("secret")
    path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getegid", lambda: 4712)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert found(path) == [("FAIL", f"Run: sudo chown 4711:4712 {path}")]


def test_an_own_one_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(0o000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert found(path) == [("FAIL", f"Run: chmod u+rw {path}")]
