"""The hub with real links, a real database and a clock that stands still; no sockets."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from hivemind_bus_client.denials import told
from hivemind_bus_client.link import Opened
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.parts import PartsBudget
from hivemind_core.bus_events import fingerprint
from hivemind_core.config import Config
from hivemind_core.door import (
    ADDRESS_NEW_SESSIONS_AT_ONCE,
    MAX_HANDSHAKES,
    MAX_HANDSHAKES_OF_ONE,
    NEW_SESSIONS_AT_ONCE,
)
from hivemind_core.storage import StorageError
from hivemind_core.testing import MemoryHive, MemorySatellite
from hivemind_core.workers import Busy


def parrot(message: Message) -> Message | None:
    """Answer an utterance the way a skill does."""
    if message.msg_type != "recognizer_loop:utterance":
        return None
    return message.reply("speak", {"utterance": f"you said {message.data['utterances'][0]}"})


@pytest.fixture
async def hive() -> AsyncIterator[MemoryHive]:
    async with MemoryHive() as running:
        running.agent.respond = parrot
        yield running


# --- a conversation -----------------------------------------------------------------------------------------


async def test_an_utterance_is_answered(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.say("hello")
    await hive.settle()
    assert kitchen.heard == ["you said hello"]


async def test_two_satellites_hear_only_their_own_answers(hive: MemoryHive) -> None:
    kitchen, hall = await hive.join("kitchen"), await hive.join("hall")
    for turn in range(5):
        kitchen.say(f"k{turn}")
        hall.say(f"h{turn}")
    await hive.settle()
    assert kitchen.heard == [f"you said k{turn}" for turn in range(5)]
    assert hall.heard == [f"you said h{turn}" for turn in range(5)]


async def test_what_the_agent_sees_is_stamped_and_cannot_be_forged(hive: MemoryHive) -> None:
    victim, kitchen = await hive.join("hall"), await hive.join("kitchen", lang="pt-PT")
    forged = {"source": victim.peer_id, "peer": victim.peer_id, "destination": victim.peer_id, "mine": 1}
    kitchen.emit("recognizer_loop:utterance", {"utterances": ["x"]}, {**forged, "session": {"session_id": "default"}})
    await hive.settle()
    [seen] = hive.agent.of_type("recognizer_loop:utterance")
    assert seen.context["source"] == seen.context["peer"] == kitchen.peer_id
    assert seen.context["destination"] == "hivemind"
    assert seen.context["mine"] == 1
    assert seen.context["session"] == {"session_id": f"{kitchen.peer.namespace}:default", "lang": "pt-PT"}
    assert victim.heard == []


async def test_an_answer_carries_the_session_the_satellite_knows(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.emit("recognizer_loop:utterance", {"utterances": ["x"]}, {"session": {"session_id": "user-7"}})
    await hive.settle()
    [speak] = [bus for bus in kitchen.bus_messages if bus.msg_type == "speak"]
    assert speak.context["session"]["session_id"] == "user-7"
    assert speak.context["source"] == "hive"
    assert kitchen.messages[-1].source_peer == kitchen.peer_id


async def test_an_admin_speaks_in_the_bare_session(hive: MemoryHive) -> None:
    admin = await hive.join("boss", client=hive.add_client("boss", is_admin=True))
    admin.emit("recognizer_loop:utterance", {"utterances": ["x"]}, {"session": {"session_id": "default"}})
    await hive.settle()
    assert hive.agent.of_type("recognizer_loop:utterance")[0].context["session"]["session_id"] == "default"


async def test_answers_find_their_way_by_destination_only(hive: MemoryHive) -> None:
    kitchen, hall = await hive.join("kitchen"), await hive.join("hall")
    both = [kitchen.peer_id, hall.peer_id, "nobody", 5]
    hive.agent.deliver(Message("speak", {"utterance": "to both"}, {"destination": both, "source": "skills"}))
    hive.agent.deliver(Message("speak", {"utterance": "to none"}, {"peer": kitchen.peer_id}))
    hive.agent.deliver(Message("speak", {"utterance": "request"}, {"source": hall.peer_id, "destination": both}))
    await hive.settle()
    assert kitchen.heard == hall.heard == ["to both"]


async def test_of_twins_the_one_that_all_satellites_know_is_delivered(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    data, context = {"utterance": "once"}, {"destination": kitchen.peer_id}
    hive.agent.deliver(Message("ovos.utterance.speak", data, dict(context)))
    hive.agent.deliver(Message("speak", data, {**context, "_namespace_compat_twin": True}))
    await hive.settle()
    assert [(bus.msg_type, bus.data) for bus in kitchen.bus_messages] == [("speak", data)]


# --- denials ------------------------------------------------------------------------------------------------


async def test_a_type_that_is_not_allowed_is_denied_with_the_cure(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.emit("mycroft.stop")
    kitchen.say("still here")
    await hive.settle()
    [denial] = kitchen.denials
    assert (denial["denied_type"], denial["code"]) == ("mycroft.stop", "acl_disallowed_type")
    assert "allow-msg mycroft.stop" in denial["reason"]
    assert "recognizer_loop:utterance" not in str(denial)
    assert kitchen.heard == ["you said still here"]


async def test_an_agent_that_is_away_is_said_to_be(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    hive.agent.available = False
    kitchen.say("hello")
    await hive.settle()
    assert kitchen.denials[0]["code"] == "backend_unavailable"
    hive.agent.available = True
    kitchen.say("again")
    await hive.settle()
    assert kitchen.heard == ["you said again"]


@pytest.mark.parametrize(
    ("data", "context"),
    [
        ({}, {"session": {"lang": 5}}),
        ({}, {"session": {"context": "text"}}),
        ({}, {"session": {"active_skills": 5}}),
        ({}, {"session": {"utterance_states": []}}),
    ],
)
async def test_what_would_harm_the_bus_does_not_reach_it(
    hive: MemoryHive, data: dict[str, Any], context: dict[str, Any]
) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.emit("recognizer_loop:utterance", data, context)
    await hive.settle()
    assert kitchen.denials[0]["code"] == "malformed_payload"
    assert hive.agent.of_type("recognizer_loop:utterance") == []


async def test_a_session_that_is_no_object_is_replaced_by_the_announced_one(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen", lang="de-DE")
    kitchen.emit("recognizer_loop:utterance", {"utterances": ["x"]}, {"session": "text"})
    await hive.settle()
    assert hive.agent.of_type("recognizer_loop:utterance")[0].context["session"]["lang"] == "de-DE"


async def test_binary_data_is_denied_clearly_while_nothing_handles_it(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.send(HiveMessage(HiveMessageType.BINARY, b"\x00\x01", bin_type=1))
    await hive.settle()
    assert kitchen.denials == [
        {
            "denied_type": "binary",
            "code": "no_binary_handler",
            "reason": told("no_binary_handler", "binary"),
            "data": {"bin_type": "1"},
        }
    ]


async def test_a_denied_hello_keeps_the_connection(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.send(HiveMessage(HiveMessageType.HELLO, {"session": "text"}))
    kitchen.say("hi")
    await hive.settle()
    assert kitchen.denials[0]["denied_type"] == "hello"
    assert kitchen.heard == ["you said hi"]


async def test_a_fault_in_the_hub_ends_one_connection_and_no_other(
    hive: MemoryHive, caplog: pytest.LogCaptureFixture
) -> None:
    kitchen, hall = await hive.join("kitchen"), await hive.join("hall")

    def broken(message: Message) -> Message | None:
        raise RuntimeError("boom") if message.data.get("utterances") == ["crash"] else LookupError("unused")

    hive.agent.respond = broken
    kitchen.say("crash")
    await hive.settle()
    assert kitchen.closed == (1011, "internal error handling bus")
    assert "boom" in caplog.text
    hive.agent.respond = parrot
    hall.say("fine")
    await hive.settle()
    assert hall.heard == ["you said fine"]


# --- before a session ---------------------------------------------------------------------------------------


async def test_nothing_but_greeting_and_offer_before_the_session(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen", password="wrong")
    assert kitchen.refused is not None
    assert kitchen.refused.code == "wrong_password"
    hive.agent.deliver(Message("speak", {"utterance": "secret"}, {"destination": kitchen.peer_id}))
    await hive.settle()
    assert kitchen.messages == []
    assert hive.agent.received == []


async def test_a_clear_hello_is_refused_and_registers_nobody(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen", password="wrong")
    hive.hub.receive(kitchen.peer, HiveMessage(HiveMessageType.HELLO, {"pubkey": "PEM"}).serialize())
    await hive.settle()
    assert kitchen.closed == (1008, "invalid message")
    assert len(hive.hub.peers) == 0
    assert "intercom_pubkey" not in hive.db.all()[0].metadata


async def test_a_handshake_that_is_not_finished_is_ended(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen", password="wrong")
    hive.clock.advance(29)
    hive.hub.tick()
    assert kitchen.closed is None
    hive.clock.advance(1)
    hive.hub.tick()
    assert told_to_return(kitchen, "handshake timed out", 3, 8)


async def test_a_message_whose_parts_never_end_is_ended(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.link.send(HiveMessage(HiveMessageType.BINARY, bytes(200_000)))
    for part in kitchen.link.frames_to_send()[:2]:
        hive.hub.receive(kitchen.peer, part)
    hive.clock.advance(119)
    hive.hub.tick()
    assert kitchen.closed is None
    hive.clock.advance(2)
    hive.hub.tick()
    assert kitchen.closed == (1008, "invalid message")


async def test_unfinished_messages_of_all_connections_are_bounded_together(hive: MemoryHive) -> None:
    hive.hub._parts_budget = PartsBudget(300_000)
    hog, greedy, other = [await hive.join(name) for name in ("hog", "greedy", "other")]
    for one, parts in ((hog, 4), (greedy, 2)):
        one.link.send(HiveMessage(HiveMessageType.BINARY, bytes(400_000)))
        for part in one.link.frames_to_send()[:parts]:
            hive.hub.receive(one.peer, part)
    assert (hog.closed, greedy.closed) == (None, (1008, "invalid message"))
    other.say("short ones pass")
    await hive.settle()
    assert other.heard == ["you said short ones pass"]
    hog.leave()
    other.send(HiveMessage(HiveMessageType.BINARY, bytes(250_000)))
    await hive.settle()
    assert other.denials[0]["code"] == "no_binary_handler"


async def test_a_frame_after_the_end_does_nothing(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.link.send(HiveMessage("bus", Message("recognizer_loop:utterance", {"utterances": ["late"]})))
    late = kitchen.link.frames_to_send()
    kitchen.leave()
    hive.hub.receive(kitchen.peer, late[0])
    assert hive.agent.utterances == []


async def test_too_many_unfinished_handshakes_are_turned_away(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen", password="wrong")
    hive.hub.door.handshaking.update(replace(kitchen.peer) for _ in range(MAX_HANDSHAKES))
    refusal = await hive.hub.identify("whatever", "192.0.2.1")
    assert getattr(refusal, "code", None) == "busy"


async def test_a_full_key_queue_is_busy_not_wrong(hive: MemoryHive) -> None:
    async def full(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        raise Busy

    hive.hub.workers.derive = full  # type: ignore[method-assign]
    kitchen = await hive.join("kitchen")
    assert told_to_return(kitchen, "busy", 1, 3)


def told_to_return(satellite: MemorySatellite, reason: str, earliest_s: int, latest_s: int) -> bool:
    """Tell whether it is to come back in so many seconds; not all at one moment."""
    return satellite.closed in [
        (1013, f"{reason}, try again in {seconds} s") for seconds in range(earliest_s, latest_s + 1)
    ]


# --- keys and pins ------------------------------------------------------------------------------------------


def opened(satellite: MemorySatellite) -> list[str]:
    return [event.pattern for event in satellite.events if isinstance(event, Opened)]


async def test_the_second_connection_uses_the_pinned_key_and_the_stored_psk(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    kitchen = await hive.join("kitchen", client=row)
    stored = hive.db.by_id(row.client_id)
    assert stored is not None
    assert set(stored.metadata) == {"noise_psk", "noise_psk_for", "noise_pubkey"}
    kitchen.leave()
    hub_key = next(event.remote_key for event in kitchen.events if isinstance(event, Opened))
    kitchen.pinned_key = hub_key
    await hive.connect(kitchen, stored, "kitchen")
    assert opened(kitchen) == ["XXpsk2", "KKpsk0"]


async def test_another_device_with_the_same_key_is_refused(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    await hive.join("kitchen", client=row)
    stored = hive.db.by_id(row.client_id)
    other = await hive.join("kitchen", client=stored)
    assert other.closed == (1008, "client Noise static key contradicts the pinned key")
    assert hive.hub.rejections.recent()[0].code == "client_key_mismatch"


async def test_of_two_devices_at_once_the_first_wins(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    first, second = await asyncio.gather(hive.join("a", client=row), hive.join("b", client=row))
    assert sorted([first.closed is None, second.closed is None]) == [False, True]


async def test_a_pin_outlives_a_database_that_fails(hive: MemoryHive, monkeypatch: pytest.MonkeyPatch) -> None:
    row = hive.add_client("kitchen")

    def fails(*args: Any, **kwargs: Any) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(hive.db, "patch_metadata", fails)
    await hive.join("kitchen", client=row)
    other = await hive.join("kitchen", client=row)
    assert other.closed is not None
    assert other.closed[0] == 1008


async def test_a_client_deleted_while_its_key_is_derived_stays_deleted(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    derive = hive.hub.workers.derive

    async def slowly(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        hive.db.delete(row.client_id)
        return await derive(call, *args, **kwargs)

    hive.hub.workers.derive = slowly  # type: ignore[method-assign]
    await hive.join("kitchen", client=row)
    assert hive.db.by_id(row.client_id) is None
    [stored] = hive.db.store.load()
    assert stored.is_revoked
    assert stored.password is None
    assert stored.metadata == {}


# --- events on the agent's bus ------------------------------------------------------------------------------


async def test_joining_and_leaving_are_told_after_authentication_without_the_key(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    kitchen = await hive.join("kitchen", client=row)
    peer_id = kitchen.peer_id
    kitchen.leave()
    [connect] = hive.agent.of_type("hive.client.connect")
    [disconnect] = hive.agent.of_type("hive.client.disconnect")
    assert connect.data == {
        "key": fingerprint(row.api_key),
        "peer": peer_id,
        "session_id": kitchen.session["session_id"],
    }
    assert connect.context == {"source": peer_id}
    assert disconnect.data == {"key": fingerprint(row.api_key), "peer": peer_id}
    assert disconnect.context["session"]["session_id"].startswith(kitchen.peer.namespace + ":")
    assert row.api_key not in str([message.as_dict for message in hive.agent.received])


async def test_a_new_session_is_a_leave_and_a_join(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    before = kitchen.peer_id
    kitchen.send(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": "fresh"}}))
    await hive.settle()
    assert [event.data["peer"] for event in hive.agent.of_type("hive.client.disconnect")] == [before]
    assert hive.agent.of_type("hive.client.connect")[-1].data["peer"] == kitchen.peer_id
    assert kitchen.peer_id.endswith("::fresh")


async def test_the_same_hello_again_tells_nobody(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    kitchen.send(HiveMessage(HiveMessageType.HELLO, {"session": kitchen.session}))
    await hive.settle()
    assert len(hive.agent.of_type("hive.client.connect")) == 1
    assert hive.agent.of_type("hive.client.disconnect") == []


async def test_a_session_that_would_harm_the_bus_is_not_taken(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    for session in ({"session_id": "x", "lang": 5}, {"session_id": "x", "note": "y" * 70_000}):
        kitchen.send(HiveMessage(HiveMessageType.HELLO, {"session": session}))
    await hive.settle()
    assert [denial["code"] for denial in kitchen.denials] == ["malformed_payload"] * 2
    kitchen.leave()
    assert "lang" not in hive.agent.of_type("hive.client.disconnect")[0].context["session"]


async def same_device(hive: MemoryHive, first: MemorySatellite, **session: Any) -> MemorySatellite:
    """Another connection of a satellite."""
    row = hive.db.by_id(first.peer.client.client_id)
    assert row is not None
    again = MemorySatellite(hive, row.password or "", session)
    again.static_key = first.static_key
    await hive.connect(again, row, "again")
    return again


def announce(satellite: MemorySatellite, session_id: str) -> None:
    satellite.send(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": session_id}}))


async def changed(hive: MemoryHive, satellites: Iterable[MemorySatellite]) -> int:
    """How many of these may change their session."""
    hive.agent.received.clear()
    for number, satellite in enumerate(satellites):
        announce(satellite, f"another {number}")
    await hive.settle()
    return len(hive.agent.of_type("hive.client.connect"))


async def test_all_connections_of_a_client_change_their_sessions_no_more_often_than_one(hive: MemoryHive) -> None:
    first = await hive.join("kitchen")
    crowd = [first, *[await same_device(hive, first, session_id=f"s{number}") for number in range(11)]]
    assert [satellite.closed for satellite in crowd] == [None] * 12
    assert all(satellite.peer.registered for satellite in crowd), "the first of each is free"
    assert await changed(hive, crowd) == NEW_SESSIONS_AT_ONCE
    assert [each.denials[-1]["code"] for each in crowd[NEW_SESSIONS_AT_ONCE:]] == ["too_many_sessions"] * 7
    crowd[0].leave()
    assert await changed(hive, [await same_device(hive, first)]) == 0, "to come again helps nothing"
    assert await changed(hive, [await hive.join("hall")] * 2) == 2


async def test_so_do_all_clients_of_an_address(hive: MemoryHive) -> None:
    crowd = [await hive.join(f"room {number}") for number in range(8)]
    wanted = [satellite for satellite in crowd for _ in range(NEW_SESSIONS_AT_ONCE)]
    assert await changed(hive, wanted) == ADDRESS_NEW_SESSIONS_AT_ONCE
    hive.clock.advance(60)
    for satellite in crowd:
        satellite.peer.conn.remote = "::1"
    assert await changed(hive, wanted) == len(wanted), "this machine's own is not limited"


async def test_connections_of_a_client_share_the_loop_as_long_as_one_is_there(hive: MemoryHive) -> None:
    first, hall = await hive.join("kitchen"), await hive.join("hall")
    second = await same_device(hive, first)
    share = first.peer.loop_share
    assert second.peer.loop_share is share is not hall.peer.loop_share
    first.leave()
    third = await same_device(hive, first)
    assert third.peer.loop_share is share
    liar = await hive.join("kitchen", client=hive.db.by_id(first.peer.client.client_id), password="wrong")
    assert liar.peer.loop_share is not share
    for satellite in (second, third, liar):
        satellite.leave()
    assert (await same_device(hive, first)).peer.loop_share is not share


async def test_sessions_cannot_be_changed_without_end(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    for number in range(50):
        kitchen.send(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": f"s{number}"}}))
    await hive.settle()
    assert len(hive.agent.of_type("hive.client.connect")) <= 6
    assert kitchen.denials[-1]["code"] == "too_many_sessions"
    hive.clock.advance(2)
    kitchen.send(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": "later"}}))
    kitchen.say("hi")
    await hive.settle()
    assert kitchen.heard == ["you said hi"]
    assert kitchen.peer_id.endswith("::later")


async def test_one_access_key_cannot_take_every_place(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    for _ in range(MAX_HANDSHAKES_OF_ONE):
        await hive.join("x", client=row, password="wrong")
    token = b64encode(f"ua:{row.api_key}".encode()).decode()
    refusal = await hive.hub.identify(token, "memory")
    assert getattr(refusal, "code", None) == "busy"
    other = hive.add_client("hall")
    found = await hive.hub.identify(b64encode(f"ua:{other.api_key}".encode()).decode(), "memory")
    assert getattr(found, "client", None) == other


async def test_the_same_hello_again_keeps_the_address_even_after_a_collision(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    first = await hive.join("kitchen", client=row, session_id="same")
    second = MemorySatellite(hive, row.password or "", {"session_id": "same"})
    second.static_key = first.static_key
    current = hive.db.by_id(row.client_id)
    assert current is not None
    await hive.connect(second, current, "kitchen")
    before = second.peer_id
    assert before != first.peer_id
    second.send(HiveMessage(HiveMessageType.HELLO, {"session": {"session_id": "same"}}))
    second.say("still found")
    await hive.settle()
    assert second.peer_id == before
    assert second.heard == ["you said still found"]


async def test_a_message_can_be_sent_down_to_one_satellite(hive: MemoryHive) -> None:
    kitchen, hall = await hive.join("kitchen"), await hive.join("hall")
    payload = {"type": "speak", "data": {"utterance": "dinner"}, "context": {}}
    request = {"msg_type": "bus", "payload": payload, "peer": kitchen.peer_id}
    hive.agent.deliver(Message("hive.send.downstream", request))
    await hive.settle()
    assert (kitchen.heard, hall.heard) == (["dinner"], [])
    hive.agent.deliver(Message("hive.send.downstream", {**request, "peer": "gone"}, {"source": "skill"}))
    [error] = hive.agent.of_type("hive.client.send.error")
    assert error.data == {"error": "That client is not connected", "peer": "gone"}
    assert error.context["source"] == "skill"


@pytest.mark.parametrize("data", [{}, {"msg_type": "bus"}, {"msg_type": "bus", "payload": 5}, {"msg_type": "nope"}])
async def test_a_malformed_request_to_send_harms_nobody(hive: MemoryHive, data: dict[str, Any]) -> None:
    kitchen = await hive.join("kitchen")
    hive.agent.deliver(Message("hive.send.downstream", {**data, "peer": kitchen.peer_id}))
    await hive.settle()
    assert kitchen.messages == []


@pytest.mark.parametrize("question", ["is_alive", "is_ready", "all_loaded"])
async def test_the_hub_says_that_it_is_there(hive: MemoryHive, question: str) -> None:
    hive.agent.deliver(Message(f"mycroft.HiveMind.{question}", {}, {"source": "me", "destination": "hub"}))
    [answer] = hive.agent.of_type(f"mycroft.HiveMind.{question}.response")
    assert answer.data == {"status": True}
    assert answer.context["destination"] == "me"


# --- changes while connected --------------------------------------------------------------------------------


async def test_rights_change_on_a_live_connection(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    other_process = hive.db.store.path  # type: ignore[attr-defined]
    from hivemind_core.database import ClientDatabase
    from hivemind_core.storage.sqlite import SQLiteStore

    elsewhere = ClientDatabase(SQLiteStore(other_process))
    elsewhere.update(kitchen.peer.client.client_id, {"allowed_types": ["mycroft.stop"]})
    await hive.hub.refresh()
    kitchen.emit("mycroft.stop")
    kitchen.say("no more")
    await hive.settle()
    assert len(hive.agent.of_type("mycroft.stop")) == 1
    assert [denial["denied_type"] for denial in kitchen.denials] == ["recognizer_loop:utterance"]
    elsewhere.delete(kitchen.peer.client.client_id)
    await hive.hub.refresh()
    assert kitchen.closed == (1008, "invalid api key")
    elsewhere.close()


async def test_last_seen_is_written_once_an_interval(hive: MemoryHive) -> None:
    kitchen = await hive.join("kitchen")
    client_id = kitchen.peer.client.client_id

    def last_seen() -> float:
        row = hive.db.by_id(client_id)
        assert row is not None
        return row.last_seen

    hive.hub.tick()
    await hive.settle()
    first = last_seen()
    assert first == hive.clock.now
    hive.clock.advance(30)
    kitchen.say("x")
    await hive.settle()
    hive.hub.tick()
    await hive.settle()
    assert last_seen() == first
    hive.clock.advance(31)
    hive.hub.tick()
    await hive.settle()
    assert last_seen() == hive.clock.now


async def test_stopping_closes_everybody_with_1001(hive: MemoryHive) -> None:
    kitchen, stranger = await hive.join("kitchen"), await hive.join("x", password="wrong")
    stop, hive.hub.db.close = hive.hub.db.close, lambda: None  # type: ignore[method-assign]
    await hive.hub.stop()
    hive.hub.db.close = stop  # type: ignore[method-assign]
    assert kitchen.closed == stranger.closed == (1001, "the hub is shutting down")
    assert len(hive.agent.of_type("hive.client.disconnect")) == 1


async def test_a_binarized_hub_offers_it(tmp_path: Any) -> None:
    config = Config(path=tmp_path / "server.json", binarize=True, runtime_password_strength_check=False)
    async with MemoryHive(config) as hive:
        hive.agent.respond = parrot
        kitchen = await hive.join("kitchen")
        kitchen.say("hello")
        await hive.settle()
        assert kitchen.heard == ["you said hello"]
        assert [event.binarize for event in kitchen.events if isinstance(event, Opened)] == [True]


async def test_a_weak_password_is_refused_and_can_be_let_in(tmp_path: Any) -> None:
    async with MemoryHive(Config(path=tmp_path / "server.json")) as hive:
        weak = await hive.join("weak", client=hive.add_client("weak", password="hello"))
        assert weak.closed == (1008, "the password of this access key is too guessable")
        row = hive.add_client("let in", password="hello", metadata={"allow_weak_password": True})
        assert opened(await hive.join("let in", client=row)) == ["XXpsk2"]


async def test_a_satellite_that_leaves_within_a_second_was_seen() -> None:
    async with MemoryHive() as hive:
        client = hive.add_client("hasty")
        satellite = await hive.join("hasty", client=client)
        satellite.leave()
        await hive.settle()
        row = hive.db.by_id(client.client_id)
        assert row is not None
        assert row.last_seen == hive.clock()
