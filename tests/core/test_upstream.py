"""The hub above: joined over a real socket, with a real hub at the other end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import LinkHub, eventually
from helpers.live_hub import HOST, LiveHub
from hivemind_bus_client.address import Address
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core import upstream
from hivemind_core.config import CertificateFiles, WebSocketConfig
from hivemind_core.own_address import Listener
from hivemind_core.upstream import Upstream, above
from hivemind_core.upstream_config import UpstreamConfig

KEY, PASSWORD = "key-of-the-child", "orbital walnut cipher lantern 93"
LOGGER = "hivemind_core.upstream"


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The identity of the child, whose RSA key takes long to make."""
    identity = NodeIdentity(tmp_path_factory.mktemp("keys") / "_identity.json")
    identity.create_keys()
    return {"public_key": identity.public_key, "secret_key": identity.private_key, "site_id": "house"}


class Child:
    """What a hub would be for its `Upstream`."""

    def __init__(self, folder: Path, keys: dict[str, Any], port: int, **options: Any) -> None:
        self.path = folder / "child" / "_identity.json"
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(keys))
        listeners = options.pop("listeners", [])
        secure = options.pop("secure", False)
        given = {"key": KEY, "password": PASSWORD, **options}
        config = UpstreamConfig(enabled=True, address=Address(HOST, port, secure), **given)
        self.now = 1000.0
        self.upstream = Upstream(config, NodeIdentity(self.path), listeners, lambda: self.now)
        self.received: list[HiveMessage] = []
        self.losses = 0

    async def start(self, receive: Callable[[HiveMessage], None] | None = None) -> None:
        await self.upstream.start(receive or self.received.append, self._lost)

    def _lost(self) -> None:
        assert not self.upstream.available
        self.losses += 1

    def spoil_noise_key(self) -> str:
        path = NodeIdentity(self.path).noise_key
        Path(path).write_text("no key")
        return path

    async def joined(self) -> None:
        await eventually(lambda: self.upstream.available)

    def say(self, text: str) -> bool:
        return self.upstream.send(utterance(text))

    def bus(self) -> list[Message]:
        return [message.payload for message in self.received if message.msg_type == HiveMessageType.BUS]


def utterance(text: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": [text]}))


def escalated(text: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.ESCALATE, utterance(text))


@pytest.fixture
async def parent(tmp_path: Path) -> AsyncIterator[LiveHub]:
    async with LiveHub(tmp_path / "parent") as hub:
        hub.add(KEY, PASSWORD)
        yield hub


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[Child]:
    await child.start()
    try:
        yield child
    finally:
        await child.upstream.stop()


@pytest.fixture
async def child(tmp_path: Path, keys: dict[str, Any], parent: LiveHub) -> AsyncIterator[Child]:
    """Joined to the parent."""
    async with running(Child(tmp_path, keys, parent.port)) as child:
        await child.joined()
        yield child


def told(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """What the operator of the child is told; not what the parent logs."""
    mine = (LOGGER, "hivemind_bus_client")
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    return [record.message for record in records if record.levelno >= level and record.name.startswith(mine)]


async def up(parent: LiveHub, child: Child, text: str) -> None:
    """Say something and see it arrive."""
    assert child.say(text)
    await eventually(lambda: text in parent.agent.utterances)


async def test_messages_go_up_and_down(parent: LiveHub, child: Child, caplog: pytest.LogCaptureFixture) -> None:
    await up(parent, child, "hello above")
    (peer,) = parent.hub.peers
    assert (child.upstream.node_id, peer.site_id) == (parent.identity.node_id, "house")
    assert peer.useragent == "HiveMessageBusClientV0.0.1"
    for number in range(3):
        parent.agent.deliver(Message("speak", {"utterance": f"hello {number}"}, {"destination": peer.peer_id}))
    await eventually(lambda: len(child.received) == 3)
    assert [message.data["utterance"] for message in child.bus()] == ["hello 0", "hello 1", "hello 2"]
    assert told(caplog, logging.INFO)[-1] == f"joined the hub above at ws://{HOST}:{parent.port}"
    assert told(caplog) == []


async def test_every_type_comes_down_as_it_is(parent: LiveHub, child: Child) -> None:
    (peer,) = parent.hub.peers
    inner = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "all"}))
    ping = HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.PING, {"flood_id": "f"}))
    sent = [
        HiveMessage(HiveMessageType.BROADCAST, inner, target_site_id="house"),
        HiveMessage(HiveMessageType.QUERY, inner, metadata={"query_id": "q"}),
        HiveMessage(HiveMessageType.CASCADE, inner, metadata={"query_id": "c"}),
        HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "x"}, target_pubkey="somebody"),
        ping,
    ]
    for message in sent:
        peer.link.send(message)
    peer.conn.send(peer.link.frames_to_send())
    await eventually(lambda: len(child.received) == len(sent))
    assert [message.as_dict for message in child.received] == [message.as_dict for message in sent]
    await asyncio.sleep(0.2)
    assert len(parent.agent.received) == 1, "the hub answers; the connection answers nothing by itself"


async def test_what_is_kept_of_the_parent_is_in_the_hubs_own_folder(
    tmp_path: Path, keys: dict[str, Any], parent: LiveHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "account"))
    async with running(Child(tmp_path, keys, parent.port)) as child:
        await child.joined()
        document = json.loads(child.path.read_text())
        assert list(document["pinned_noise_keys"]) == [f"{HOST}:{parent.port}"]
        assert document["public_key"] == keys["public_key"]
        assert (child.path.stat().st_mode & 0o777) == 0o600
    assert not (tmp_path / "account").exists(), "the satellite of this account is another node"
    (row,) = parent.stored()
    assert row.metadata["intercom_pubkey"] == keys["public_key"]


async def test_a_parent_that_comes_later_is_joined(
    tmp_path: Path, keys: dict[str, Any], parent: LiveHub, caplog: pytest.LogCaptureFixture
) -> None:
    await parent.service.stop()
    async with running(Child(tmp_path, keys, parent.port)) as child:
        assert (child.say("too early"), child.upstream.available, child.upstream.node_id) == (False, False, "")
        await eventually(lambda: told(caplog))
        await asyncio.sleep(1.5)
        await parent.start()
        await child.joined()
        await up(parent, child, "now")
        assert (parent.agent.utterances, child.losses) == (["now"], 0)
    (once,) = told(caplog)
    assert "Nothing answers at the hub's address" in once
    assert "`upstream.host`" in once
    assert "hivemind-client" not in once


async def test_a_restarted_parent_is_joined_again(
    parent: LiveHub, child: Child, caplog: pytest.LogCaptureFixture
) -> None:
    await up(parent, child, "before")
    await parent.service.stop()
    await eventually(lambda: child.losses == 1)
    assert not child.say("while it is away")
    assert child.upstream.node_id == parent.identity.node_id
    await parent.start()
    await child.joined()
    await up(parent, child, "after")
    assert (parent.agent.utterances, child.losses) == (["before", "after"], 1)
    assert "The hub is shutting down." in told(caplog)[0]


WRONG = {
    "key": ({"key": "nobody"}, "The hub does not know this access key", "`upstream.key`"),
    "password": (
        {"password": "another walnut cipher lantern 93"},
        "The password does not match",
        "`upstream.password`",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_refusal_for_good_is_told_once_and_stays(
    wrong: str,
    tmp_path: Path,
    keys: dict[str, Any],
    parent: LiveHub,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options, sentence, cure = WRONG[wrong]
    knocks: list[str] = []
    identify = parent.hub.identify

    def counted(token: str, remote: str) -> Any:
        knocks.append(remote)
        return identify(token, remote)

    monkeypatch.setattr(parent.hub, "identify", counted)
    async with running(Child(tmp_path, keys, parent.port, **options)) as child:
        await eventually(lambda: told(caplog, logging.ERROR))
        await asyncio.sleep(1)
        (once,) = told(caplog)
        assert sentence in once
        assert cure in once
        assert "hivemind-client" not in once
        assert PASSWORD not in caplog.text
        assert not child.say("hello")
        assert len(knocks) == (2 if wrong == "password" else 1)  # the other of two passwords may be meant


async def test_a_parent_with_another_key_is_not_joined(
    parent: LiveHub, child: Child, caplog: pytest.LogCaptureFixture
) -> None:
    await parent.service.stop()
    parent.identity = type(parent.identity)(parent.identity.node_id, generate_static_key())
    await parent.start()
    (told_once,) = await eventually(lambda: told(caplog, logging.ERROR))
    assert f"take `{HOST}:{parent.port}` out of `pinned_noise_keys` in {child.path}" in told_once
    assert not child.say("hello")


async def test_it_does_not_join_itself(
    tmp_path: Path, keys: dict[str, Any], parent: LiveHub, caplog: pytest.LogCaptureFixture
) -> None:
    listening = [Listener("0.0.0.0", parent.port)]
    async with running(Child(tmp_path, keys, parent.port, listeners=listening)) as child:
        (once,) = await eventually(lambda: told(caplog))
        assert "is this hub itself" in once
        assert (child.upstream.available, list(parent.hub.peers)) == (False, [])


async def test_it_does_not_stay_joined_to_itself_by_another_address(
    tmp_path: Path, keys: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub = LiveHub(tmp_path / "itself")
    hub.identity = type(hub.identity)(keys["public_key"], generate_static_key())
    async with hub:
        hub.add(KEY, PASSWORD)
        async with running(Child(tmp_path, keys, hub.port)) as child:
            (once,) = await eventually(lambda: told(caplog))
            assert "is this hub itself" in once
            await eventually(lambda: not list(hub.hub.peers))
            assert not child.say("hello")
            await asyncio.sleep(1)
            assert (list(hub.hub.peers), told(caplog)) == ([], [once])


async def test_only_so_many_messages_wait(parent: LiveHub, child: Child, caplog: pytest.LogCaptureFixture) -> None:
    went = [child.say(f"number {number}") for number in range(upstream.MAX_WAITING + 5)]
    assert went == [True] * upstream.MAX_WAITING + [False] * 5
    await eventually(lambda: len(parent.agent.utterances) == upstream.MAX_WAITING, 30)
    assert parent.agent.utterances == [f"number {number}" for number in range(upstream.MAX_WAITING)]
    assert ["reads too slowly" in line for line in told(caplog)] == [True], "said once"
    await up(parent, child, "and on it goes")


async def test_only_so_many_bytes_wait_for_a_parent_that_reads_nothing(tmp_path: Path, keys: dict[str, Any]) -> None:
    async with LinkHub({KEY: PASSWORD}) as parent, running(Child(tmp_path, keys, parent.port)) as child:
        await child.joined()
        parent.freeze()
        part = 4 * 1024 * 1024
        sent = 0
        while child.say("x" * part):
            sent += part
            await asyncio.sleep(0.01)
            assert sent < 20 * part, "the memory of this hub belongs to its satellites, too"
        assert sent >= upstream.MAX_WAITING_BYTES - part
        await parent.kill()
        await eventually(lambda: child.losses == 1)
        assert not child.say("gone")


async def test_what_cannot_be_written_is_not_taken(parent: LiveHub, child: Child) -> None:
    assert not child.say("\ud800")
    assert not child.upstream.send(HiveMessage(HiveMessageType.BUS, {"type": "x", "data": {"x": object()}}))
    await up(parent, child, "still there")


async def test_a_denied_message_is_told_once_for_each_kind(
    parent: LiveHub, child: Child, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("mycroft.stop", "mycroft.stop", "mycroft.volume.set"):
        assert child.upstream.send(HiveMessage(HiveMessageType.BUS, Message(name)))
    await eventually(lambda: len(child.received) == 3)
    assert {message.msg_type for message in child.bus()} == {"hive.policy.denied"}
    first, second = told(caplog)
    assert "denied 'mycroft.stop' of this hub" in first
    assert "denied 'mycroft.volume.set' of this hub" in second


async def test_a_missing_right_costs_the_link_once_in_a_while(
    tmp_path: Path, keys: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with LiveHub(tmp_path / "parent") as parent:
        parent.add(KEY, PASSWORD, can_escalate=False)
        async with running(Child(tmp_path, keys, parent.port)) as child:
            for losses in (1, 2):
                await child.joined()
                assert child.upstream.send(escalated("help"))
                await eventually(lambda losses=losses: child.losses == losses)
                await child.joined()
                assert not child.upstream.send(escalated("help")), "it would cost the link again"
                await up(parent, child, f"the others go on {losses}")
                child.now += upstream.HELD_BACK_S
            kicks = [line for line in told(caplog) if "does not permit" in line]
            assert len(kicks) == 1
            assert "ESCALATE is not allowed for this client" in kicks[0]
            assert "`hivemind-core allow-escalate`" in kicks[0]


async def test_a_receiver_that_fails_does_not_end_the_link(
    tmp_path: Path, keys: dict[str, Any], parent: LiveHub, caplog: pytest.LogCaptureFixture
) -> None:
    child = Child(tmp_path, keys, parent.port)

    def fail(message: HiveMessage) -> None:
        child.received.append(message)
        raise RuntimeError("a fault of the hub")

    await child.start(fail)
    await child.joined()
    (peer,) = parent.hub.peers
    for _ in range(2):
        parent.agent.deliver(Message("speak", {}, {"destination": peer.peer_id}))
    await eventually(lambda: len(child.received) == 2)
    await up(parent, child, "still there")
    assert "a fault of the hub" in caplog.text
    await child.upstream.stop()


async def test_it_leaves_for_good(parent: LiveHub, child: Child) -> None:
    await child.upstream.stop()
    await eventually(lambda: not list(parent.hub.peers))
    assert (child.say("hello"), child.upstream.available, child.losses) == (False, False, 0)
    await asyncio.sleep(1)
    assert not list(parent.hub.peers)


async def test_it_can_be_stopped_while_nothing_answers(tmp_path: Path, keys: dict[str, Any], parent: LiveHub) -> None:
    await parent.service.stop()
    child = Child(tmp_path, keys, parent.port)
    await child.start()
    await asyncio.sleep(0.1)
    await asyncio.wait_for(child.upstream.stop(), 60)
    await parent.start()


async def test_a_fault_of_this_machine_is_got_over(
    tmp_path: Path,
    keys: dict[str, Any],
    parent: LiveHub,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "RETRY_S", 0.1)
    child = Child(tmp_path, keys, parent.port)
    key = child.spoil_noise_key()
    async with running(child):
        await eventually(lambda: "does not hold a Noise key" in caplog.text)
        os.unlink(key)
        await child.joined()


@pytest.mark.parametrize("self_signed", [True, False])
async def test_over_tls_the_certificate_counts_only_where_that_is_wanted(
    self_signed: bool, tmp_path: Path, keys: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    listening = WebSocketConfig(HOST, 0, tls=CertificateFiles(tmp_path / "tls"))
    async with LiveHub(tmp_path / "parent", websocket=listening) as parent:
        parent.add(KEY, PASSWORD)
        async with running(Child(tmp_path, keys, parent.port, secure=True, self_signed=self_signed)) as child:
            if self_signed:
                await child.joined()
                await up(parent, child, "in private")
                return
            (once,) = await eventually(lambda: told(caplog))
            assert "`upstream.self_signed`" in once
            assert not child.upstream.available


def test_there_is_no_hub_above_unless_the_configuration_names_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "_identity.json"
    assert above(UpstreamConfig(key=KEY, password=PASSWORD), path, []) is None
    assert told(caplog) == []
    assert above(UpstreamConfig(enabled=True, key=KEY), path, []) is None
    assert above(UpstreamConfig(enabled=True), path, []) is None
    first, second = told(caplog, logging.ERROR)
    assert first.startswith("`upstream.password` in server.json has no value")
    assert second.startswith("`upstream.key` and `upstream.password` in server.json")


async def test_it_does_not_show_its_secrets(tmp_path: Path) -> None:
    config = UpstreamConfig(enabled=True, key=KEY, password=PASSWORD)
    found = above(config, tmp_path / "_identity.json", [])
    assert PASSWORD not in f"{config!r} {found!r}"
    assert repr(found) == "Upstream('ws://127.0.0.1:5678')"
