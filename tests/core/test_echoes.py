from __future__ import annotations

from typing import Any

from hivemind_bus_client.message import HiveMessage
from hivemind_core.echoes import MAX_WAYS, Echoes
from hivemind_core.hops import arrived, left, rewrapped


def said(text: str = "hi", **fields: Any) -> HiveMessage:
    inner = {"msg_type": "bus", "payload": {"type": "speak", "data": {"utterance": text}}}
    return HiveMessage.from_wire({"msg_type": "propagate", "payload": inner, **fields})


def passed_on(message: HiveMessage, sender: str, node_id: str) -> HiveMessage:
    route = left(arrived(message, sender), message.payload, node_id)
    return HiveMessage.from_wire(rewrapped(message, message.payload, route, node_id).serialize())


def test_what_comes_by_a_second_way_is_an_echo() -> None:
    echoes, first = Echoes(), said()
    second = passed_on(first, "kitchen", "HUB 2")
    assert not echoes.is_echo(first, "kitchen")
    assert echoes.is_echo(second, "hub 2")
    assert echoes.is_echo(passed_on(second, "hub 2", "HUB 3"), "hub 3")


def test_what_is_sent_twice_is_taken_twice() -> None:
    echoes, first = Echoes(), said()
    second = passed_on(first, "kitchen", "HUB 2")
    taken = [not echoes.is_echo(*one) for one in ((first, "kitchen"), (first, "kitchen"), (second, "hub 2"))]
    assert taken == [True, True, False]
    assert echoes.is_echo(second, "hub 2")
    assert not echoes.is_echo(second, "hub 2")


def test_others_who_say_the_same_are_heard() -> None:
    echoes = Echoes()
    assert not echoes.is_echo(said(), "kitchen")
    assert not echoes.is_echo(said(), "hall")
    assert not echoes.is_echo(said(target_site_id="loft"), "kitchen")
    assert not echoes.is_echo(said(metadata={"a": 1}), "kitchen")


def test_the_memory_is_bounded() -> None:
    echoes = Echoes(most=2)
    for text in ("a", "b", "c"):
        echoes.is_echo(said(text), "kitchen")
    assert not echoes.is_echo(said("a"), "kitchen")
    for number in range(MAX_WAYS + 5):
        echoes.is_echo(passed_on(said("z"), "kitchen", f"HUB {number}"), f"hub {number}")
    assert echoes.is_echo(passed_on(said("z"), "kitchen", "HUB x"), "hub x")
