"""Our hub and our satellite beside the released ones: each can stand in for its counterpart.

`pair` is a released satellite at our hub, then our satellite at a released hub; `every_pair` is also released
with released: the control, which shows what the two of them do.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from helpers.pair import KEY, OTHER_KEY, OTHER_PASSWORD, OURS, Pair, talk
from helpers.processes import Child, Home, json_lines, wait_until

KK, XX = "KKpsk0", "XXpsk2"


def connected(pair: Pair, home: Home | None = None, **credentials: str) -> Child:
    satellite = pair.satellite(home=home, **credentials)
    satellite.expect("connected")
    return satellite


def met_before(pair: Pair) -> Home:
    """The home of a satellite that has been connected once, so that both sides have pinned each other."""
    home = pair.new_home()
    satellite = connected(pair, home)
    talk(satellite)
    pair.close(satellite)
    return home


def test_first_contact_is_xx_and_the_next_kk(every_pair: Pair) -> None:
    home = met_before(every_pair)
    assert every_pair.patterns() == [XX]
    satellite = connected(every_pair, home)
    talk(satellite, "again")
    assert every_pair.patterns() == [XX, KK]


def test_the_agent_hears_the_utterance_with_its_way_back(every_pair: Pair) -> None:
    satellite = connected(every_pair)
    talk(satellite, "what time is it")
    [heard] = [x for x in bus_traffic(every_pair) if x["type"] == "recognizer_loop:utterance"]
    assert heard["data"]["utterances"] == ["what time is it"]
    context = heard["context"]
    assert context["source"] == context["peer"]
    assert context["source"].startswith("InteropDriver::")
    assert context["destination"] == "hivemind"
    namespace, _, declared = context["session"]["session_id"].partition(":")
    assert len(namespace) == 16
    assert context["source"].endswith(f"::{declared}")


def test_nothing_on_the_bus_tells_the_access_key(pair: Pair) -> None:
    talk(connected(pair))
    traffic = pair.bus_record.read_text("utf-8")
    assert "hive.client.connect" in traffic
    assert (KEY in traffic) == (pair.hub_make != OURS)


def test_long_messages_travel_in_parts(pair: Pair) -> None:
    satellite = connected(pair)
    talk(satellite, "tell me more " * 20_000)


def test_unicode_survives(pair: Pair) -> None:
    satellite = connected(pair)
    talk(satellite, "wie spät ist es? 🕰 今何時ですか")


def test_a_binarized_link_carries_a_conversation(pair: Pair) -> None:
    pair.hub.stop()
    pair.hub.configure({"binarize": True})
    pair.hub.start()
    satellite = connected(pair)
    talk(satellite)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_satellite_comes_back_after_a_hub_restart(pair: Pair, end: str) -> None:
    satellite = connected(pair)
    talk(satellite)
    links = pair.links()
    getattr(pair.hub, end)()
    pair.hub.start()
    pair.wait_session_after(links)
    talk(satellite, "are you back")
    assert pair.patterns()[-1] == KK
    if end == "stop" and pair.hub_make == OURS:
        assert 1001 in [code for code, _ in pair.closes("hub")]


def test_the_satellite_comes_back_after_a_lost_connection(every_pair: Pair) -> None:
    satellite = connected(every_pair)
    every_pair.cut()
    every_pair.wait_session_after(0)
    talk(satellite, "are you back")


def test_a_wrong_key_is_refused_for_good(pair: Pair) -> None:
    satellite = pair.satellite(key="nobody-has-this-key")
    failed = satellite.expect("failed")
    assert failed["refused"]
    assert failed["text"].startswith("HiveMind refused this identity: ")
    assert pair.closes("hub") == [(1008, "invalid api key")]
    talk(connected(pair))


def test_a_wrong_password_at_first_contact_makes_no_session(pair: Pair) -> None:
    satellite = pair.satellite(password=OTHER_PASSWORD)
    wait_until(lambda: pair.patterns() and pair.wire("down"), 60, "the end of the first attempt")
    assert not pair.wire("binary")
    assert "connected" not in events(satellite)
    if pair.satellite_make == OURS:
        assert "password" in satellite.expect("failed")["text"]
    satellite.kill()
    talk(connected(pair))


def test_a_wrong_password_later_makes_no_session(pair: Pair) -> None:
    home = met_before(pair)
    forget_derived_keys(pair, home)
    satellite = pair.satellite(password=OTHER_PASSWORD, home=home)
    wait_until(lambda: pair.patterns()[1:3] == [KK, XX], 60, "an attempt with each pattern")
    assert (1008, "handshake failure: ") in pair.closes("hub")
    assert "connected" not in events(satellite)
    if pair.satellite_make == OURS:
        assert "password" in satellite.expect("failed")["text"]
    satellite.kill()
    talk(connected(pair, home))


def test_another_device_with_the_same_key_is_refused(pair: Pair) -> None:
    """The released hub says `invalid message` instead when the satellite's HELLO already waits to be read."""
    met_before(pair)
    satellite = pair.satellite()
    wait_until(lambda: refusals(pair), 60, "the hub's refusal")
    reasons = {"client Noise static key contradicts the pinned key"}
    if pair.hub_make != OURS:
        reasons.add("invalid message")
    assert set(refusals(pair)) <= reasons
    if pair.satellite_make == OURS:
        assert "reset-noise-pin" in satellite.expect("failed")["text"]


def test_a_denied_type_is_told_and_the_session_lives_on(every_pair: Pair) -> None:
    satellite = connected(every_pair)
    satellite.send("message", type="mycroft.stop")
    denied = satellite.expect("denied")
    assert denied["denied_type"] == "mycroft.stop"
    assert denied["code"] == "acl_disallowed_type"
    talk(satellite)


def test_a_session_outlives_a_binary_message(pair: Pair) -> None:
    """The released hub has no handler for it either, but says nothing."""
    satellite = connected(pair)
    satellite.send("binary", size=1000)
    if pair.hub_make == OURS:
        assert satellite.expect("denied")["denied_type"] == "binary"
    talk(satellite)
    assert pair.links() == 1


def test_a_binary_message_of_a_client_that_may_nothing_is_denied(every_pair: Pair) -> None:
    every_pair.hub.stop()
    with closing(sqlite3.connect(every_pair.hub.database)) as database, database:
        database.execute("UPDATE clients SET allowed_types = '[]'")
    every_pair.hub.start()
    satellite = connected(every_pair)
    satellite.send("binary", size=1000)
    denied = satellite.expect("denied")
    assert denied["denied_type"] == "binary"
    assert denied["code"] == "acl_disallowed_type"


def test_two_satellites_hear_only_their_own_answers(every_pair: Pair) -> None:
    every_pair.hub.stop()
    every_pair.hub.add_client(OTHER_KEY, OTHER_PASSWORD, name="bedroom")
    every_pair.hub.start()
    kitchen = connected(every_pair)
    bedroom = connected(every_pair, key=OTHER_KEY, password=OTHER_PASSWORD)
    talk(kitchen, "good morning kitchen")
    talk(bedroom, "good night bedroom")
    talk(kitchen, "lights on")
    heard = [[x["utterance"] for x in child.events() if x["event"] == "speak"] for child in (kitchen, bedroom)]
    assert heard == [
        ["you said: good morning kitchen", "you said: lights on"],
        ["you said: good night bedroom"],
    ]


def refusals(pair: Pair) -> list[str]:
    """The reasons of the hub's closes with 1008."""
    return [reason for code, reason in pair.closes("hub") if code == 1008]


def forget_derived_keys(pair: Pair, home: Home) -> None:
    """The released client keeps a key derived from a password and goes on using it with another password."""
    if pair.satellite_make != OURS:
        for cache in home.config.rglob("*_psks.json"):
            cache.unlink()


def events(child: Child) -> list[str]:
    return [x["event"] for x in child.events()]


def bus_traffic(pair: Pair) -> list[dict[str, Any]]:
    return json_lines(pair.bus_record)
