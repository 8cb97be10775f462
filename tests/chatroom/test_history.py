from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from hivemind_chatroom.history import MAX_DOCUMENT, History, HistoryError
from hivemind_chatroom.messages import ChatMessage, Role, State, restored


def line(number: int, room: str = "flask", **more: Any) -> dict[str, Any]:
    return {"id": number, "room": room, "text": f"line {number} é 🐝", **more}


def numbers(history: History, each: int = 100) -> list[int]:
    return [message["id"] for message in history.load(each)]


def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    first = History(path)
    first.save([line(1), line(2, "kitchen", media={"title": "x"}), line(3)])
    first.close()
    first.close()
    again = History(path)
    assert again.load(10) == [line(1), line(2, "kitchen", media={"title": "x"}), line(3)]
    again.close()


def test_a_line_of_the_chatroom_comes_back_as_it_was() -> None:
    history = History(":memory:")
    message = ChatMessage("flask", Role.USER, "hello", 12.5, state=State.SENT, owner="b", private=True, id=7, seq=9)
    history.save([message.stored()])
    assert [restored(stored) for stored in history.load(1)] == [message]
    history.close()


def test_a_changed_line_takes_the_place_of_the_old_one() -> None:
    history = History(":memory:")
    history.save([line(1, state="sending"), line(2)])
    history.save([line(1, state="answered")])
    assert history.load(10) == [line(1, state="answered"), line(2)]
    history.close()


def test_the_newest_of_each_room_are_loaded_in_order() -> None:
    history = History(":memory:")
    history.save([line(number, ("flask", "kitchen")[number % 2]) for number in range(1, 11)])
    assert numbers(history, 2) == [7, 8, 9, 10]
    history.close()


def test_pruning_keeps_the_newest_of_each_room() -> None:
    history = History(":memory:")
    history.save([line(number, "busy") for number in range(10, 20)])
    history.save([line(1, "quiet"), line(2, "quiet")])
    history.prune(3)
    assert numbers(history) == [1, 2, 17, 18, 19]
    history.prune(1)
    assert numbers(history) == [1, 2, 17, 18, 19], "nothing came since, so nothing is looked at"
    history.save([line(20, "busy")])
    history.prune(1)
    assert numbers(history) == [1, 2, 20]
    history.close()


def test_what_an_earlier_run_left_is_pruned_too(tmp_path: Path) -> None:
    first = History(tmp_path / "history.db")
    first.save([line(number) for number in range(1, 10)])
    first.close()
    again = History(tmp_path / "history.db")
    again.prune(2)
    assert numbers(again) == [8, 9]
    again.close()


def test_the_rooms_last_used_are_kept() -> None:
    history = History(":memory:", rooms=2)
    history.save([line(1, "old"), line(2, "middle"), line(3, "new")])
    assert numbers(history) == [2, 3]
    history.prune(10)
    history.save([line(4, "middle"), line(5, "newest")])
    history.prune(10)
    assert [(message["room"], message["id"]) for message in history.load(10)] == [
        ("middle", 2),
        ("middle", 4),
        ("newest", 5),
    ]
    history.close()


def test_all_lines_are_saved_or_none() -> None:
    history = History(":memory:")
    with pytest.raises(HistoryError):
        history.save([line(1), line(2**70)])
    assert history.load(10) == []
    history.save([line(3)])
    assert numbers(history) == [3]
    history.close()


def test_a_monstrous_line_is_not_kept() -> None:
    history = History(":memory:")
    history.save([line(1, text="x" * MAX_DOCUMENT), line(2)])
    assert numbers(history) == [2]
    history.close()


def test_another_thread_may_go_on() -> None:
    history = History(":memory:")
    thread = threading.Thread(target=lambda: history.save([line(1)]))
    thread.start()
    thread.join()
    assert numbers(history) == [1]
    history.close()


def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path) -> None:
    folder, foreign = tmp_path / "folder", tmp_path / "foreign.db"
    folder.mkdir(mode=0o755)
    foreign.write_text("no database")
    foreign.chmod(0o644)
    for path, mode in ((folder, 0o755), (foreign, 0o644)):
        with pytest.raises(HistoryError):
            History(path)
        assert path.stat().st_mode & 0o777 == mode


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "history.db"
    history = History(path)
    history.save([line(1)])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"history.db": 0o600, "history.db-wal": 0o600, "history.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    history.close()
    path.chmod(0o644)
    History(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE things (id)")
    db.close()


def newer_history(path: Path) -> None:
    History(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"this is no database, it is a text of some length" * 100), "not a database"),
        (other_database, "is the database of another program"),
        (newer_history, "was written by a newer chatroom (schema 99"),
        (lambda path: path.mkdir(), "Could not open the history"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_as_it_is(tmp_path: Path, make: Any, says: str) -> None:
    path = tmp_path / "history.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(HistoryError) as caught:
        History(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_an_empty_file_is_a_new_history(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.touch()
    history = History(path)
    assert history.load(10) == []
    history.close()


def test_a_closed_history_says_so() -> None:
    history = History(":memory:")
    history.close()
    with pytest.raises(HistoryError, match="Could not write"):
        history.save([line(1)])
