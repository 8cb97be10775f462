import threading

import pytest

from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.waiters import (
    AsyncHiveMessageWaiter,
    AsyncHivePayloadWaiter,
    HiveMessageWaiter,
    HivePayloadWaiter,
    Tapped,
    any_of,
    has_payload,
    is_type,
    payload_type,
)

SPEAK = HiveMessage(HiveMessageType.BUS, Message("speak"))
NEW_SPEAK = HiveMessage(HiveMessageType.BUS, Message("ovos.utterance.speak"))
WRAPPED = HiveMessage(HiveMessageType.BROADCAST, SPEAK)
PING = HiveMessage(HiveMessageType.PING, {"flood_id": "x"})
BYTES = HiveMessage(HiveMessageType.BINARY, b"x")


@pytest.mark.parametrize(("message", "found"), [(SPEAK, "speak"), (WRAPPED, "bus"), (PING, None), (BYTES, None)])
def test_what_an_envelope_carries(message, found):
    assert payload_type(message) == found


def test_matching():
    assert is_type("bus")(SPEAK)
    assert not is_type(HiveMessageType.PING)(SPEAK)
    assert has_payload("speak", "bus")(SPEAK)
    assert has_payload("speak", "bus")(NEW_SPEAK)
    assert has_payload(HiveMessageType.BUS, "broadcast")(WRAPPED)
    assert not has_payload("speak", "shared_bus")(SPEAK)
    assert not has_payload("speak", "bin")(BYTES)
    assert any_of(is_type("ping"), is_type("bus"))(SPEAK)
    assert not any_of()(SPEAK)


@pytest.mark.parametrize(
    "make", [lambda bus: HiveMessageWaiter(bus, "bus"), lambda bus: HivePayloadWaiter(bus, "speak")]
)
def test_a_thread_gets_the_first_message_that_fits(make):
    bus = Tapped()
    waiter = make(bus)
    for message in (PING, SPEAK, NEW_SPEAK):
        threading.Thread(target=bus.show_taps, args=(message,)).start()
        if message is not PING:
            waiter.response_event.wait(60)
    assert waiter.wait(60) is SPEAK
    assert waiter.wait(0) is SPEAK


@pytest.mark.parametrize(
    "make", [lambda bus: AsyncHiveMessageWaiter(bus, "bus"), lambda bus: AsyncHivePayloadWaiter(bus, "speak")]
)
async def test_a_task_gets_the_first_message_that_fits(make):
    bus = Tapped()
    waiter = make(bus)
    bus.show_taps(PING)
    bus.show_taps(SPEAK)
    assert await waiter.wait(60) is SPEAK


async def test_none_comes_after_a_while_and_nothing_is_left_behind():
    bus = Tapped()
    assert HiveMessageWaiter(bus, "bus").wait(0.01) is None
    assert await AsyncHiveMessageWaiter(bus, "bus").wait(0.01) is None
    HiveMessageWaiter(bus, "bus").cancel()
    assert bus._taps == ()


def test_any_bus_will_do():
    bus = FakeBus()
    waiter = HiveMessageWaiter(bus, "bus")
    bus.emitter.emit("bus", SPEAK)
    assert waiter.wait(0) is SPEAK
    assert bus.emitter.listeners("bus") == []
