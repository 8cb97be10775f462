"""`hivemind-client` of either make against a hub of either make; the success texts are the released ones."""

from __future__ import annotations

import json

import pytest

from helpers.pair import KEY, OTHER_PASSWORD, OURS, PASSWORD, Pair
from helpers.processes import Home, wait_until

HELLO = json.dumps({"utterances": ["hello from the command line"]})


@pytest.fixture
def home(pair: Pair) -> Home:
    """A device whose identity was set with the command."""
    home = pair.new_home()
    options = ["--key", KEY, "--password", PASSWORD, "--host", "ws://127.0.0.1", "--port", str(pair.port)]
    child = pair.command(home, "set-identity", *options, "--siteid", "kitchen")
    assert child.wait_exit() == 0, child.tail()
    assert "PUBKEY: -----BEGIN PUBLIC KEY-----" in child.output()
    assert f"identity saved: {home.config}/hivemind/_identity.json" in child.output()
    return home


def test_the_identity_is_tested(pair: Pair, home: Home) -> None:
    child = pair.command(home, "test-identity")
    assert child.wait_exit() == 0, child.tail()
    assert "== Identity successfully connected to HiveMind!" in child.output()


def test_a_message_is_sent(pair: Pair, home: Home) -> None:
    child = pair.command(home, "send-mycroft", "--msg", "recognizer_loop:utterance", "--payload", HELLO)
    assert child.wait_exit() == 0, child.tail()
    assert "== connected to HiveMind" in child.output()
    heard = "you said: hello from the command line"
    wait_until(lambda: heard in pair.bus_record.read_text("utf-8"), 60, "the answer on the bus")


def test_the_terminal_speaks(pair: Pair, home: Home) -> None:
    child = pair.command(home, "terminal")
    child.wait_output("== connected to HiveMind")
    child.write("hello from the terminal\n")
    child.wait_output(">  you said: hello from the terminal")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--key", "nobody-has-this-key"), ("--password", OTHER_PASSWORD)],
)
def test_a_refused_identity_is_an_error(pair: Pair, home: Home, option: str, value: str) -> None:
    assert pair.command(home, "set-identity", option, value).wait_exit() == 0
    child = pair.command(home, "test-identity", "--timeout", "40" if pair.satellite_make == OURS else "5")
    assert child.wait_exit() == 1, child.tail()
    errors = child.stderr.read_text("utf-8")
    assert "Error: " in errors
    assert "== Identity successfully" not in child.output()
    if pair.satellite_make == OURS:
        assert "Traceback" not in errors
        assert option.removeprefix("--") in errors
