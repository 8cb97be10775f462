"""The hub's identity and its folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hivemind_core.config import data_dir
from hivemind_core.doctor.case import HubCase
from hivemind_core.doctor.identity import folders, look
from hivemind_core.hub_identity import identity_path, load_identity


def found() -> list[str]:
    told = list(look(HubCase()))
    assert all(bool(each.cure) == (each.verdict != "ok") for each in told), told
    return [each.verdict for each in told]


def test_none_is_made() -> None:
    assert found() == ["ok"]
    assert not identity_path().exists()


def test_all_is_well() -> None:
    load_identity()
    assert found() == ["ok"]


def _corrupt(folder: Path) -> None:
    (folder / "_identity.json").write_text("{")


def _open(folder: Path) -> None:
    (folder / "HiveMindComs.pem").chmod(0o644)


def _lose(folder: Path) -> None:
    (folder / "hivemind-core_noise.key").unlink()


def _spoil(folder: Path) -> None:
    (folder / "hivemind-core_noise.key").write_text("no key")


@pytest.mark.parametrize(("harm", "verdict"), [(_corrupt, "FAIL"), (_open, "warn"), (_lose, "FAIL"), (_spoil, "FAIL")])
def test_what_can_be_wrong(harm: Callable[[Path], None], verdict: str) -> None:
    load_identity()
    folder = identity_path().parent
    harm(folder)
    before = {path: (path.read_bytes(), path.stat().st_mode) for path in folder.iterdir()}
    assert found() == [verdict]
    assert {path: (path.read_bytes(), path.stat().st_mode) for path in folder.iterdir()} == before


def test_folders_that_others_can_write_into() -> None:
    assert [each.verdict for each in folders(HubCase())] == ["ok"]
    load_identity()
    identity_path().parent.chmod(0o777)
    (told,) = folders(HubCase())
    assert (told.verdict, told.cure) == ("warn", f"Run: chmod go-w {identity_path().parent}")


def test_a_folder_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for another account: root, whom tests may run as, can write everything."""
    folder = data_dir() / "hivemind-core"
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getegid", lambda: 4711)
    monkeypatch.setattr(os, "access", lambda *_: False)
    told = list(folders(HubCase()))
    assert {each.verdict for each in told} == {"FAIL"}
    assert any(each.cure.startswith("Run: sudo chown") and str(folder) in each.cure for each in told)
