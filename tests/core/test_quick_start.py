from __future__ import annotations

from pathlib import Path

from hivemind_core import quick_start
from hivemind_core.database import ClientDatabase
from hivemind_core.storage.sqlite import SQLiteStore


def test_the_first_client_is_made_once(tmp_path: Path) -> None:
    db = ClientDatabase(SQLiteStore(tmp_path / "clients.db"))
    first = quick_start.first_client(db)
    assert quick_start.first_client(db) == first
    assert "recognizer_loop:utterance" in first.allowed_types
    db.delete(first.client_id)
    assert quick_start.first_client(db).client_id != first.client_id
    db.close()


def test_the_text_has_commands_to_paste(tmp_path: Path) -> None:
    db = ClientDatabase(SQLiteStore(tmp_path / "clients.db"))
    client = quick_start.first_client(db)
    text = quick_start.welcome(client, 5678, "embedded")
    assert f"--port 5678 --key {client.api_key} --password {client.password}" in text
    assert "add-client --name kitchen" in text
    db.close()
