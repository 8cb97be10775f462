"""Each row of both tables of refusals: one line of the log with code, peer and cure in every format, and a figure."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from hivemind_bus_client import denials
from hivemind_bus_client.link import Refused
from hivemind_bus_client.log_lines import JournalLines, JSONLines, PlainLines
from hivemind_bus_client.refusals import DENIALS, REFUSALS
from hivemind_core.actions import Deny, denied
from hivemind_core.clocks import Clocks
from hivemind_core.limits import BURST_S
from hivemind_core.meter import Meter
from hivemind_core.refusal_log import RefusalLog
from hivemind_core.testing import FakeClock

PEER = "device::7::kitchen::session"


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        clocks = Clocks(self.clock, self.clock)
        self.meter = Meter(self.clock)
        self.log = RefusalLog(self.meter, clocks)
        client = SimpleNamespace(client_id=7)
        self.peer: Any = SimpleNamespace(peer_id=PEER, client=client, address="192.0.2.1", static_key=None)


@pytest.fixture
def rig(caplog: pytest.LogCaptureFixture) -> Rig:
    caplog.set_level(logging.INFO)
    return Rig()


def told(caplog: pytest.LogCaptureFixture, peer: str, code: str, cure: str) -> str:
    """The one line there is, in every format."""
    [record] = caplog.records
    plain, journal = PlainLines().format(record), JournalLines().format(record)
    for line in (plain, journal):
        assert "\n" not in line
        assert peer in line
        assert f"[{code}" in line
        assert cure in line
    entry = json.loads(JSONLines().format(record))
    assert (entry["code"], entry["peer"], entry["cure"]) == (code, peer, cure)
    assert entry["message"] == record.getMessage()
    return plain


@pytest.mark.parametrize("code", REFUSALS)
def test_a_connection_that_is_refused(code: str, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    row = REFUSALS[code]
    rig.log.satellite(rig.peer, Refused(code, row.wire_reason))
    assert row.sentence in told(caplog, PEER, code, row.cure)
    assert rig.meter.refusals.of(code) == 1


@pytest.mark.parametrize("code", REFUSALS)
def test_a_stranger_who_is_turned_away(code: str, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    row = REFUSALS[code]
    rig.log.stranger("192.0.2.99", Refused(code, row.wire_reason))
    assert row.sentence in told(caplog, "192.0.2.99", code, row.cure)
    assert rig.meter.refusals.of(code) == 1


@pytest.mark.parametrize("code", DENIALS)
def test_a_message_that_is_denied(code: str, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.log.denied(rig.peer, denied(code, "some.type"))
    line = told(caplog, PEER, code, denials.cure(code, "some.type", 7))
    assert denials.sentence(code, "some.type").rstrip(".") in line
    assert rig.meter.denials.of(code) == 1


def test_a_denial_of_a_policy_of_ones_own(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.log.denied(rig.peer, Deny("some.type", "policy_of_mine", "Not on Sundays."))
    assert "Not on Sundays. [policy_of_mine]" in told(caplog, PEER, "policy_of_mine", "")


def test_more_of_a_reason_is_told(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.log.satellite(rig.peer, Refused("not_offered", "pattern/suite not offered: NN/\nx"))
    assert "[not_offered: pattern/suite not offered: NN/\\nx]" in PlainLines().format(caplog.records[0])


def test_what_comes_again_is_counted_and_told_once_more_at_the_end(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        rig.log.satellite(rig.peer, Refused("busy", "busy"))
        rig.log.denied(rig.peer, Deny("some.type", "policy_of_mine", "No."))
    assert len(caplog.records) == 2
    assert rig.meter.refusals.of("busy") == rig.meter.denials.of("policy_of_mine") == 5
    assert len(rig.log.rejections.recent()) == 1
    rig.clock.advance(BURST_S)
    rig.log.tick()
    assert [record.getMessage() for record in caplog.records][2:] == [
        "refused again, 4 times: client 7 at 192.0.2.1, busy",
        "refused again, 4 times: client 7, policy_of_mine",
    ]
