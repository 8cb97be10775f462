from __future__ import annotations

import logging

import pytest

from hivemind_core.cluster.seldom import QUIET_S, Seldom


def test_each_kind_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    seldom = Seldom(logging.getLogger("test"), lambda: now[0])
    for number in range(3):
        seldom.warn("first %s", number)
        seldom.warn("second")
    assert caplog.messages == ["first 0", "second"]
    now[0] = QUIET_S
    seldom.warn("first %s", 3)
    assert caplog.messages[2:] == ["first 3"]
    seldom.reset()
    seldom.warn("second")
    assert caplog.messages[3:] == ["second"]
