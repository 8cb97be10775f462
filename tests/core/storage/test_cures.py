"""What is said besides an error of the system."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from hivemind_core.storage import cures


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (sqlite3.DatabaseError("file is not a database"), cures.DAMAGED),
        (sqlite3.DatabaseError("database disk image is malformed"), cures.DAMAGED),
        (sqlite3.OperationalError("database or disk is full"), cures.FULL),
        (OSError(28, "No space left on device"), cures.FULL),
        (sqlite3.OperationalError("database is locked"), cures.LOCKED),
        (sqlite3.OperationalError("attempt to write a readonly database"), cures.FORBIDDEN),
        (PermissionError(13, "Permission denied"), cures.FORBIDDEN),
    ],
)
def test_the_cure_stands_after_the_error(error: Exception, cure: str, tmp_path: Path) -> None:
    assert cures.told(error, tmp_path / "clients.db") == f"{error}. {cure}"


def test_what_is_not_known_has_none(tmp_path: Path) -> None:
    assert cures.told(OSError("it is haunted"), tmp_path / "clients.db") == "it is haunted."
    assert cures.told(OSError("it is haunted"), None) == "it is haunted."
    assert cures.told(OSError("it is haunted"), tmp_path / "no" / "such" / "file") == "it is haunted."


def test_a_read_only_file_system_is_named_whatever_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int, mode: int) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    for text in ("disk I/O error", "attempt to write a readonly database"):
        assert cures.told(sqlite3.OperationalError(text), tmp_path / "x") == f"{text}. {cures.READ_ONLY}"
    assert cures.DAMAGED in cures.told(sqlite3.DatabaseError("file is not a database"), tmp_path / "x")
    with pytest.raises(OSError, match="Read-only"):
        cures.check_writable(tmp_path / "x")


def test_where_files_can_be_written_that_is_so(tmp_path: Path) -> None:
    before = list(tmp_path.iterdir())
    cures.check_writable(tmp_path / "x")
    cures.check_writable(None)
    assert list(tmp_path.iterdir()) == before
