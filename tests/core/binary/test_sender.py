"""What a handler can do for its satellite: from any thread, and never to the hub's harm."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from hivemind_bus_client.link import Link
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.message import HiveMindBinaryPayloadType as Kind
from hivemind_core.actions import ToAgent
from hivemind_core.binary.fitting import fits
from hivemind_core.binary.sender import Back, Sender
from hivemind_core.clients import Client
from hivemind_core.peers import Peer, Registry

SECRETS = {"password": "hush", "metadata": {"psk": "hush"}}


class Wire:
    remote = "here"


class Stand:
    def __init__(self, **session: Any) -> None:
        registry = Registry("node")
        client = Client(7, "hush-key", "kitchen", allowed_types=("a",), **SECRETS)  # type: ignore[arg-type]
        self.peer = registry.new_peer(cast(Any, Wire()), cast(Link, None), client, "ua")
        self.peer.session = {"session_id": "s", **session}
        self.peer.site_id = "home"
        registry.register(self.peer)
        self.sent: list[HiveMessage] = []
        self.injected: list[ToAgent] = []
        back = Back(lambda _, message: self.sent.append(message), lambda *_: None, self._inject)
        self.sender = Sender(self.peer, back, asyncio.get_running_loop())

    def _inject(self, peer: Peer, action: ToAgent) -> None:
        if action.message.msg_type == "fault":
            raise RuntimeError("a fault")
        self.injected.append(action)


async def from_thread(act: Any, *args: Any) -> None:
    await asyncio.to_thread(act, *args)
    await asyncio.sleep(0)


async def test_it_says_who_it_is_and_no_secret() -> None:
    sender = Stand(lang="fr-FR").sender
    assert (sender.peer, sender.client_id, sender.name) == ("ua::7::kitchen::s", 7, "kitchen")
    assert (sender.is_admin, sender.allowed_types, sender.site_id, sender.lang) == (False, ("a",), "home", "fr-FR")
    assert "hush" not in repr(sender)
    assert "hush" not in repr({key: value for key, value in vars(sender).items() if not key.startswith("_")})
    assert Stand(lang=3).sender.lang == ""


async def test_a_bus_message_comes_as_an_answer_of_the_agent_does() -> None:
    stand = Stand()
    session = {"session_id": f"{stand.peer.namespace}:s", "lang": "en"}
    asked = Message("ask", {}, {"source": stand.peer.peer_id, "destination": "hivemind", "session": session, "x": 1})
    await from_thread(stand.sender.send_bus, asked.response({"y": 2}))
    [message] = stand.sent
    assert (message.msg_type, message.source_peer) == (HiveMessageType.BUS, stand.peer.peer_id)
    told = message.payload
    assert (told.msg_type, told.data) == ("ask.response", {"y": 2})
    assert told.context["source"] == "hive"
    assert told.context["destination"] == stand.peer.peer_id
    assert told.context["session"] == {"session_id": "s", "lang": "en"}
    assert told.context["x"] == 1


async def test_binary_data_is_sent_with_metadata_that_fits() -> None:
    stand = Stand()
    about = {"utterance": "".join(map(chr, range(0x4E00, 0x5200))), "lang": "zh"}
    await from_thread(stand.sender.send_binary, b"RIFF", Kind.TTS_AUDIO, about)
    await from_thread(
        stand.sender.send, HiveMessage(HiveMessageType.BINARY, b"RIFF", bin_type=Kind.FILE, metadata=about)
    )
    for message, kind in zip(stand.sent, (Kind.TTS_AUDIO, Kind.FILE), strict=True):
        assert (message.msg_type, message.body, message.bin_type) == (HiveMessageType.BINARY, b"RIFF", kind)
        assert fits(message.metadata)
        assert message.metadata["lang"] == "zh"


async def test_messages_of_any_kind_are_sent() -> None:
    stand = Stand()
    await from_thread(stand.sender.send, HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "hi"})))
    await from_thread(stand.sender.send, HiveMessage(HiveMessageType.PING, {"flood_id": "x"}))
    assert [message.msg_type for message in stand.sent] == [HiveMessageType.BUS, HiveMessageType.PING]
    assert stand.sent[0].payload.context["source"] == "hive"


async def test_a_message_is_injected_as_the_satellites_own() -> None:
    stand = Stand()
    await from_thread(stand.sender.inject, Message("recognizer_loop:utterance", {"utterances": ["hi"]}))
    assert [action.message.data for action in stand.injected] == [{"utterances": ["hi"]}]


async def test_what_is_for_one_that_left_is_dropped() -> None:
    stand = Stand()
    stand.peer.ended = True
    await from_thread(stand.sender.send_bus, Message("speak", {}))
    await from_thread(stand.sender.inject, Message("recognizer_loop:utterance", {}))
    assert (stand.sent, stand.injected) == ([], [])


async def test_what_cannot_be_sent_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand()
    await from_thread(stand.sender.inject, Message("fault", {}))
    assert "could not send what the handler for binary data has for ua::7::kitchen::s" in caplog.text


async def test_metadata_that_is_no_json_is_the_handlers_fault() -> None:
    with pytest.raises(TypeError):
        Stand().sender.send_binary(b"", Kind.FILE, {"file_name": object()})


def test_after_the_hub_has_ended_nothing_happens() -> None:
    async def make() -> Stand:
        return Stand()

    stand = asyncio.run(make())
    stand.sender.send_bus(Message("speak", {}))
    assert stand.sent == []
