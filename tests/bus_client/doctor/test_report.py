"""How findings look."""

from __future__ import annotations

import json

from hivemind_bus_client.doctor.findings import fail, ok, warn
from hivemind_bus_client.doctor.report import document, last_line, lines


def test_verdict_name_and_reason_stand_in_columns() -> None:
    assert lines(ok("port", "It is open.")) == ["ok    port        It is open."]
    assert lines(warn("port", "It is slow.")) == ["warn  port        It is slow."]
    assert lines(fail("a-long-long-name", "Gone.")) == ["FAIL  a-long-long-name Gone."]


def test_the_cure_stands_below() -> None:
    told = lines(fail("port", "It is closed.", "Open it."))
    assert told == ["FAIL  port        It is closed.", "                  -> Open it."]


def test_long_texts_are_broken_but_no_command_in_itself() -> None:
    path = "/" + "x" * 90
    told = lines(fail("port", "word " * 30, f"Run: chmod 600 {path}"), width=70)
    assert any(line.strip() == path for line in told)
    assert all(len(line) <= 70 for line in told if path not in line)
    assert " ".join(line.strip() for line in told[1:6]).count("word") > 5


def test_only_the_verdict_is_coloured() -> None:
    assert lines(fail("a", "b"), coloured=True) == ["\033[1;31mFAIL\033[0m  a           b"]


def test_no_text_steers_the_terminal_or_breaks_its_line() -> None:
    told = lines(fail("a\nb", "x\033[2Jy\nz", "c\rd"))
    assert told == ["FAIL  a\\nb        x\\x1b[2Jy\\nz", "                  -> c\\rd"]


def test_as_json() -> None:
    told = json.loads(document([ok("a", "b"), fail("c", "d", "e")]))
    assert told["ok"] is False
    assert told["counts"] == {"ok": 1, "warn": 0, "FAIL": 1}
    assert [finding["what"] for finding in told["findings"]] == ["a", "c"]
    assert json.loads(document([warn("a", "b")]))["ok"] is True


def test_the_last_line_sums_up() -> None:
    assert last_line([fail("a", "b")]) == "1 failure."
