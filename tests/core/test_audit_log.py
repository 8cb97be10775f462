"""The file of the audit log: its mode, its bounds, and that nothing about it keeps a change from being made."""

from __future__ import annotations

import json
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hivemind_core.audit import Author
from hivemind_core.audit_log import AuditLog, audit_path, note, this_account
from hivemind_core.clients import Client

HUB = Author("hub")


@pytest.fixture
def log_file(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "data" / "audit.log", max_bytes=4096, kept=2)


def add(audit_log: AuditLog, *ids: int) -> None:
    record = audit_log.recorder(HUB, lambda: 1_700_000_000.0)
    for client_id in ids:
        record(None, Client(client_id, "key", f"client {client_id}"))


def ids(audit_log: AuditLog) -> list[int]:
    return [line["client_id"] for line in audit_log.entries()]


def test_lines_are_kept_in_order_and_only_the_owner_may_read(log_file: AuditLog) -> None:
    assert ids(log_file) == []
    add(log_file, 1, 2, 3)
    assert ids(log_file) == [1, 2, 3]
    assert stat.S_IMODE(log_file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log_file.path.parent.stat().st_mode) == 0o700


def test_one_that_others_could_read_is_closed_to_them(log_file: AuditLog) -> None:
    add(log_file, 1)
    log_file.path.chmod(0o644)
    add(log_file, 2)
    assert stat.S_IMODE(log_file.path.stat().st_mode) == 0o600


def test_its_size_is_bounded_and_the_newest_stay(log_file: AuditLog) -> None:
    add(log_file, *range(200))
    files = sorted(log_file.path.parent.iterdir())
    assert [file.name for file in files] == ["audit.log", "audit.log.1", "audit.log.2"]
    assert all(file.stat().st_size <= 4096 for file in files)
    kept = ids(log_file)
    assert kept == list(range(200 - len(kept), 200))
    assert len(kept) > 10


def test_a_line_that_was_cut_short_spoils_no_other(log_file: AuditLog) -> None:
    add(log_file, 1)
    with log_file.path.open("ab") as file:
        file.write(b'{"client_id": 2, "na')
    add(log_file, 3)
    assert ids(log_file) == [1, 3]


def test_many_write_at_once(tmp_path: Path) -> None:
    logs = [AuditLog(tmp_path / "audit.log", max_bytes=20_000, kept=20) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(add, each, *range(100 * n, 100 * n + 50)) for n, each in enumerate(logs)]
    assert [future.result() for future in done] == [None] * 4
    assert sorted(ids(logs[0])) == [100 * n + each for n in range(4) for each in range(50)]


@pytest.mark.parametrize("obstacle", ["folder", "pipe", "link"])
def test_what_cannot_be_written_is_a_warning(
    log_file: AuditLog, obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_file.path.parent.mkdir(parents=True)
    elsewhere = log_file.path.with_name("elsewhere")
    make = {
        "folder": log_file.path.mkdir,
        "pipe": lambda: os.mkfifo(log_file.path),
        "link": lambda: log_file.path.symlink_to(elsewhere),
    }
    make[obstacle]()
    add(log_file, 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith(f"The change was made, but it is not in the audit log {log_file.path}: ")
    assert not elsewhere.exists()


def test_a_full_disk_is_a_warning(
    log_file: AuditLog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: 3)
    add(log_file, 1)
    assert "No space left" in caplog.text


def test_an_account_that_came_by_sudo_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    plain = this_account()
    monkeypatch.setenv("SUDO_USER", "alice")
    assert this_account() == ("root (sudo: alice)" if plain == "root" else plain)


def test_lines_are_ascii(log_file: AuditLog) -> None:
    log_file.recorder(HUB)(None, Client(1, "key", "küche\u2028"))
    assert json.loads(log_file.path.read_bytes().decode("ascii"))["name"] == "küche\u2028"


def test_what_was_written_since_comes_newest_first_from_full_files_too(log_file: AuditLog) -> None:
    assert log_file.since(0.0) == []
    for number in range(30):
        log_file.recorder(HUB, lambda at=1_700_000_000.0 + number: at)(None, Client(number, "key"))
    assert log_file.path.with_name("audit.log.1").exists()
    assert [line["client_id"] for line in log_file.since(1_700_000_018.0)] == list(range(29, 17, -1))


def test_a_command_notes_what_is_of_no_client() -> None:
    note("some-command", {"clients": 3})
    (line,) = AuditLog(audit_path()).entries()
    assert (line["source"], line["user"], line["action"]) == ("command", this_account(), "some-command")
    assert line["details"] == {"clients": 3}
