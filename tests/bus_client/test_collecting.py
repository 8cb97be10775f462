from __future__ import annotations

import threading
from typing import Any

from hivemind_bus_client.collecting import COLLECT_ID, Collection, CollectionMessage, collecting
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.message import Message


def bus_with(*handlers: Any) -> FakeBus:
    bus = FakeBus()
    for handler in handlers:
        bus.on("who", collecting(bus.emit, handler(bus), 0.05))
    return bus


def collect(bus: FakeBus, **options: Any) -> list[Any]:
    asked = Collection(Message("who", {"n": 1}, {"source": "a", "destination": "b"}), **options)
    bus.on("who.handling", asked.note_handling)
    bus.on("who.response", asked.note_response)
    bus.emit(asked.question)
    return asked.wait(0.01, 5)


def knows(answer: str) -> Any:
    return lambda bus: lambda message: bus.emit(message.success({"answer": answer}))


def does_not_know(bus: FakeBus) -> Any:
    return lambda message: bus.emit(message.failure())


def test_all_answers_are_collected() -> None:
    found = collect(bus_with(knows("x"), knows("y"), does_not_know))
    assert [(one.data.get("answer"), one.data["succeeded"]) for one in found] == [
        ("x", True),
        ("y", True),
        (None, False),
    ]
    assert found[0].context["source"] == "b"
    assert len({one.data["handler"] for one in found}) == 3


def test_whoever_works_on_an_answer_is_waited_for() -> None:
    def slowly(bus: FakeBus) -> Any:
        def handle(message: CollectionMessage) -> None:
            bus.emit(message.extend(5))
            threading.Timer(0.1, lambda: bus.emit(message.success())).start()

        return handle

    assert len(collect(bus_with(slowly))) == 1


def test_nobody_and_somebody_who_never_answers() -> None:
    assert collect(FakeBus()) == []
    assert collect(bus_with(lambda bus: lambda message: None)) == []


def test_one_answer_may_be_enough() -> None:
    def hopeful(bus: FakeBus) -> Any:
        return lambda message: bus.emit(message.extend(60))

    found = collect(bus_with(hopeful, knows("x")), stop=lambda answer: bool(answer.data.get("answer") == "x"))
    assert len(found) == 1


def test_other_questions_are_not_mixed_up() -> None:
    asked = Collection(Message("who"))
    asked.note_handling(Message("who.handling", {"query": "another", "handler": "h", "timeout": 60}))
    asked.note_response(Message("who.response", {"query": "another", "handler": "h"}))
    assert asked.wait(0, 5) == []


def test_the_callers_message_is_not_changed() -> None:
    given = Message("who")
    assert COLLECT_ID in Collection(given).question.context
    assert given.context == {}
