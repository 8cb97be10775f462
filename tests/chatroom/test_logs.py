from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind_chatroom import logs
from hivemind_chatroom.logs import FILE_NAME, LogFileError, requests_logged

NAMES = ("", *logs.OURS)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in NAMES}
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_it_goes_into_a_file_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "logs"
    logs.start("INFO", folder)
    logging.getLogger("hivemind_chatroom.x").info("hello é")
    logging.getLogger("hivemind_chatroom.x").debug("not this")
    file = folder / FILE_NAME
    assert FILE_NAME == "flask-chat.log"
    assert file.read_text("utf-8").endswith(" INFO hivemind_chatroom.x: hello é\n")
    assert "not this" not in file.read_text("utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_older_file_is_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text("earlier\n")
    file.chmod(0o644)
    logs.start("INFO", tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "earlier\n"


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 2000)
    folder = tmp_path / "logs"
    logs.start("INFO", folder)
    for number in range(500):
        logging.getLogger("hivemind_chatroom").info("line %d", number)
    files = sorted(folder.iterdir())
    assert len(files) == logs.OLD_FILES + 1
    assert all(file.stat().st_size <= 2000 for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_it_may_go_to_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start("WARNING", "stdout")
    logging.getLogger("hivemind_chatroom").warning("look")
    assert capsys.readouterr().out.endswith("WARNING hivemind_chatroom: look\n")


def test_other_packages_do_not_write_down_what_they_send(tmp_path: Path) -> None:
    """`websockets` logs the request with the access key at DEBUG."""
    logs.start("DEBUG", tmp_path)
    logging.getLogger("websockets.client").debug("> GET /?authorization=c2VjcmV0")
    logging.getLogger("hivemind_bus_client.x").debug("ours")
    text = (tmp_path / FILE_NAME).read_text()
    assert "ours" in text
    assert "authorization" not in text


def test_strangers_cannot_forge_lines(tmp_path: Path) -> None:
    logs.start("INFO", tmp_path)
    logging.getLogger("hivemind_chatroom").info("GET /%s", "a\n2026 ERROR forged\r\x1b[2J\u2028x")
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(r"GET /a\n2026 ERROR forged\r\x1b[2J\u2028x")


def test_reports_of_failures_keep_their_lines(tmp_path: Path) -> None:
    logs.start("INFO", tmp_path)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("hivemind_chatroom").exception("it failed")
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-1] == "    ValueError: broken"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_closed_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LogFileError, match=FILE_NAME):
        logs.start("INFO", tmp_path)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogFileError, match="--log-path"):
        logs.start("INFO", tmp_path / "file")


def test_requests_are_noted_without_query_and_body(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = []

    def app(environ, start):
        start("404 NOT FOUND", [("X", "y")])
        return [b"body"]

    environ = {
        "REMOTE_ADDR": "192.168.1.9",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/messages",
        "QUERY_STRING": "secret=1",
    }
    assert requests_logged(app)(environ, lambda *given: told.append(given)) == [b"body"]
    assert told == [("404 NOT FOUND", [("X", "y")])]
    assert [record.getMessage() for record in caplog.records] == ["192.168.1.9 GET /messages 404"]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
