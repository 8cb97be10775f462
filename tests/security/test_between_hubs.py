"""W12, W25 and W26 where one hub has joined another: two hubs in this process, real sockets between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import HOST, LiveHub
from helpers.target import PASSWORD, Session
from hivemind_bus_client.address import Address
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.upstream import Upstream
from hivemind_core.upstream_config import UpstreamConfig

UTTERANCE = "recognizer_loop:utterance"
HUB_BELOW = "key-of-the-hub-below"
OWN_CONTEXT = {"source": "my microphone", "lang": "en-us"}
TRAVELLING = ["propagate", "escalate", "query", "cascade"]
SESSION_ID = "known-to-the-sender-alone"
Below = tuple[LiveHub, LiveHub]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An identity, whose RSA key takes long to make."""
    identity = NodeIdentity(tmp_path_factory.mktemp("keys") / "_identity.json")
    identity.create_keys()
    return {"public_key": identity.public_key, "secret_key": identity.private_key}


def hub_at(folder: Path, site: str) -> LiveHub:
    hub = LiveHub(folder / site)
    hub.identity = replace(hub.identity, node_id=f"node at {site}", site_id=site)
    return hub


def joins(hub: LiveHub, above: LiveHub, keys: dict[str, Any]) -> None:
    """Have a hub join another when it starts."""
    path = hub.home.config / "hivemind-core" / "_identity.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**keys, "site_id": hub.identity.site_id}), "utf-8")
    config = UpstreamConfig(enabled=True, address=Address(HOST, above.port, False), key=HUB_BELOW, password=PASSWORD)
    hub._parts["parent"] = Upstream(config, NodeIdentity(path))


@pytest.fixture
async def hubs(tmp_path: Path, keys: dict[str, Any]) -> AsyncIterator[Below]:
    """A hub, and one that has joined it."""
    above, below = hub_at(tmp_path, "house"), hub_at(tmp_path, "cellar")
    joins(below, above, keys)
    async with above:
        above.add(HUB_BELOW, PASSWORD)
        async with below:
            await eventually(lambda: below.hub.parent is not None and below.hub.parent.available)
            await eventually(lambda: above.hub.peers)
            yield above, below


async def joined(hub: LiveHub, key: str, session_id: str = "") -> Session:
    """A satellite that the hub has registered."""
    hub.add(key, PASSWORD)
    before = len(hub.hub.peers)
    hello = {"session": {"session_id": session_id or f"of-{key}"}, "site_id": "a room"}
    session = Session(await hub.raw(key), hello, generate_static_key())
    await session.open(PASSWORD)
    await eventually(lambda: len(hub.hub.peers) > before)
    return session


def asking(words: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": [words]}, dict(OWN_CONTEXT)))


def answering(hub: LiveHub, words: str = "") -> None:
    """Let the agent answer with these words, or decline."""

    def respond(message: Message) -> None:
        if message.msg_type == UTTERANCE:
            if words:
                hub.agent.deliver(message.forward("speak", {"utterance": words}))
            hub.agent.deliver(message.forward("ovos.utterance.handled"))

    hub.agent.respond = respond


def inside(session: Session, words: str) -> list[Any]:
    """The contexts of what came with these words."""
    return [message.payload.payload.context for message in session.heard(words)]


@pytest.mark.parametrize("kind", TRAVELLING)
@pytest.mark.parametrize("site", [None, "cellar"])
async def test_w12_what_travels_tells_nobody_who_sent_it(hubs: Below, kind: str, site: str | None) -> None:
    """Neither for this hub's own agent, which is told, nor on the way through both."""
    above, below = hubs
    answering(below)
    sender, beside = await joined(below, "sender", SESSION_ID), await joined(below, "beside")
    upstairs = await joined(above, "upstairs")
    metadata = {"query_id": f"w12-{kind}"} if kind in ("query", "cascade") else {}
    await sender.send(HiveMessage(kind, asking("where is my phone"), target_site_id=site, metadata=metadata))
    last = HiveMessage(HiveMessageType.PROPAGATE, asking("the end"))
    await sender.send(last)
    for one in (beside, upstairs):
        await eventually(lambda one=one: one.heard("the end"))
    asked = {hub: kind in ("query", "cascade") or hub.identity.site_id == site for hub in hubs}
    await eventually(lambda: all("where is my phone" in hub.agent.utterances for hub in hubs if asked[hub]))
    contexts = [*inside(beside, "my phone"), *inside(upstairs, "my phone")]
    assert contexts == [OWN_CONTEXT] * len(contexts)
    assert len(contexts) == {"propagate": 2, "cascade": 2}.get(kind, 0)
    assert SESSION_ID not in str([message.context for message in above.agent.received])
    assert all(SESSION_ID in str(message.context) for message in below.agent.of_type(UTTERANCE))
    assert [hub for hub in hubs if "where is my phone" in hub.agent.utterances] == [hub for hub in hubs if asked[hub]]


async def test_w25_a_question_ends_where_two_hubs_are_above_each_other(tmp_path: Path, keys: dict[str, Any]) -> None:
    first, second = hub_at(tmp_path, "house"), hub_at(tmp_path, "cellar")
    joins(first, second, keys)
    joins(second, first, keys)
    async with AsyncExitStack() as stack:
        for hub in (first, second):
            await stack.enter_async_context(hub)
            hub.add(HUB_BELOW, PASSWORD)
            answering(hub)
        for hub in (first, second):
            await eventually(lambda hub=hub: hub.hub.parent is not None and hub.hub.parent.available)
            await eventually(lambda hub=hub: hub.hub.peers)
        asker = await joined(first, "asker")
        await asker.send(HiveMessage(HiveMessageType.QUERY, asking("is anybody there"), metadata={"query_id": "w25"}))
        await eventually(lambda: asker.heard("no_answer"))
        await asker.send(HiveMessage(HiveMessageType.BUS, asking("the end").payload))
        await eventually(lambda: "the end" in first.agent.utterances)
        assert [hub.agent.utterances.count("is anybody there") for hub in (first, second)] == [1, 1]


async def test_w26_what_the_agent_sends_up_arrives(hubs: Below) -> None:
    above, below = hubs
    upstairs = await joined(above, "upstairs")
    answering(above, "it is noon")
    body = {"type": UTTERANCE, "data": {"utterances": ["from below"]}, "context": {}}
    for kind in ("propagate", "query"):
        request = {"msg_type": kind, "payload": {"msg_type": "bus", "payload": body}}
        below.agent.deliver(Message("hive.send.upstream", request))
    await eventually(lambda: upstairs.heard("from below"))
    await eventually(lambda: [one for one in below.agent.of_type("speak") if one.data["utterance"] == "it is noon"])


async def test_w26_what_the_agent_below_answers_to_a_cascade_from_above_arrives(hubs: Below) -> None:
    above, below = hubs
    answering(above)
    answering(below, "in the cellar")
    asker = await joined(above, "asker")
    await asker.send(HiveMessage(HiveMessageType.CASCADE, asking("where is it"), metadata={"query_id": "w26"}))
    await eventually(lambda: asker.heard("in the cellar"))
