"""Hubs that take no acknowledgements of playback from a client, as released ones do not unless they are told to."""

from __future__ import annotations

import json
import time

from helpers.pair import DRIVERS, KEY, OURS, PASSWORD, Pair, talk
from helpers.processes import Children

PLAYING = "recognizer_loop:audio_output_start"


def test_a_hub_that_takes_none_changes_nothing(children: Children) -> None:
    pair = Pair(children, OURS, "released-hub")
    options = {
        "port": str(pair.port),
        "key": KEY,
        "password": PASSWORD,
        "more": json.dumps({"acknowledge_playback": True}),
    }
    argv = [pair.satellite_programs / "python", DRIVERS / "satellite.py", *(f"--{k}={v}" for k, v in options.items())]
    satellite = children.spawn("satellite", argv, pair.new_home())
    satellite.expect("connected")
    for _ in range(2):
        talk(satellite)
        time.sleep(0.5)  # an acknowledgement, and a denial, would have come by now
    assert not [event for event in satellite.events() if event["event"] == "denied"]
    assert PLAYING not in pair.bus_record.read_text("utf-8")
    assert len(pair.wire("up")) == 1
