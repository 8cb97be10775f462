import asyncio
import threading
from types import SimpleNamespace

import pytest

from hivemind_bus_client.fakebus import AsyncFakeHiveMessageBus, FakeBus
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.protocol import HiveMindSlaveProtocol


def test_handlers_hear_their_type_and_all_as_text():
    heard: list = []
    bus = FakeBus("me")
    bus.on("x", heard.append)
    bus.once("x", heard.append)
    bus.on("message", heard.append)
    first, second = Message("x", {"n": 1}), Message("x", {"n": 2})
    bus.emit(first)
    bus.emit(second)
    assert heard == [first.serialize(), first, first, second.serialize(), second]
    bus.remove("x", heard.append)
    bus.remove_all_listeners("message")
    bus.emit(first)
    assert len(heard) == 5
    assert bus.session_id == "me"


@pytest.mark.parametrize(("emitted", "other"), [("speak", "ovos.utterance.speak"), ("ovos.utterance.speak", "speak")])
def test_a_message_with_two_names_comes_to_the_listeners_of_both(emitted, other):
    heard: list = []
    everything: list = []
    bus = FakeBus()
    bus.on(other, lambda m: heard.append((m.msg_type, m.data, m.context)))
    bus.once(other, lambda m: heard.append("once"))
    bus.on("message", everything.append)
    for _ in range(2):
        bus.emit(Message(emitted, {"utterance": "hi"}, {"a": 1}))
    told = (other, {"utterance": "hi"}, {"a": 1})
    assert heard == [told, "once", told]
    assert len(everything) == 2


def test_a_handler_of_both_names_is_called_once():
    heard: list = []
    bus = FakeBus()
    for name in ("speak", "ovos.utterance.speak"):
        bus.on(name, heard.append)
    bus.emit(Message("speak"))
    assert [message.msg_type for message in heard] == ["speak"]


def test_each_has_a_session_of_its_own():
    assert FakeBus().session_id != FakeBus().session_id


def test_a_handler_that_fails_concerns_no_other(caplog):
    heard: list = []
    bus = FakeBus()
    bus.on("x", lambda _: 1 / 0)
    bus.on("x", heard.append)
    bus.emit(Message("x"))
    assert len(heard) == 1


async def test_a_coroutine_handler_runs():
    done = asyncio.Event()

    async def handler(_: Message) -> None:
        done.set()

    bus = FakeBus()
    bus.on("x", handler)
    bus.emit(Message("x"))
    await asyncio.wait_for(done.wait(), 60)


def test_waiting():
    bus = FakeBus()
    bus.on("ask", lambda message: bus.emit(message.response({"n": 1})))
    assert bus.wait_for_response(Message("ask")).data == {"n": 1}
    threading.Timer(0.01, bus.emit, (Message("late"),)).start()
    assert bus.wait_for_message("late", 60).msg_type == "late"
    assert bus.wait_for_message("never", 0.01) is None
    assert bus.wait_for_response(Message("x"), "y", 0.01) is None
    assert bus.emitter.listeners("y") == []


def test_it_looks_like_a_bus_that_runs():
    bus = FakeBus()
    bus.run_in_thread()
    bus.run_forever()
    assert bus.connected_event.is_set()
    bus.on("x", print)
    bus.close()
    assert bus.emitter.listeners("x") == []


def test_a_session_may_be_given():
    assert FakeBus(session=SimpleNamespace(session_id="theirs")).session_id == "theirs"


# --- a client without a hub ---------------------------------------------------------------------------------


@pytest.fixture
async def client() -> AsyncFakeHiveMessageBus:
    return AsyncFakeHiveMessageBus()


async def test_its_defaults(client):
    assert (client.session_id, client.site_id) == ("fake-hivemind-session", "fake-site")
    assert client.useragent == "AsyncFakeHiveMessageBus"
    assert client.emitted == []
    assert (client.crypto_key, client.compress, client.binarize) == (None, False, False)
    given = AsyncFakeHiveMessageBus(session_id="s", site_id="k", useragent="u", internal_bus=(bus := FakeBus()))
    assert (given.session_id, given.site_id, given.useragent, given.internal_bus) == ("s", "k", "u", bus)


async def test_connecting(client):
    assert not client.connected_event.is_set()
    assert await client.connect() is client
    assert client.connected_event.is_set()
    assert client.handshake_event.is_set()
    await client.wait_for_handshake()
    await client.close()
    assert not client.connected_event.is_set()
    assert not client.handshake_event.is_set()
    await client.connect(site_id="kitchen")
    assert client.site_id == "kitchen"


async def test_waiting_to_be_connected(client):
    with pytest.raises(RuntimeError, match="timed out"):
        await client.wait_for_handshake(timeout=0.01, max_retries=2)
    waiting = asyncio.create_task(client.wait_for_handshake())
    await asyncio.sleep(0)
    await client.connect()
    await asyncio.wait_for(waiting, 60)


async def test_a_protocol_is_bound(client):
    protocol = HiveMindSlaveProtocol(client, identity=SimpleNamespace(private_key=None, trusted_keys={}))
    await client.connect(bus := FakeBus(), protocol, "kitchen")
    heard: list = []
    bus.on("speak", heard.append)
    protocol.site_id = client.site_id
    inner = HiveMessage(HiveMessageType.BUS, Message("speak"))
    await client.emit(HiveMessage(HiveMessageType.BROADCAST, inner, target_site_id="kitchen"))
    assert len(heard) == 1
    assert client.protocol is protocol


async def test_what_is_emitted_is_kept_and_heard(client):
    heard: list = []
    client.on(HiveMessageType.BUS, lambda message: heard.append(("bus", message.payload.msg_type)))
    client.on("speak", lambda message: heard.append(("speak", message.data)))
    client.on_mycroft("speak", lambda message: heard.append(("mycroft", message.msg_type)))
    client.on("message", lambda text: heard.append(("message", type(text))))
    message = Message("speak", {"n": 1})
    await client.emit(message)
    assert heard == [("message", str), ("speak", {"n": 1}), ("mycroft", "speak"), ("bus", "speak")]
    assert [(kept.msg_type, kept.payload.data) for kept in client.emitted] == [("bus", {"n": 1})]
    assert message.context is client.emitted[0].payload.context


async def test_it_says_who_speaks(client):
    client.useragent, client.session_id, client.site_id = "agent", "s", "k"
    await client.emit_mycroft(Message("x"))
    own = {"source": "agent", "platform": "agent", "destination": "HiveMind"}
    session = {"session_id": "s", "site_id": "k"}
    assert client.emitted[0].payload.context == {**own, "session": session}
    await client.emit(given := HiveMessage("bus", Message("x", {}, {"source": "mine", "session": {"session_id": "t"}})))
    assert client.emitted[1] is given
    assert given.payload.context == {**own, "source": "mine", "session": {"session_id": "t", "site_id": "k"}}


async def test_other_messages_are_left_as_they_are(client):
    heard: list = []
    client.on(HiveMessageType.QUERY, heard.append)
    query = HiveMessage(HiveMessageType.QUERY, HiveMessage(HiveMessageType.BUS, Message("x")))
    await client.emit(query)
    assert heard == client.emitted == [query]
    assert query.payload.payload.context == {}
    await client.emit(HiveMessage(HiveMessageType.BINARY, b"abc"), HiveMindBinaryPayloadType.RAW_AUDIO)
    await client.emit(HiveMessage(HiveMessageType.BINARY, b"abc", bin_type=HiveMindBinaryPayloadType.FILE))
    assert [message.bin_type for message in client.emitted[1:]] == [1, 3]
    await client.emit_intercom(Message("x"), "PEM")
    assert (client.emitted[-1].msg_type, client.emitted[-1].target_public_key) == ("intercom", "PEM")


async def test_handlers_come_and_go(client):
    heard: list = []
    for event in ("speak", HiveMessageType.BUS):
        client.once(event, heard.append)
        client.on(event, heard.append)
    await client.emit(Message("speak"))
    assert len(heard) == 4
    for event in ("speak", HiveMessageType.BUS):
        client.remove(event, heard.append)
        client.remove(event, heard.append)
    await client.emit(Message("speak"))
    assert len(heard) == 4


async def test_handlers_that_fail_and_coroutines(client, caplog):
    done = asyncio.Event()

    async def handler(_: Message) -> None:
        done.set()

    client.on("x", lambda _: 1 / 0)
    client.on("x", handler)
    await client.emit(Message("x"))
    await asyncio.wait_for(done.wait(), 60)
    assert "ZeroDivisionError" in caplog.text


async def test_waiting_for_messages(client):
    async def soon(message: Message) -> None:
        await asyncio.sleep(0)
        await client.emit(message)

    async def while_emitted(waiting) -> object:
        later = asyncio.create_task(soon(Message("speak", {"n": 1})))
        found = await waiting
        await later
        return found

    assert (await while_emitted(client.wait_for_message("bus", 60))).payload.data == {"n": 1}
    assert (await while_emitted(client.wait_for_message("speak", 60))).data == {"n": 1}
    assert (await while_emitted(client.wait_for_mycroft("speak", 60))).payload.data == {"n": 1}
    assert (await while_emitted(client.wait_for_payload("speak", timeout=60))).payload.data == {"n": 1}
    assert await while_emitted(client.wait_for_payload("speak", "query", 0.01)) is None
    assert await client.wait_for_mycroft("never", 0.01) is None
    assert await client.wait_for_message("never", 0.01) is None
    assert client.emitter.listeners("bus") == []


async def test_waiting_for_answers(client):
    def answer(message: Message) -> None:
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, client.emit(message.response({"n": 1})))

    client.on("ask", answer)
    assert (await client.wait_for_response(Message("ask"), "ask.response", 60)).payload.data == {"n": 1}
    assert (await client.wait_for_response(Message("echo"), timeout=60)).payload.msg_type == "echo"
    assert await client.wait_for_response(Message("echo"), "never", 0.01) is None
    ping = HiveMessage(HiveMessageType.PING, {"flood_id": "f"})
    assert await client.wait_for_response(ping, timeout=60) is ping
    assert await client.wait_for_response(Message("echo"), HiveMessageType.PING, 0.01) is None
    assert client.emitter.listeners("bus") == []
    await asyncio.sleep(0)
