"""Every denial of a message, met on real sockets: the connection stays, and the sender is told why and what to do."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import LinkHub, eventually
from helpers.live_hub import LiveHub, satellite, send
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.denials import DENIED, cure, read_denial, sentence
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.outgoing import MAX_RELAYED_BYTES
from hivemind_bus_client.refusals import DENIALS
from hivemind_core.binary import BinaryHandler, Limits
from hivemind_core.binary.espeak import Engine
from hivemind_core.binary.files import FileHandler, FileSettings
from hivemind_core.binary.sender import Sender
from hivemind_core.binary.speech import SpeechHandler, SpeechSettings
from hivemind_core.clients import Client
from hivemind_core.door import NEW_SESSIONS_AT_ONCE
from hivemind_core.policy import DenyAllPolicy, Entry, PolicyChain, Verdict
from hivemind_core.roles import ROLES

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
MOST_QUESTIONS_EACH = 16
UTTERANCE = "recognizer_loop:utterance"


class Failing:
    """A policy with a fault."""

    def review(self, message: Message, client: Client) -> Verdict:
        raise RuntimeError("a fault in a policy")

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        raise RuntimeError("a fault in a policy")


def speech() -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": ["hello"]}))


def file() -> HiveMessage:
    kind = HiveMindBinaryPayloadType.FILE
    return HiveMessage(HiveMessageType.BINARY, b"data", bin_type=kind, metadata={"file_name": "a.txt"})


async def denied_to(client: AsyncHiveMessageBusClient, message: HiveMessage) -> Message:
    """Send a message, and wait for the denial."""
    denials: list[Message] = []
    client.on_mycroft(DENIED, denials.append)
    await client.connect(timeout=60)
    await client.emit(message)
    [denial] = await eventually(lambda: denials)
    assert client.connected
    return denial


async def denied_by_hub(folder: Path, message: HiveMessage, *, agent: bool = True, **hub: Any) -> Message:
    """The denial that our hub sends our satellite."""
    async with LiveHub(folder / "hub", **hub) as live:
        live.add(KEY, PASSWORD, allowed_types=ROLES["voice"].types)
        live.agent.available = agent
        client = live.client(KEY, PASSWORD)
        try:
            return await denied_to(client, message)
        finally:
            await client.close()


async def acl_disallowed_type(folder: Path) -> Message:
    denial = await denied_by_hub(folder, HiveMessage(HiveMessageType.BUS, Message("mycroft.stop")))
    assert denial.data["data"] == {"msg_type": "mycroft.stop"}  # W18: not what else is allowed
    assert UTTERANCE not in denial.serialize()
    return denial


async def malformed_payload(folder: Path) -> Message:
    return await denied_by_hub(folder, HiveMessage(HiveMessageType.BUS, Message("not a type")))


async def unsupported_type(folder: Path) -> Message:
    return await denied_by_hub(folder, HiveMessage(HiveMessageType.THIRDPRTY, {"anything": 1}))


async def message_too_large(folder: Path) -> Message:
    long = Message("x", {"a": "b" * (MAX_RELAYED_BYTES + 1)})
    return await denied_by_hub(folder, HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.BUS, long)))


async def no_binary_handler(folder: Path) -> Message:
    sound = HiveMessage(HiveMessageType.BINARY, b"\0" * 100, bin_type=HiveMindBinaryPayloadType.RAW_AUDIO)
    return await denied_by_hub(folder, sound)


class Faulty(BinaryHandler):
    """A handler for binary data with a fault."""

    def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
        raise RuntimeError("a fault in a handler")


async def binary_handler_failed(folder: Path) -> Message:
    return await denied_by_hub(folder, file(), parts={"binary": Faulty()})


async def binary_handler_busy(folder: Path) -> Message:
    handler = Faulty()
    handler.limits = Limits(waiting_bytes=0)
    return await denied_by_hub(folder, file(), parts={"binary": handler})


async def file_not_kept(folder: Path) -> Message:
    handler = FileHandler(FileSettings(folder / "inbox", max_files=0))
    return await denied_by_hub(folder, file(), parts={"binary": handler})


async def speech_unavailable(folder: Path) -> Message:
    handler = SpeechHandler(SpeechSettings(Engine("no-such-engine")))
    return await denied_by_hub(
        folder,
        HiveMessage(HiveMessageType.BUS, Message("speak:synth", {"utterance": "hello"})),
        parts={"binary": handler},
    )


async def backend_unavailable(folder: Path) -> Message:
    return await denied_by_hub(folder, speech(), agent=False)


class NobodyAbove:
    """A hub above that is never there."""

    available, node_id = False, ""

    def send(self, message: HiveMessage) -> bool:
        return False

    async def start(self, receive: Callable[[HiveMessage], None], lost: Callable[[], None]) -> None:
        pass

    async def stop(self) -> None:
        pass


async def upstream_unavailable(folder: Path) -> Message:
    message = HiveMessage(HiveMessageType.ESCALATE, speech())
    return await denied_by_hub(folder, message, parts={"parent": NobodyAbove()})


async def policy_error(folder: Path) -> Message:
    return await denied_by_hub(folder, speech(), policies=PolicyChain([Entry("failing", Failing())]))


async def policy_chain_unavailable(folder: Path) -> Message:
    return await denied_by_hub(folder, speech(), policies=PolicyChain([Entry("none", DenyAllPolicy())]))


async def too_many_sessions(folder: Path) -> Message:
    async with LiveHub(folder / "hub") as live:
        live.add(KEY, PASSWORD)
        socket, link = await live.session(KEY, PASSWORD)
        for number in range(NEW_SESSIONS_AT_ONCE + 12):  # one more is allowed each second
            hello = {"session": {"session_id": f"another-{number}"}}
            await send(socket, link, HiveMessage(HiveMessageType.HELLO, hello))
        received: list[Any] = []
        while not received:
            received = link.receive(await socket.recv(), 0.0)
        await socket.close()
        body = received[0].message.payload
        return Message(body.msg_type, body.data, body.context)


async def too_many_questions(folder: Path) -> Message:
    """A client that waits for no answer; the assistant says nothing."""
    async with LiveHub(folder / "hub") as live:
        live.add(KEY, PASSWORD)
        live.agent.respond = lambda message: None
        socket, link = await live.session(KEY, PASSWORD)
        for number in range(MOST_QUESTIONS_EACH + 1):
            asked = HiveMessage(HiveMessageType.QUERY, speech(), metadata={"query_id": f"q{number}"})
            await send(socket, link, asked)
        received: list[Any] = []
        while not received:
            received = link.receive(await socket.recv(), 0.0)
        await socket.close()
        body = received[0].message.payload
        assert body.data["data"] == {"query_id": f"q{MOST_QUESTIONS_EACH}"}
        return Message(body.msg_type, body.data, body.context)


async def session_id_default_forbidden(folder: Path) -> Message:
    """Our hub gives every session of a client its namespace, so that none is called this; a released one may."""
    async with LinkHub({KEY: PASSWORD}) as hub:

        async def deny(peer: Any, message: Message) -> None:
            code = "session_id_default_forbidden"
            data = {"denied_type": message.msg_type, "code": code, "reason": sentence(code, ""), "data": {}}
            await peer.tell(DENIED, data)

        hub.answer = deny
        client = satellite(folder / "device", hub.port, KEY, PASSWORD)
        try:
            return await denied_to(client, speech())
        finally:
            await client.close()


DRIVES: dict[str, Callable[[Path], Awaitable[Message]]] = {
    drive.__name__: drive
    for drive in (
        acl_disallowed_type,
        session_id_default_forbidden,
        malformed_payload,
        unsupported_type,
        message_too_large,
        too_many_sessions,
        too_many_questions,
        no_binary_handler,
        binary_handler_failed,
        binary_handler_busy,
        file_not_kept,
        speech_unavailable,
        backend_unavailable,
        upstream_unavailable,
        policy_error,
        policy_chain_unavailable,
    )
}


def test_every_row_is_driven() -> None:
    assert DRIVES.keys() == DENIALS.keys()


@pytest.mark.parametrize("code", DRIVES)
async def test_the_sender_is_told_why_and_what_to_do(
    code: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    message = await DRIVES[code](tmp_path)
    denial = read_denial(message.data, message.context)
    assert denial.code == code
    said = str(denial)
    assert sentence(code, denial.denied_type).rstrip(".") in said
    assert said.count(cure(code, denial.denied_type, 1)) == 1
    if code != "session_id_default_forbidden":
        told = [x.__dict__["hivemind_refusal"] for x in caplog.records if "hivemind_refusal" in x.__dict__]
        assert [each["code"] for each in told] == [code]
        assert told[0]["peer"]
        assert told[0]["cure"] == cure(code, denial.denied_type, 1)
