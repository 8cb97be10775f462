"""The mesh at a released hub: two of our satellites, in this process, and what they are to each other."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import bus_stub
from helpers.hub_process import HOST, HubProcess
from helpers.pair import KEY, OTHER_KEY, OTHER_PASSWORD, PASSWORD, programs
from helpers.processes import Children
from hivemind_bus_client.client import HiveMessageBusClient
from hivemind_bus_client.hive_map import HiveMapper
from hivemind_bus_client.identity import NodeIdentity, read_or_create_noise_key
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.protocol import VERIFIED_SOURCE_PEER_KEY

WAIT_S = 60.0
SITES = ("kitchen", "bedroom")
CREDENTIALS = ((KEY, PASSWORD), (OTHER_KEY, OTHER_PASSWORD))


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found


class Satellite:
    """One of ours, and what comes in there: spoken words, and envelopes by type."""

    def __init__(self, folder: Path, port: int, site: str, key: str, password: str) -> None:
        self.identity = NodeIdentity(folder / site / "_identity.json")
        self.client = HiveMessageBusClient(key, password, host=f"ws://{HOST}", port=port, identity=self.identity)
        self.words: list[Message] = []
        self.envelopes: list[HiveMessage] = []
        self.client.on_mycroft("speak", self.words.append)
        for kind in (HiveMessageType.PROPAGATE, HiveMessageType.QUERY):
            self.client.on(kind, self.envelopes.append)
        self.client.connect(site_id=site, timeout=WAIT_S)

    def send(self, kind: HiveMessageType, topic: str, data: dict[str, Any], site: str | None = None) -> None:
        inner = HiveMessage(HiveMessageType.BUS, Message(topic, data))
        self.client.emit(HiveMessage(kind, inner, target_site_id=site))

    def ping(self) -> None:
        """Survey the mesh."""
        payload = {"flood_id": "a survey", "peer": f"{SITES[0]}::{self.client.session_id}", "timestamp": time.time()}
        self.client.emit(HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.PING, payload)))

    def heard(self) -> Message:
        """The next words."""
        until(lambda: self.words)
        return self.words.pop(0)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One for all tests, which pins the keys that are in its folder."""
    with Children(tmp_path_factory.mktemp("mesh")) as children:
        bus = children.spawn("bus", [sys.executable, bus_stub.__file__])
        hub = HubProcess(children, programs("released-hub") / "hivemind-core", bus.expect("ready")["port"])
        for site, (key, password) in zip(SITES, CREDENTIALS, strict=True):
            hub.add_client(key, password, name=site)
            identity = NodeIdentity(children.folder / "devices" / site / "_identity.json")
            identity.name = site
            identity.create_keys()
            identity.save()
            read_or_create_noise_key(identity.noise_key)
        hub.start()
        yield hub


@pytest.fixture
def satellites(hub: HubProcess, tmp_path: Path) -> Iterator[tuple[Satellite, Satellite]]:
    """The same two devices, which have never met anybody."""
    devices = shutil.copytree(hub.home.path.parent / "devices", tmp_path / "devices")
    made: list[Satellite] = []
    try:
        for site, (key, password) in zip(SITES, CREDENTIALS, strict=True):
            made.append(Satellite(devices, hub.port, site, key, password))
        yield made[0], made[1]
    finally:
        for satellite in made:
            satellite.client.close()


def test_a_survey_finds_the_hub_and_the_other_satellite(satellites: tuple[Satellite, Satellite]) -> None:
    kitchen, bedroom = satellites
    mapper = kitchen.client.protocol.hive_mapper = HiveMapper()
    kitchen.ping()
    until(lambda: len(mapper.nodes) == 2)
    picture = mapper.to_ascii("me").splitlines()
    assert picture[0] == "[self] me"
    assert picture[1].startswith("└── key:")
    assert picture[2].startswith(f"    └── bedroom::{bedroom.client.session_id}  site=bedroom")
    assert len(picture) == 3


def test_a_trusted_satellite_may_speak_elsewhere_and_a_stranger_may_not(
    satellites: tuple[Satellite, Satellite],
) -> None:
    kitchen, bedroom = satellites
    bedroom.send(HiveMessageType.PROPAGATE, "speak", {"utterance": "dropped"}, "kitchen")
    until(lambda: [seen for seen in kitchen.envelopes if seen.payload.msg_type == HiveMessageType.BUS])
    kitchen.identity.add_trusted_key("bedroom", bedroom.identity.public_key or "")
    bedroom.send(HiveMessageType.PROPAGATE, "speak", {"utterance": "for others"}, "elsewhere")
    bedroom.send(HiveMessageType.PROPAGATE, "speak", {"utterance": "delivered"}, "kitchen")
    assert kitchen.heard().data == {"utterance": "delivered"}
    assert kitchen.words == []


def test_a_sealed_message_is_for_one_alone(satellites: tuple[Satellite, Satellite]) -> None:
    kitchen, bedroom = satellites
    kitchen.identity.add_trusted_key("bedroom", bedroom.identity.public_key or "")
    secret = Message("speak", {"utterance": "a long secret" * 1000})
    bedroom.client.emit_intercom(secret, kitchen.identity.public_key)
    heard = kitchen.heard()
    assert heard.data == secret.data
    assert heard.context == {VERIFIED_SOURCE_PEER_KEY: bedroom.identity.public_key}


@pytest.mark.parametrize("kind", [HiveMessageType.QUERY, HiveMessageType.CASCADE])
def test_a_question_is_answered(satellites: tuple[Satellite, Satellite], kind: HiveMessageType) -> None:
    kitchen, bedroom = satellites
    protocol = kitchen.client.protocol
    protocol.cascade_timeout = 0.5
    kitchen.send(kind, "recognizer_loop:utterance", {"utterances": ["hello"]})
    assert kitchen.heard().data["utterance"] == "you said: hello"
    if kind == HiveMessageType.QUERY:
        until(lambda: not protocol.query_liveness.waits_for(""))
        until(lambda: len(kitchen.envelopes) == 2)
        assert [message.payload.payload.msg_type for message in kitchen.envelopes] == ["speak", "hive.query.complete"]
    assert kitchen.words == bedroom.words == []
