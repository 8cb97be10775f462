"""W30: an answer that was asked for before the connection was lost reaches the satellite that is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import LiveHub
from helpers.target import PASSWORD
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

KEY = "an-access-key"


async def cut(hub: LiveHub) -> None:
    """Lose the connection as where a network fails."""
    [peer] = hub.hub.peers
    peer.conn._transport.abort()  # type: ignore[attr-defined]


async def restart(hub: LiveHub) -> None:
    """Lose the connection, and all that a hub remembers of it."""
    await hub.service.stop()
    await hub.start()


@pytest.mark.parametrize("lose", [cut, restart])
async def test_w30_what_was_asked_before_is_answered_afterwards(tmp_path: Path, lose: object) -> None:
    """By a satellite as it is installed, which has to say that it is the one that asked."""
    async with LiveHub(tmp_path) as hub:
        for key in (KEY, "a-bystander"):
            hub.add(key, PASSWORD)
        client, bystander = hub.client(KEY, PASSWORD), hub.client("a-bystander", PASSWORD, "other")
        heard: list[Message] = []
        overheard: list[Message] = []
        client.on_mycroft("speak", heard.append)
        bystander.on_mycroft("speak", overheard.append)
        await client.connect(timeout=60)
        words = {"utterances": ["wake me in a minute"]}
        await client.emit(HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", words)))
        await eventually(lambda: hub.agent.utterances)
        asked = hub.agent.of_type("recognizer_loop:utterance")[0].context
        [before] = hub.hub.peers
        await lose(hub)  # type: ignore[operator]
        await bystander.connect(timeout=60)
        await eventually(lambda: [peer for peer in hub.hub.peers if peer.client.api_key == KEY and peer is not before])
        context = {**asked, "destination": asked["source"], "source": "skill"}
        hub.agent.deliver(Message("speak", {"utterance": "a minute is over"}, context))
        await eventually(lambda: heard)
        assert [message.data["utterance"] for message in heard] == ["a minute is over"]
        assert heard[0].context["session"]["session_id"] == client.session_id
        assert overheard == []
        await client.close()
        await bystander.close()
