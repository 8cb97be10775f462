import asyncio
import threading

from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.message import Message


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
    await asyncio.wait_for(done.wait(), 5)


def test_waiting():
    bus = FakeBus()
    bus.on("ask", lambda message: bus.emit(message.response({"n": 1})))
    assert bus.wait_for_response(Message("ask")).data == {"n": 1}
    threading.Timer(0.01, bus.emit, (Message("late"),)).start()
    assert bus.wait_for_message("late", 5).msg_type == "late"
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
