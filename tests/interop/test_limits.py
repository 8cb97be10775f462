"""Satellites of each make that send more than our hub takes: they are closed with 1013, and come back by themselves."""

from __future__ import annotations

import pytest

from helpers.pair import OURS, SLOW_S, Pair, talk
from helpers.processes import Children, wait_until

LIMITS = {"client_messages_per_s": 2, "burst_s": 20}
MANY = 60


@pytest.mark.parametrize("make", ["released-client", OURS])
def test_who_sends_too_much_is_away_for_a_while_and_comes_back(children: Children, make: str) -> None:
    pair = Pair(children, make, OURS)
    pair.hub.stop()
    pair.hub.configure({"limits": LIMITS})
    pair.hub.start()
    satellite = pair.satellite()
    satellite.expect("connected", SLOW_S)
    talk(satellite)
    links = pair.links()
    for number in range(MANY):
        satellite.send("utterance", text=f"number {number}")
    wait_until(lambda: any(code == 1013 for code, _ in pair.closes()), SLOW_S, pair.tap.tail())
    reasons = {reason for code, reason in pair.closes() if code == 1013}
    assert all(reason.startswith("too many messages, try again in ") for reason in reasons)
    pair.wait_session_after(links)
    talk(satellite, "here again")
    pair.close(satellite)
