"""Our satellite over HTTP at our hub, both in this process: what a person meets is what they meet over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import HOST, LiveHub
from helpers.processes import free_port
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.refusals import HiveMindRefused
from hivemind_core.config import CertificateFiles, HTTPConfig
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.transports.http import HTTPTransport

KEY, PASSWORD = "key-of-the-kitchen", "correct horse battery staple 42"


class HTTPHub:
    """Our hub with its HTTP transport, and the satellites made for it."""

    def __init__(self, folder: Path, live: LiveHub) -> None:
        self.folder = folder
        self.live = live
        self.made: list[HiveMindHTTPClient] = []
        self.transport: HTTPTransport
        self.config = HTTPConfig(HOST, free_port())

    async def open(self, **changes: Any) -> None:
        self.config = replace(self.config, **changes)
        self.transport = HTTPTransport(self.live.hub, self.config)
        await self.transport.start()

    def client(self, device: str = "device", **options: Any) -> HiveMindHTTPClient:
        identity = NodeIdentity(self.folder / device / "_identity.json")
        given = {"key": KEY, "password": PASSWORD, "host": self.transport.address, "identity": identity}
        self.made.append(HiveMindHTTPClient(**{**given, **options}))
        return self.made[-1]

    async def connected(self, device: str = "device", **options: Any) -> HiveMindHTTPClient:
        client = self.client(device, **options)
        await run(client.connect)
        return client


async def run(method: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call a satellite's method without stopping the hub, which is in this loop."""
    return await asyncio.wait_for(asyncio.to_thread(method, *args, **named), 60)


def answer(message: Message) -> Message | None:
    if message.msg_type != "recognizer_loop:utterance":
        return None
    return message.reply("speak", {"utterance": f"you said {message.data['utterances'][0]}"})


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HTTPHub]:
    monkeypatch.setattr("hivemind_bus_client.reconnect.FIRST_DELAY_S", 0.05)
    async with LiveHub(tmp_path) as live:
        live.agent.respond = answer
        live.add(KEY, PASSWORD)
        running = HTTPHub(tmp_path, live)
        await running.open()
        yield running
        for client in running.made:
            await run(client.close)
        await running.transport.stop()


async def talk(client: HiveMindHTTPClient, text: str) -> None:
    message = Message("recognizer_loop:utterance", {"utterances": [text]})
    heard = await run(client.wait_for_response, message, "speak", timeout=60)
    assert heard is not None
    assert heard.payload.data["utterance"] == f"you said {text}"


async def test_a_conversation(hub: HTTPHub) -> None:
    """At our hub nothing waits for the next poll: with an hour between polls everything comes at once."""
    client = await hub.connected(poll_interval=3600.0)
    assert client.noise_transport.pattern == "XXpsk2"
    await talk(client, "hello")
    await talk(client, "tell me more " * 16_000)
    heard: list[Message] = []
    client.on_mycroft("speak", heard.append)
    await asyncio.sleep(0.3)
    said = hub.live.agent.received[-1]
    hub.live.agent.deliver(said.reply("speak", {"utterance": "by the way"}))
    await eventually(lambda: heard)
    await run(client.close)
    await eventually(lambda: not list(hub.live.hub.peers))
    again = await hub.connected()
    assert again.noise_transport.pattern == "KKpsk0"
    await talk(again, "again")


async def test_two_devices_at_one_address(hub: HTTPHub) -> None:
    hub.live.add("another-key", "another horse another battery 43")
    kitchen = await hub.connected()
    bedroom = await hub.connected("bedroom", key="another-key", password="another horse another battery 43")
    for number in range(3):
        await talk(kitchen, f"kitchen {number}")
        await talk(bedroom, f"bedroom {number}")


async def test_what_is_denied_is_told(hub: HTTPHub) -> None:
    client = await hub.connected()
    denied: list[Any] = []
    client.on_mycroft("hive.policy.denied", denied.append)
    await run(client.emit, Message("mycroft.stop"))
    await run(client.emit, HiveMessage(HiveMessageType.BINARY, b"sound" * 10_000))
    await run(client.flush)
    await eventually(lambda: len(denied) == 2)
    assert [each.data["denied_type"] for each in denied] == ["mycroft.stop", "binary"]
    assert client.connected


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"key": "nobody-has-this-key"}, "invalid_key"),
        ({"password": "another horse another battery 43"}, "wrong_password"),
        ({"device": "another device"}, "client_key_mismatch"),
        ({"key": "without-password"}, "no_password"),
    ],
)
@pytest.mark.parametrize("met", [False, True])
async def test_refusals_are_the_same_as_over_a_websocket(
    hub: HTTPHub, options: dict[str, Any], code: str, met: bool
) -> None:
    hub.live.add("without-password", None)
    if met or "device" in options:
        await run((await hub.connected()).close)
    client = hub.client(**options)
    with pytest.raises(HiveMindRefused) as info:
        await run(client.connect)
    assert info.value.code == code


async def test_a_client_that_is_removed_is_told(hub: HTTPHub) -> None:
    client = await hub.connected()
    told: list[str] = []
    client.on("auth_rejected", told.append)
    another_process = SQLiteStore(hub.live.database)
    another_process.delete(1)
    another_process.close()
    await eventually(lambda: told)
    assert "does not know this access key" in told[0]


async def test_it_is_back_after_the_hub_was_restarted(hub: HTTPHub) -> None:
    client = await hub.connected()
    reconnecting: list[object] = []
    client.on("reconnecting", lambda: reconnecting.append(1))
    await hub.transport.stop()
    await eventually(lambda: not client.connected)
    await eventually(lambda: "Nothing answers" in client.problem)
    await hub.open()
    await eventually(lambda: client.connected)
    await talk(client, "are you back")
    assert reconnecting


async def test_dropping_the_connection_makes_a_new_one(hub: HTTPHub) -> None:
    client = await hub.connected()
    lost: list[object] = []
    client.on("close", lambda: lost.append(1))
    await run(client.close_connection)
    await eventually(lambda: lost and client.connected)
    await talk(client, "still there")


async def test_over_tls(hub: HTTPHub, tmp_path: Path) -> None:
    await hub.transport.stop()
    await hub.open(tls=CertificateFiles(tmp_path / "hub.crt", tmp_path / "hub.key"))
    assert hub.transport.address.startswith("https://")
    await talk(await hub.connected(), "secretly")
    strict = hub.client("strict", self_signed=False)
    for timeout_s in (4, 50):  # the longer where the machine is so slow that it has not even asked by then
        with pytest.raises(RuntimeError) as told:
            await run(strict.connect, timeout=timeout_s)
        if "not one that this device trusts" in str(told.value):
            break
    assert "not one that this device trusts" in str(told.value)


async def test_a_protocol_below_v3(hub: HTTPHub) -> None:
    """Both queues are asked then, and binary data travels too."""
    client = await hub.connected(max_protocol_version=2, min_protocol_version=2)
    assert client.crypto_key
    await talk(client, "as of old")
    denied: list[Any] = []
    client.on_mycroft("hive.policy.denied", denied.append)
    await run(client.emit, HiveMessage(HiveMessageType.BINARY, b"sound"))
    await eventually(lambda: denied)
