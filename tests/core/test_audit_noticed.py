"""What a hub notices in the database and nobody tells is told by it, once, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hivemind_core import audit_noticed
from hivemind_core.audit import Author
from hivemind_core.audit_log import AuditLog
from hivemind_core.audit_noticed import PATIENCE_S, NoticedChanges
from hivemind_core.clients import Client

ROW = Client(7, "its-access-key", "kitchen", password="its-password")
ADMIN = replace(ROW, is_admin=True)
ALICE = Author("command", "alice", "make-admin")


class Scene:
    """A hub's log, and the time."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_700_000_000.0
        self.log = AuditLog(folder / "audit.log")
        self.noticed = NoticedChanges(self.log, lambda: self.now)

    def command(self, before: Client | None, after: Client | None) -> None:
        self.log.recorder(ALICE, lambda: self.now)(before, after)

    def wait(self, seconds: float, *, is_read: bool = True, at_once: bool = False) -> list[tuple[str, Any]]:
        """Let time go by; who tells what then."""
        self.now += seconds
        self.noticed.write(is_read=is_read, at_once=at_once)
        return [(line["source"], line["after"]) for line in self.log.entries()]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


TOLD = ("elsewhere", {"is_admin": True})


def test_it_is_told_after_a_while(scene: Scene) -> None:
    scene.noticed.notice(ROW, ADMIN)
    assert scene.wait(PATIENCE_S - 0.1) == []
    assert scene.wait(0.2) == [TOLD]
    assert scene.wait(60) == [TOLD]
    assert "its-" not in scene.log.path.read_text()


@pytest.mark.parametrize("late_s", [-0.2, 0.0, 3.0])
def test_a_command_tells_it_before_or_a_moment_later(scene: Scene, late_s: float) -> None:
    scene.wait(100)
    scene.now += late_s
    scene.command(ROW, ADMIN)
    scene.now -= late_s
    scene.noticed.notice(ROW, ADMIN)
    assert scene.wait(PATIENCE_S + 1) == [("command", {"is_admin": True})]


def test_what_a_command_told_long_ago_is_no_excuse(scene: Scene) -> None:
    scene.command(ROW, ADMIN)
    scene.wait(100)
    scene.noticed.notice(ROW, ADMIN)
    assert scene.wait(PATIENCE_S + 1) == [("command", {"is_admin": True}), TOLD]


def test_but_it_is_while_the_database_could_not_be_read(scene: Scene) -> None:
    scene.wait(10)
    scene.command(ROW, ADMIN)
    scene.wait(100, is_read=False)
    scene.noticed.notice(ROW, ADMIN)
    assert scene.wait(PATIENCE_S + 1) == [("command", {"is_admin": True})]


def test_at_the_end_nothing_waits(scene: Scene) -> None:
    scene.noticed.notice(ROW, ADMIN)
    assert scene.wait(0, at_once=True) == [TOLD]


def test_a_clock_that_is_set_back_keeps_nothing_waiting(scene: Scene) -> None:
    scene.noticed.notice(ROW, ADMIN)
    assert scene.wait(-1000) == [TOLD]


def test_what_is_no_right_is_not_told(scene: Scene) -> None:
    scene.noticed.notice(ROW, replace(ROW, last_seen=5.0))
    assert scene.wait(60) == []


def test_of_a_great_many_the_rest_is_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_noticed, "MAX_WAITING", 3)
    for number in range(10):
        scene.noticed.notice(None, replace(ROW, client_id=number))
    assert [source for source, _ in scene.wait(60)] == ["elsewhere"] * 4
    *_, last = scene.log.entries()
    assert last["details"] == {"changes that are not listed": 7}
    assert len(scene.wait(60)) == 4


def test_a_great_many_that_a_command_told_are_not_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_noticed, "MAX_WAITING", 3)
    rows = [replace(ROW, client_id=number) for number in range(10)]
    for row in rows[:9]:
        scene.command(None, row)
    for row in rows:
        scene.noticed.notice(None, row)
    assert [source for source, _ in scene.wait(60)] == ["command"] * 9 + ["elsewhere"]
    *_, last = scene.log.entries()
    assert last["details"] == {"changes that are not listed": 1}


def test_a_log_that_cannot_be_read_stops_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.log.path.mkdir()
    scene.noticed.notice(ROW, ADMIN)
    scene.now += PATIENCE_S
    scene.noticed.write(is_read=True)
    assert "it is not in the audit log" in caplog.text
