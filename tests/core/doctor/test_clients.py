"""The client database, which is never written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.hub_commands import add, database
from helpers.processes import free_port
from hivemind_bus_client.doctor.findings import Finding
from hivemind_core.config import data_dir, load_config
from hivemind_core.doctor.case import HubCase
from hivemind_core.doctor.clients import look

STRONG = "4f6c2a90d1e84b7730aa55cc19f0be21"
SAY = ("recognizer_loop:utterance",)


def found(**document: Any) -> list[Finding]:
    told = list(look(HubCase(config=load_config(overrides=document))))
    assert all(bool(each.cure) == (each.verdict != "ok") for each in told), told
    return told


def verdicts(told: list[Finding]) -> list[tuple[str, str]]:
    return [(each.verdict, each.what) for each in told]


@pytest.fixture
def file() -> Path:
    return data_dir() / "hivemind-core" / "clients.db"


def test_without_settings_nothing_is_said() -> None:
    assert list(look(HubCase())) == []


def test_none_is_made(file: Path) -> None:
    assert verdicts(found()) == [("ok", "disk"), ("warn", "clients")]
    assert not file.parent.exists()


def test_all_is_well(file: Path) -> None:
    add("one", password=STRONG, allowed_types=SAY)
    before = {path: path.read_bytes() for path in file.parent.iterdir()}
    told = found()
    assert verdicts(told) == [("ok", "disk"), ("ok", "clients")]
    assert told[-1].reason == f"1 in {file}."
    assert {path: path.read_bytes() for path in file.parent.iterdir()} == before


def test_an_empty_one() -> None:
    database().close()
    assert verdicts(found())[-1] == ("warn", "clients")


@pytest.mark.parametrize(
    ("columns", "document", "verdict", "part"),
    [
        ({"allowed_types": SAY}, {}, "FAIL", "no password"),
        ({"allowed_types": SAY, "metadata": {"crypto_key": "k"}}, {}, "FAIL", "protocol v0"),
        ({"allowed_types": SAY, "password": "hello"}, {}, "FAIL", "too easy to guess"),
        ({"password": STRONG}, {}, "warn", "no allowed message types"),
        ({"password": STRONG, "allowed_types": ("speak",)}, {}, "warn", "may not send recognizer_loop:utterance"),
        ({"allowed_types": SAY, "metadata": {"crypto_key": "k"}}, {"min_protocol_version": 0}, "", ""),
        ({"allowed_types": SAY, "password": "hello"}, {"min_password_bits": 0}, "", ""),
        ({"allowed_types": SAY, "password": "hello"}, {"runtime_password_strength_check": False}, "", ""),
    ],
)
def test_those_who_can_never_come_in(columns: dict[str, Any], document: Any, verdict: str, part: str) -> None:
    add("the-key", name="kitchen", **columns)
    add("another", password=STRONG, allowed_types=SAY)
    told = found(**document)[2:]
    assert [each.verdict for each in told] == ([verdict] if verdict else [])
    for each in told:
        assert each.reason.startswith("'kitchen' (id 1): ")
        assert part in each.reason
        assert "1" in each.cure.split("`")[1]
        assert not {"the-key", "hello"} & {*each.reason.split(), *each.cure.split()}


def test_many_are_counted_and_the_deleted_left_out() -> None:
    for number in range(8):
        add(f"key-{number}", allowed_types=SAY)
    db = database()
    db.delete(8)
    db.close()
    told = found()
    assert told[1].reason.startswith("7 in ")
    assert "and 2 more: no password" in told[2].reason


def test_each_that_may_not_speak_is_named_with_the_command() -> None:
    for number in range(7):
        add(f"key-{number}", name=f"sensor-{number}", password=STRONG, allowed_types=("speak",) if number else SAY)
    told = found()[-1]
    assert told.verdict == "warn"
    assert [f"'sensor-{number}' (id {number + 1})" in told.reason for number in range(7)] == [False, *[True] * 6]
    assert "`hivemind-core allow-msg recognizer_loop:utterance 2`, and the same for 3, 4, 5, 6, 7," in told.cure


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\x00" + bytes(200), b"\x00" * 5000])
def test_a_file_that_is_damaged(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    file.chmod(0o600)
    assert verdicts(found())[-1] == ("FAIL", "clients")
    assert file.read_bytes() == content


def test_a_file_that_others_can_read(file: Path) -> None:
    add("one", password=STRONG, allowed_types=SAY)
    file.chmod(0o644)
    assert ("warn", "clients") in verdicts(found())


@pytest.mark.parametrize(("free", "verdict"), [(1e6, "FAIL"), (1e8, "warn"), (1e9, "ok")])
def test_room_on_the_disk(monkeypatch: pytest.MonkeyPatch, free: float, verdict: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    assert verdicts(found())[0] == (verdict, "disk")


def test_a_module_that_there_is_not() -> None:
    assert verdicts(found(database={"module": "papyrus"})) == [("FAIL", "clients")]


def test_redis_that_is_away() -> None:
    module = "hivemind-redis-db-plugin"
    (told,) = found(database={"module": module, module: {"port": free_port(), "password": "geheim"}})
    assert (told.verdict, told.what) == ("FAIL", "clients")
    assert told.cure.startswith("See whether Redis runs there")
    assert "geheim" not in told.reason
