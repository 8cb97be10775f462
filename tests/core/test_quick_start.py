from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hivemind_core import quick_start
from hivemind_core.database import ClientDatabase
from hivemind_core.storage.sqlite import SQLiteStore


def test_the_own_client_is_made_once(tmp_path: Path) -> None:
    db = ClientDatabase(SQLiteStore(tmp_path / "clients.db"))
    first = quick_start.own_client(db)
    assert quick_start.own_client(db) == first
    assert "recognizer_loop:utterance" in first.allowed_types
    db.delete(first.client_id)
    assert quick_start.own_client(db).client_id != first.client_id
    db.close()


def test_the_text_has_commands_to_paste(tmp_path: Path) -> None:
    db = ClientDatabase(SQLiteStore(tmp_path / "clients.db"))
    client = quick_start.own_client(db)
    text = quick_start.welcome(client, 5678, "embedded")
    assert f"--port 5678 --key {client.api_key} --password {client.password}" in text
    assert "add-client --name kitchen" in text
    db.close()


def test_each_has_a_client_of_its_own(tmp_path: Path) -> None:
    db = ClientDatabase(SQLiteStore(tmp_path / "clients.db"))
    satellite, room = quick_start.own_client(db), quick_start.own_client(db, quick_start.CHATROOM)
    assert (satellite.name, room.name) == ("first-satellite", "chatroom")
    assert satellite.api_key != room.api_key
    assert satellite.password != room.password
    assert set(room.allowed_types) == set(quick_start.ROLES["chat"].types)
    assert quick_start.own_client(db, quick_start.CHATROOM) == room
    db.close()


class Hub:
    """As much of a hub as the quick start asks for."""

    def __init__(self, folder: Path, host: str, scheme: str) -> None:
        self.db = ClientDatabase(SQLiteStore(folder / "clients.db"))
        self.config = SimpleNamespace(front=SimpleNamespace(host=host, scheme=scheme))


class Process:
    """Stands in for the chatroom's process."""

    made: list[Process] = []  # noqa: RUF012

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.started = False
        self.made.append(self)

    async def start(self) -> None:
        self.started = True


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    monkeypatch.setattr(Process, "made", [])
    monkeypatch.setattr(quick_start, "ChatroomProcess", Process)
    return Process.made


@pytest.mark.parametrize(
    ("host", "scheme", "dialled"),
    [
        ("0.0.0.0", "ws", "ws://127.0.0.1"),
        ("::", "wss", "wss://[::1]"),
        ("192.168.1.7", "http", "http://192.168.1.7"),
        ("fd00::7", "ws", "ws://[fd00::7]"),
    ],
)
async def test_the_chatroom_is_told_where_the_hub_is(
    tmp_path: Path, processes: list[Process], host: str, scheme: str, dialled: str
) -> None:
    hub: Any = Hub(tmp_path, host, scheme)
    room: Any = await quick_start.open_chatroom(hub, 7)
    assert processes == [room]
    assert room.started
    client = quick_start.own_client(hub.db, quick_start.CHATROOM)
    told = {key.removeprefix("HIVEMIND_CHATROOM_"): value for key, value in room.environ.items()}
    assert (told["HUB_HOST"], told["HUB_PORT"]) == (dialled, "7")
    assert (told["KEY"], told["PASSWORD"]) == (client.api_key, client.password)
    hub.db.close()


async def test_where_it_is_not_installed_it_says_how_to(
    tmp_path: Path, processes: list[Process], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quick_start.chatroom_process, "is_installed", lambda: False)
    hub: Any = Hub(tmp_path, "0.0.0.0", "ws")
    assert await quick_start.open_chatroom(hub, 7) is None
    assert processes == []
    assert "pip install 'hivemind-mesh[chatroom]'" in capsys.readouterr().out
    assert hub.db.all() == []
    hub.db.close()


async def test_without_a_free_port_the_hub_runs_all_the_same(
    tmp_path: Path, processes: list[Process], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quick_start.chatroom_process, "PORTS_TRIED", 0)
    hub: Any = Hub(tmp_path, "0.0.0.0", "ws")
    assert await quick_start.open_chatroom(hub, 7) is None
    assert processes == []
    assert capsys.readouterr().err.startswith("The chatroom is not started: the ports 8985 to ")
    hub.db.close()
