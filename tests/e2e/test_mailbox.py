"""Messages between satellites that are never connected at the same time, over real sockets, across restarts."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from helpers.hub_process import HubProcess
from helpers.processes import Children, Home, free_port, wait_until
from hivemind_bus_client import AsyncHiveMessageBusClient, HiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.mailbox import MailboxError, fetch, fetch_async, leave, leave_async
from hivemind_bus_client.message import Message
from hivemind_bus_client.protocol import VERIFIED_SOURCE_PEER_KEY

PASSWORD = "orbital-walnut-cipher-93-lantern"
NAMES = ("alice", "bob", "eve")


def key_of(name: str) -> str:
    return f"access-key-of-{name}"


class Node:
    """A satellite's owner: an identity, and visits to the hub."""

    def __init__(self, hub: HubProcess, name: str, folder: Path) -> None:
        self.hub = hub
        self.name = name
        self.identity = NodeIdentity(identity_file=folder / name / "_identity.json")
        self.identity.create_keys()
        self.identity.save()
        self.heard: list[tuple[str, str]] = []
        """What it was told, and the public key of who proved to have said it."""

    @property
    def public_key(self) -> str:
        return str(self.identity.public_key)

    @contextmanager
    def visit(self) -> Iterator[HiveMessageBusClient]:
        client = HiveMessageBusClient(
            key_of(self.name), PASSWORD, host="127.0.0.1", port=self.hub.port, identity=self.identity
        )
        client.on_mycroft("speak", self.hear)
        client.connect(timeout=60)
        try:
            yield client
        finally:
            client.close()

    def hear(self, message: Message) -> None:
        self.heard.append((message.data["utterance"], message.context[VERIFIED_SOURCE_PEER_KEY]))

    def settle_in(self, children: Children, all_of_them: list[Node]) -> Home:
        """Make the identity that of an account, whose owner was given everybody's public key."""
        home = children.home(f"home of {self.name}")
        own = NodeIdentity(identity_file=home.config / "hivemind" / "_identity.json")
        own.access_key, own.password = key_of(self.name), PASSWORD
        own.default_master, own.default_port = "ws://127.0.0.1", self.hub.port
        own.private_key, own.public_key = str(self.identity.private_key), self.public_key
        own.save()
        for node in all_of_them:
            (home.path / f"{node.name}.pem").write_text(node.public_key, "ascii")
        return home

    def say(self, client: HiveMessageBusClient, to: Node, text: str) -> str:
        return leave(client, key_of(to.name), to.public_key, Message("speak", {"utterance": text}))


def made_hub(children: Children, *, enabled: bool) -> HubProcess:
    hub = HubProcess(children, Path(sys.executable).parent / "hivemind-core", free_port())
    hub.configure({"agent_protocol": {"module": "builtin"}, "rendezvous": {"enabled": enabled}})
    return hub


@pytest.fixture
def hub(children: Children) -> HubProcess:
    made = made_hub(children, enabled=True)
    for name in NAMES:
        made.add_client(key_of(name), PASSWORD, name=name)
    made.start()
    return made


@pytest.fixture
def nodes(hub: HubProcess, tmp_path: Path) -> list[Node]:
    return [Node(hub, name, tmp_path / "nodes") for name in NAMES]


def test_two_who_never_meet(hub: HubProcess, nodes: list[Node]) -> None:
    alice, bob, eve = nodes
    bob.identity.add_trusted_key("alice", alice.public_key)
    with alice.visit() as client:
        assert alice.say(client, bob, "good night") != alice.say(client, bob, "x" * 150_000)
        assert list(fetch(client)) == []  # what waits for another is not hers
    with eve.visit() as client:
        eve.say(client, bob, "it was alice who said this")
        assert list(fetch(client)) == []
    hub.kill()
    hub.start()
    with bob.visit() as client:
        delivered = [client.protocol.handle_intercom(letter) for letter in fetch(client)]
        assert delivered == [True, True, False]
        wait_until(lambda: len(bob.heard) == 2, 60, "two messages")
    assert bob.heard == [("good night", alice.public_key), ("x" * 150_000, alice.public_key)]
    assert hub.stop() == 0
    hub.start()
    with bob.visit() as client:
        assert list(fetch(client)) == []


def test_the_file_keeps_no_key_and_no_word(hub: HubProcess, nodes: list[Node]) -> None:
    alice, bob, _ = nodes
    with alice.visit() as client:
        alice.say(client, bob, "good night")
    file = hub.database.with_name("mailbox.db")
    content = b"".join(each.read_bytes() for each in file.parent.glob("mailbox.db*"))
    for secret in ("good night", key_of("alice"), key_of("bob")):
        assert secret.encode() not in content
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT pending FROM boxes").fetchall() == [(1,)]


def test_the_programs_of_the_page(hub: HubProcess, nodes: list[Node], children: Children) -> None:
    alice, bob, _ = nodes
    page = (Path(__file__).parents[2] / "docs" / "mailbox.md").read_text("utf-8")
    leaving, fetching = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for node, code, said in ((alice, leaving, ""), (bob, fetching, "good night\n"), (bob, fetching, "")):
        home = node.settle_in(children, [alice, bob])
        assert children.run(node.name, [sys.executable, "-c", code], home) == said


async def test_the_same_with_asyncio(hub: HubProcess, nodes: list[Node]) -> None:
    alice, bob, _ = nodes
    address = {"host": "127.0.0.1", "port": hub.port, "password": PASSWORD}
    async with AsyncHiveMessageBusClient(key_of("alice"), identity=alice.identity, **address) as client:
        await leave_async(client, key_of("bob"), bob.public_key, Message("speak", {"utterance": "good night"}), 60)
    async with AsyncHiveMessageBusClient(key_of("bob"), identity=bob.identity, **address) as client:
        assert [letter.target_public_key async for letter in fetch_async(client)] == [bob.public_key]
        assert [letter async for letter in fetch_async(client)] == []


def test_a_hub_without_a_mailbox_says_so(children: Children, tmp_path: Path) -> None:
    hub = made_hub(children, enabled=False)
    hub.add_client(key_of("alice"), PASSWORD)
    hub.start()
    alice = Node(hub, "alice", tmp_path / "nodes")
    with alice.visit() as client, pytest.raises(MailboxError, match="This hub keeps no messages"):
        alice.say(client, alice, "to myself")
