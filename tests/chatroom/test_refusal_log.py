"""What the log tells of visitors who are turned away."""

from __future__ import annotations

import json
import logging

import pytest

from hivemind_bus_client.log_lines import JSONLines
from hivemind_chatroom.refusal_log import AGAIN_AFTER_S, REMEMBERED, RefusalLog


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_line_has_code_visitor_and_cure(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog().tell("rate_limited", "192.0.2.1", "Too much at once.", "Wait a little.")
    [record] = caplog.records
    assert record.getMessage() == "turned away 192.0.2.1: Too much at once. Wait a little. [rate_limited]"
    told = json.loads(JSONLines().format(record))
    assert (told["code"], told["peer"], told["cure"]) == ("rate_limited", "192.0.2.1", "Wait a little.")


def test_the_same_again_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = RefusalLog(lambda: now)
    for _ in range(100):
        log.tell("sign_in", "192.0.2.1", "Sign in.", "")
    log.tell("sign_in", "192.0.2.2", "Sign in.", "")
    assert len(caplog.records) == 2
    now = AGAIN_AFTER_S
    log.tell("sign_in", "192.0.2.1", "Sign in.", "")
    assert len(caplog.records) == 3


def test_only_so_many_are_remembered() -> None:
    log = RefusalLog()
    for number in range(3 * REMEMBERED):
        log.tell("sign_in", f"visitor {number}", "Sign in.", "")
    assert len(log._told) <= REMEMBERED
