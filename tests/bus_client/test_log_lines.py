"""How lines of the log look, in each format."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from hivemind_bus_client.log_lines import FORMATS, JournalLines, JSONLines, PlainLines, formatter, goes_to_journal

HOSTILE = "hello\n<0>emergency: \x1b[31m\u2028 \x9b red"


def record(message: str, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("hive.mind", level, "x.py", 1, message, (), None)
    made.created = 1_700_000_000.25
    made.__dict__.update(extra)
    return made


def failed(message: str, why: str = "no\nsuch thing") -> logging.LogRecord:
    try:
        raise ValueError(why)
    except ValueError:
        made = record(message, logging.ERROR)
        made.exc_info = sys.exc_info()
        return made


def test_plain() -> None:
    line = PlainLines().format(record("hello"))
    assert line.startswith("2023-11-1")
    assert line.endswith(" WARNING hive.mind: hello")
    assert PlainLines().format(failed("hello")).splitlines()[1] == "    Traceback (most recent call last):"


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_stranger_wrote_stays_in_its_line_and_steers_no_terminal(name: str) -> None:
    (line,) = formatter(name, None).format(record(HOSTILE)).split("\n")
    assert line.isprintable()
    assert "emergency" in line


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7), (5, 7)],
)
def test_the_journal_gets_a_priority(level: int, priority: int) -> None:
    assert JournalLines().format(record("hello", level)) == f"<{priority}>hive.mind: hello"


def test_every_line_of_a_traceback_has_the_priority() -> None:
    lines = JournalLines().format(failed("hello")).split("\n")
    assert lines[:2] == ["<3>hive.mind: hello", "<3>    Traceback (most recent call last):"]
    assert all(line.startswith("<3>") for line in lines)
    assert len(lines) > 4


def test_json_is_one_object_a_line() -> None:
    line = JSONLines().format(record(HOSTILE))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "WARNING",
        "logger": "hive.mind",
        "message": HOSTILE,
    }


def test_json_has_the_traceback() -> None:
    line = JSONLines().format(failed("hello"))
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: no\nsuch thing")


@pytest.mark.parametrize("name", FORMATS)
def test_nor_does_what_an_error_says(name: str) -> None:
    text = formatter(name, None).format(
        failed("hello", f"{HOSTILE}\r\0\n2026-01-01 00:00:00,000 INFO hive: all is well")
    )
    first, *rest = text.split("\n")
    assert all(line.isprintable() for line in (first, *rest))
    assert all(line.startswith(("    ", "<3>    ")) for line in rest)


@pytest.mark.parametrize("name", FORMATS)
def test_what_another_handler_made_of_it_does_not_count(name: str) -> None:
    made = failed("hello", HOSTILE)
    logging.Formatter().format(made)
    before = made.exc_text
    assert "\x1b" not in formatter(name, None).format(made)
    assert made.exc_text == before


def test_json_of_what_is_no_text() -> None:
    line = JSONLines().format(failed("a name: \udcff", "half a \ud800"))
    entry = json.loads(line)
    assert entry["message"] == "a name: \\udcff"
    assert entry["exception"].endswith("half a \\ud800")


@pytest.mark.parametrize("name", FORMATS)
def test_what_else_a_record_carries_stays_out(name: str) -> None:
    assert "orbital-walnut" not in formatter(name, None).format(record("hello", password="orbital-walnut"))


def test_it_goes_by_where_the_log_goes(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "file").open("w") as other:
        there = os.fstat(journal.fileno())
        environ = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        assert isinstance(formatter("auto", journal, environ), JournalLines)
        assert type(formatter("auto", other, environ)) is PlainLines
        assert type(formatter("auto", journal, {})) is PlainLines
        assert type(formatter("plain", journal, environ)) is PlainLines
        assert type(formatter("json", journal, environ)) is JSONLines
    assert not goes_to_journal(journal, environ), "it is closed"
    assert not goes_to_journal(None, environ)
    assert not goes_to_journal(sys.stderr, {"JOURNAL_STREAM": "nonsense"})
