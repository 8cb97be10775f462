"""One file that several processes change: the lock, writes as a whole, and noticing what others did."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind_core.storage.json_file import BrokenFile, JSONFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "clients.json"


@pytest.fixture
def file(path: Path) -> Iterator[JSONFile]:
    made = JSONFile(path)
    with made.locked():
        made.create()
    yield made
    made.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read(file: JSONFile) -> None:
    file.read()
    assert file.replace({"é": [1, None]})
    assert file.read() == {"é": [1, None]}
    assert file.path.read_text("utf-8") == '{\n    "é": [\n        1,\n        null\n    ]\n}'


def test_it_and_its_lock_are_their_owners_alone(file: JSONFile) -> None:
    """Whoever can open a lock can keep everybody else waiting."""
    umask = os.umask(0)
    try:
        file.path.chmod(0o644)
        file.read()
        with file.locked():
            file.replace({"a": 1})
    finally:
        os.umask(umask)
    assert {item.name: mode(item) for item in file.path.parent.iterdir()} == {
        "clients.json": 0o600,
        "clients.json.lock": 0o600,
    }
    assert mode(file.path.parent) == 0o700


def test_a_link_to_the_file_stays_one(file: JSONFile, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file.path)
    linked = JSONFile(link)
    with linked.locked():
        linked.read()
        linked.replace({"a": 1})
    linked.close()
    assert not link.with_name("link.json.lock").exists()
    assert link.is_symlink()
    assert file.read() == {"a": 1}


def test_lines_of_comments_are_passed_over(file: JSONFile) -> None:
    file.path.write_text('// mine\n{"a":\n  # and\n "//"}\n', "utf-8-sig")
    assert file.read() == {"a": "//"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "line 1 is not valid JSON"),
        (b'{\n "1": {\n', "line 3 is not valid JSON"),
        (b"[]", "no JSON object"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"a": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused_and_left_alone(file: JSONFile, data: bytes, reason: str) -> None:
    file.path.write_bytes(data)
    with pytest.raises(BrokenFile, match=reason):
        file.read()
    assert file.path.read_bytes() == data


def test_a_file_that_is_not_there_is_no_empty_one(path: Path) -> None:
    for call in (JSONFile(path).read, JSONFile(path).changes):
        with pytest.raises(FileNotFoundError):
            call()


def test_own_writes_are_no_changes_and_those_of_others_are(file: JSONFile) -> None:
    before = file.changes()
    file.read()
    file.replace({"a": 1})
    assert file.changes() == before
    file.path.write_text("{}")
    assert file.changes() == file.changes() == before + 1


def test_many_changes_to_files_of_one_size_are_never_missed(file: JSONFile) -> None:
    """The number of a replaced file is free to be given to the next one; its size and time may be the same as well."""
    when = file.path.stat().st_mtime_ns
    for _ in range(20):
        before = file.changes()
        for _ in range(2):
            newer = file.path.with_name("newer")
            newer.write_text("{}")
            os.utime(newer, ns=(when, when))
            newer.replace(file.path)
        assert file.changes() > before


def test_what_others_wrote_since_it_was_read_is_not_written_over(file: JSONFile) -> None:
    file.read()
    file.path.write_text('{"theirs": 1}')
    assert not file.replace({"ours": 1})
    assert file.read() == {"theirs": 1}
    assert file.replace({"ours": 1})


def test_a_lock_that_is_never_released_is_an_error(file: JSONFile) -> None:
    hasty = JSONFile(file.path)
    hasty.patience_s = 0.01
    with file.locked(), pytest.raises(TimeoutError, match="kept it locked"), hasty.locked():
        pass
    with JSONFile(file.path).locked():
        pass


def test_a_failed_write_leaves_the_file_and_nothing_else(file: JSONFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.read()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        file.replace({"a": 1})
    assert json.loads(file.path.read_text()) == {}
    assert {item.name for item in file.path.parent.iterdir()} == {"clients.json", "clients.json.lock"}
