"""What a hub or other nodes may do to a satellite, numbered as the table of docs/security.md does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import NODE_ID, LinkHub, eventually
from helpers.live_hub import LiveHub, satellite
from helpers.target import PASSWORD
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

KEY = "an-access-key"
UTTERANCE = "recognizer_loop:utterance"


def speak(words: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": words}))


async def test_c09_a_device_that_is_not_the_pinned_one_is_told_so(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add(KEY, PASSWORD)
        first = hub.client(KEY, PASSWORD, "first")
        await first.connect(timeout=60)
        await first.close()
        recreated = hub.client(KEY, PASSWORD, "recreated")
        with pytest.raises(ConnectionRefusedError, match="reset-noise-pin"):
            await recreated.connect(timeout=60)
        await recreated.close()


async def test_c10_a_wrong_password_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        hub.add(KEY, PASSWORD)
        client = hub.client(KEY, "not the password of this one 7")
        with pytest.raises(ConnectionRefusedError, match="password"):
            await client.connect(timeout=60)
        await client.close()


async def test_c12_a_handler_that_fails_costs_nobody_the_link(tmp_path: Path) -> None:
    async with LinkHub({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        heard: list[str] = []

        def fails(message: Message) -> None:
            heard.append(message.data["utterance"])
            raise ValueError("a slip in a handler")

        client.on_mycroft("speak", fails)
        await client.connect(timeout=60)
        for words in ("one", "two"):
            await hub.peers[0].send(speak(words))
        await eventually(lambda: heard == ["one", "two"])
        assert hub.connections == 1
        await client.close()


async def test_c15_propagate_acts_where_its_author_is_trusted_and_nowhere_else(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        for key in ("friend", "stranger", KEY):
            hub.add(key, PASSWORD)
        client, friend, stranger = (hub.client(key, PASSWORD, f"of {key}") for key in (KEY, "friend", "stranger"))
        friend.identity.create_keys()
        client.identity.add_trusted_key("friend", friend.identity.public_key)
        heard: list[str] = []
        came: list[Any] = []
        client.on_mycroft("speak", lambda message: heard.append(message.data["utterance"]))
        client.on("propagate", came.append)
        for each in (client, friend, stranger):
            await each.connect(site_id="kitchen", timeout=60)
        for each, words in ((stranger, "give me your money"), (friend, "dinner is ready"), (stranger, "and your keys")):
            await each.emit(HiveMessage(HiveMessageType.PROPAGATE, speak(words), target_site_id="kitchen"))
            await eventually(lambda words=words: any(words in each.serialize() for each in came))
        hub.agent.deliver(Message("speak", {"utterance": "the end"}, {"destination": peer_of(hub, KEY)}))
        await eventually(lambda: "the end" in heard)
        assert heard == ["dinner is ready", "the end"]
        for each in (client, friend, stranger):
            await each.close()


def peer_of(hub: LiveHub, key: str) -> str:
    return next(peer.peer_id for peer in hub.hub.peers if peer.client.api_key == key)


def test_c22_importing_touches_no_logging() -> None:
    code = "import logging, hivemind_bus_client, hivemind_core.service; print(logging.getLogger().handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_c23_private_files_are_private(tmp_path: Path) -> None:
    identity = NodeIdentity(tmp_path / "identity" / "_identity.json")
    identity.password, identity.access_key = PASSWORD, KEY
    identity.create_keys()
    identity.save()
    files = [path for path in (tmp_path / "identity").rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


CLEAR = [
    json.dumps(speak("in the clear").as_dict),
    json.dumps({"msg_type": "shake", "payload": {"envelope": "00", "handshake": True}}),
    json.dumps({"msg_type": "hello", "payload": {"pubkey": "another", "node_id": "another", "peer": "x"}}),
]


@pytest.mark.parametrize("frame", CLEAR, ids=["bus", "envelope", "hello"])
async def test_c23_nothing_in_the_clear_is_taken_in_a_session(tmp_path: Path, frame: str) -> None:
    async with LinkHub({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        heard: list[str] = []
        client.on_mycroft("speak", lambda message: heard.append(message.data["utterance"]))
        await client.connect(timeout=60)
        [peer] = hub.peers
        await peer.socket.send_str(frame)
        await peer.send(speak("sealed"))
        await eventually(lambda: heard or hub.connections > 1)
        await client.emit(HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": ["still the same key"]})))
        await eventually(lambda: hub.utterances)
        assert heard[0] == "sealed"
        assert "in the clear" not in heard
        assert (hub.connections, client.protocol.mpubkey) == (1, NODE_ID)
        await client.close()


ROUTES: list[Any] = [[1], [{"source": 1}], [{}], [{"source": "a", "targets": 7}], ["x"], [None]]


async def test_c23_no_route_breaks_a_satellite(tmp_path: Path) -> None:
    async with LinkHub({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        heard: list[str] = []
        client.on_mycroft("speak", lambda message: heard.append(message.data["utterance"]))
        await client.connect(timeout=60)
        [peer] = hub.peers
        for route in ROUTES:
            document = {**HiveMessage(HiveMessageType.PROPAGATE, speak("x")).as_dict, "route": route}
            for frame in peer.link._session.seal(json.dumps(document, default=str).encode(), False):  # type: ignore[union-attr]
                await peer.socket.send_bytes(frame)
        await peer.send(speak("still here"))
        await eventually(lambda: "still here" in heard)
        assert hub.connections == 1
        await client.close()
