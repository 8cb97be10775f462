"""W16, W18, W19 and P18: what the agent's bus is told of who comes and goes, and what needs no right."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from helpers.attacks_protocol import rsa_pair
from helpers.link_hub import eventually
from helpers.live_hub import LiveHub, closed
from helpers.mailbox_stores import LETTER
from helpers.target import PASSWORD, Session, clear
from hivemind_bus_client.intercom import seal
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.hub_identity import HubIdentity

UTTERANCE = "recognizer_loop:utterance"
NO_RIGHTS: dict[str, Any] = {"allowed_types": (), "can_propagate": False, "can_escalate": False}
COMES, GOES = "hive.client.connect", "hive.client.disconnect"
HUB_PEM, HUB_KEY = rsa_pair()
OWN_PEM, OWN_KEY = rsa_pair()


async def joined(hub: LiveHub, key: str, **columns: Any) -> Session:
    """A satellite that the hub has registered."""
    hub.add(key, PASSWORD, **columns)
    before = len(hub.hub.peers)
    session = Session(await hub.raw(key), {"session": {"session_id": f"of-{key}"}}, generate_static_key())
    await session.open(PASSWORD)
    await eventually(lambda: len(hub.hub.peers) > before)
    return session


def utterance(words: str, msg_type: str = UTTERANCE) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(msg_type, {"utterances": [words]}))


async def test_w16_strangers_are_no_news_on_the_agents_bus(tmp_path: Path) -> None:
    """Whoever has a session comes and goes under one name."""
    async with LiveHub(tmp_path) as hub:
        hub.add("known", PASSWORD)
        assert (await closed(await hub.raw("a-key-that-nobody-has")))[0] == 1008
        silent, rude = await hub.raw("known"), await hub.raw("known")
        await rude.send(clear("hello", {"session": {"session_id": "a stranger"}}))
        await closed(rude)
        await silent.close()
        wrong = Session(await hub.raw("known"), {"session": {"session_id": "wrong"}}, generate_static_key())
        await wrong.begin("not the password of this one 7")
        await wrong.socket.close()
        kitchen = await joined(hub, "kitchen")
        [peer] = hub.hub.peers
        name = peer.peer_id
        await kitchen.close()
        await eventually(lambda: hub.agent.of_type(GOES))
        assert [(message.msg_type, message.data["peer"]) for message in hub.agent.received] == [
            (COMES, name),
            (GOES, name),
        ]


async def test_w19_the_agents_bus_is_told_who_leaves_with_the_hub(tmp_path: Path) -> None:
    hub = LiveHub(tmp_path)
    await hub.start()
    sessions = [await joined(hub, key) for key in ("kitchen", "hall")]
    names = {peer.peer_id for peer in hub.hub.peers}
    await hub.service.stop()
    assert {message.data["peer"] for message in hub.agent.of_type(GOES)} == names
    for session in sessions:
        await eventually(lambda session=session: session.socket.close_code == 1001)


SEALED = {
    "for the hub, to its agent": seal(utterance("sealed"), HUB_PEM, OWN_KEY),
    "for the hub, to everybody": seal(HiveMessage("propagate", utterance("sealed")), HUB_PEM, OWN_KEY),
    "for another": seal(utterance("sealed"), rsa_pair()[0], OWN_KEY),
}
FREE = {
    **SEALED,
    "shared": HiveMessage(HiveMessageType.SHARED_BUS, Message("speak", {"utterance": "shared"})),
    "left": HiveMessage(HiveMessageType.RENDEZVOUS, {"cmd": "deposit", "target_key": "hall", "payload": LETTER}),
}
TOLD = {"for the hub, to its agent": UTTERANCE, "left": "not_a_rendezvous_node"}
"""What its sender is told of it, where that is not nothing, or the end."""


@pytest.mark.parametrize("what", FREE)
async def test_w18_what_needs_no_right_reaches_neither_the_agent_nor_anybody_else(tmp_path: Path, what: str) -> None:
    """Of a client that has none. The hub has no mailbox; in one there is a share for each."""
    hub = LiveHub(tmp_path)
    hub.identity = HubIdentity(HUB_PEM, hub.identity.noise_key, rsa_key=HUB_KEY)
    async with hub:
        hall = await joined(hub, "hall")
        rightless = await joined(hub, "rightless", **NO_RIGHTS, metadata={"intercom_pubkey": OWN_PEM})
        friend = await joined(hub, "friend", metadata={"intercom_pubkey": OWN_PEM})
        await rightless.send(FREE[what])
        with contextlib.suppress(ConnectionClosed):
            await rightless.emit("mycroft.stop")
        is_put_out = what == "for the hub, to everybody"
        await eventually(lambda: is_put_out or rightless.heard(TOLD.get(what, "mycroft.stop")))
        await eventually(lambda: (rightless.socket.close_code == 4003) == is_put_out)
        await friend.send(HiveMessage(HiveMessageType.PROPAGATE, utterance("the end")))
        await friend.say("the end")
        await eventually(lambda: hall.heard("the end"))
        await eventually(lambda: hub.agent.utterances)
        assert hub.agent.utterances == ["the end"]
        assert [message.msg_type for message in hub.agent.received] == [*[COMES] * 3, *_left(rightless), UTTERANCE]
        assert [message.msg_type for message in hall.messages] == ["propagate"]


def _left(session: Session) -> list[str]:
    return [GOES] if session.socket.close_code else []


async def test_w18_with_the_rights_the_same_sealed_message_acts(tmp_path: Path) -> None:
    hub = LiveHub(tmp_path)
    hub.identity = HubIdentity(HUB_PEM, hub.identity.noise_key, rsa_key=HUB_KEY)
    async with hub:
        friend = await joined(hub, "friend", metadata={"intercom_pubkey": OWN_PEM})
        await friend.send(SEALED["for the hub, to its agent"])
        await eventually(lambda: hub.agent.utterances == ["sealed"])


async def test_p18_what_travels_stays_in_its_envelope(tmp_path: Path) -> None:
    async with LiveHub(tmp_path) as hub:
        kitchen, hall = await joined(hub, "kitchen"), await joined(hub, "hall")
        for inner in (utterance("in an envelope"), seal(utterance("sealed"), OWN_PEM, OWN_KEY)):
            await kitchen.send(HiveMessage(HiveMessageType.PROPAGATE, inner))
        await eventually(lambda: len(hall.messages) == 2)
        assert [(message.msg_type, message.payload.msg_type) for message in hall.messages] == [
            ("propagate", "bus"),
            ("propagate", "intercom"),
        ]
