"""The released satellite over HTTP (client 1.2.12a1) at our hub."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import bus_stub
from helpers.hub_process import HOST, HubProcess
from helpers.pair import DRIVERS, KEY, OTHER_KEY, OTHER_PASSWORD, OUR_PROGRAMS, PASSWORD, programs
from helpers.processes import Child, Children, Home, wait_until


class OurHub(HubProcess):
    """Our hub with HTTP alone and a bus stub behind it."""

    def __init__(self, children: Children) -> None:
        self.children = children
        bus = children.spawn("bus", [sys.executable, bus_stub.__file__])
        super().__init__(children, OUR_PROGRAMS / "hivemind-core", bus.expect("ready")["port"])
        self.configure({"network_protocol": {"hivemind-http-plugin": {"host": HOST, "port": self.port}}})
        self.add_client(KEY, PASSWORD)

    def satellite(self, home: str | Home = "device", *, key: str = KEY, password: str = PASSWORD, **more: Any) -> Child:
        """Start a satellite that begins to connect; one home is one device."""
        argv: list[str | Path] = [programs("released-client") / "python", DRIVERS / "http_satellite.py"]
        options = ["--port", str(self.port), "--key", key, "--password", password, "--more", json.dumps(more)]
        where = self.children.home(home) if isinstance(home, str) else home
        child = self.children.spawn("satellite", [*argv, *options], where)
        child.send("connect")
        return child

    def connected(self, home: str | Home = "device", **options: Any) -> Child:
        child = self.satellite(home, **options)
        assert child.expect("connected")["answer"] == {"status": "Connected"}
        return child


@pytest.fixture
def hub(children: Children) -> OurHub:
    hub = OurHub(children)
    hub.start()
    return hub


def talk(satellite: Child, text: str) -> None:
    """Say something and hear the answer, once."""
    satellite.send("utterance", text=text)
    satellite.expect("speak", utterance=f"you said: {text}")
    satellite.expect("handled")


def is_connected(satellite: Child) -> bool:
    satellite.send("state")
    return bool(satellite.expect("state")["connected"])


def close(satellite: Child) -> None:
    satellite.send("close")
    satellite.expect("done")
    satellite.wait_exit()


def test_a_conversation_and_the_next_one(hub: OurHub) -> None:
    satellite = hub.connected()
    talk(satellite, "wie spät ist es? 🕰 今何時ですか")
    talk(satellite, "tell me more " * 16_000)
    satellite.send("message", type="mycroft.stop")
    denied = satellite.expect("denied")
    assert (denied["denied_type"], denied["code"]) == ("mycroft.stop", "acl_disallowed_type")
    satellite.send("binary", size=1000)
    assert satellite.expect("denied")["denied_type"] == "binary"
    talk(satellite, "still there")


def test_its_next_processes_are_greeted_anew_at_once(hub: OurHub) -> None:
    """One that is killed leaves its session behind; it returns no cookie, and would wait for that one's greeting."""
    first = hub.connected()
    first.send("disconnect")
    assert first.expect("closed")["answer"] == {"status": "Disconnected"}
    close(first)
    second = hub.connected()
    second.kill()
    talk(hub.connected(), "the third")


def test_connecting_the_same_object_again_fails_at_every_hub(hub: OurHub) -> None:
    """Its handlers are bound a second time then, so that two handshakes are posted at once."""
    satellite = hub.connected()
    satellite.send("disconnect")
    satellite.expect("closed")
    satellite.send("connect")
    assert satellite.expect("failed")["text"] == "HiveMind closed the session during the handshake"


def test_a_hub_restart_ends_it_and_the_next_process_is_back(hub: OurHub) -> None:
    """It sees that its session is gone and never connects by itself, at whatever hub: a supervisor has to start it."""
    satellite = hub.connected()
    talk(satellite, "hello")
    hub.stop()
    hub.start()
    wait_until(lambda: not is_connected(satellite), 60, "the loss")
    satellite.send("utterance", text="anybody there")
    assert satellite.expect("not_sent")["text"] == "self.connect() needs to be called first!"
    satellite.kill()
    talk(hub.connected(), "here again")


def test_a_wrong_key_is_refused(hub: OurHub) -> None:
    failed = hub.satellite(key="nobody-has-this-key").expect("failed")
    assert (failed["error"], failed["text"]) == (
        "ConnectionRefusedError",
        "HiveMind refused the connection: HTTP 403",
    )


def test_a_wrong_password_makes_no_session(hub: OurHub) -> None:
    failed = hub.satellite(password=OTHER_PASSWORD).expect("failed")
    assert failed["error"] == "ConnectionRefusedError"


def test_two_satellites_hear_only_their_own_answers(hub: OurHub) -> None:
    hub.add_client(OTHER_KEY, OTHER_PASSWORD, name="bedroom")
    kitchen, bedroom = hub.satellite(), hub.satellite("bedroom", key=OTHER_KEY, password=OTHER_PASSWORD)
    for satellite in (kitchen, bedroom):
        satellite.expect("connected")
    for number in range(2):
        talk(kitchen, f"kitchen {number}")
        talk(bedroom, f"bedroom {number}")
    heard = [[x["utterance"] for x in child.events() if x["event"] == "speak"] for child in (kitchen, bedroom)]
    assert heard == [["you said: kitchen 0", "you said: kitchen 1"], ["you said: bedroom 0", "you said: bedroom 1"]]


def test_a_protocol_below_v3(hub: OurHub) -> None:
    """It posts the bytes of a binary message as text then, which no hub takes; released ones end the session for it."""
    satellite = hub.connected(max_protocol_version=2)
    talk(satellite, "as of old " * 1_000)
    satellite.send("binary", size=100)
    satellite.send("message", type="mycroft.stop")
    assert satellite.expect("denied")["denied_type"] == "mycroft.stop"
