"""The systemd unit, told by a program that answers as systemctl does."""

from __future__ import annotations

from pathlib import Path

import pytest

from hivemind_core.doctor.case import HubCase
from hivemind_core.doctor.services import look


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def answers(folder: Path, **properties: str) -> None:
    """Let there be a systemctl that knows a unit of this account."""
    lines = "".join(f"echo {name}={value}\n" for name, value in properties.items())
    program = folder / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$1" = --user ] || exit 1\n{lines}')
    program.chmod(0o755)


def test_without_systemd_nothing_is_said(programs: Path) -> None:
    assert list(look(HubCase())) == []


def test_without_a_unit_nothing_is_said(programs: Path) -> None:
    answers(programs, LoadState="not-found", ActiveState="inactive")
    assert list(look(HubCase())) == []


@pytest.mark.parametrize(
    ("properties", "verdict", "part"),
    [
        ({"ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0"}, "ok", ""),
        ({"ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "7"}, "warn", "journalctl --user-unit"),
        ({"ActiveState": "active", "UnitFileState": "disabled"}, "warn", "systemctl --user enable"),
        ({"ActiveState": "inactive"}, "warn", "systemctl --user start"),
        ({"ActiveState": "failed"}, "FAIL", "journalctl --user-unit"),
    ],
)
def test_how_it_is(programs: Path, properties: dict[str, str], verdict: str, part: str) -> None:
    answers(programs, LoadState="loaded", **properties)
    (told,) = look(HubCase())
    assert (told.verdict, part in told.cure) == (verdict, True)
