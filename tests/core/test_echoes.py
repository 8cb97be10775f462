from __future__ import annotations

from typing import Any

from hivemind_bus_client.message import HiveMessage
from hivemind_core.echoes import MAX_WAYS, Echoes
from hivemind_core.hops import arrived, left, rewrapped
from hivemind_core.shares import Share


def said(text: str = "hi", **fields: Any) -> HiveMessage:
    inner = {"msg_type": "bus", "payload": {"type": "speak", "data": {"utterance": text}}}
    return HiveMessage.from_wire({"msg_type": "propagate", "payload": inner, **fields})


def passed_on(message: HiveMessage, sender: str, node_id: str) -> HiveMessage:
    route = left(arrived(message, sender), message.payload, node_id)
    return HiveMessage.from_wire(rewrapped(message, message.payload, route, node_id).serialize())


def test_what_comes_by_a_second_way_is_an_echo() -> None:
    echoes, first = Echoes(), said()
    second = passed_on(first, "kitchen", "HUB 2")
    assert not echoes.is_echo(first, "kitchen", 0)
    assert echoes.is_echo(second, "hub 2", 1)
    assert echoes.is_echo(passed_on(second, "hub 2", "HUB 3"), "hub 3", 2)


def test_what_is_sent_twice_is_taken_twice() -> None:
    echoes, first = Echoes(), said()
    second = passed_on(first, "kitchen", "HUB 2")
    taken = [not echoes.is_echo(*one, 0) for one in ((first, "kitchen"), (first, "kitchen"), (second, "hub 2"))]
    assert taken == [True, True, False]
    assert echoes.is_echo(second, "hub 2", 0)
    assert not echoes.is_echo(second, "hub 2", 0)


def test_others_who_say_the_same_are_heard() -> None:
    echoes = Echoes()
    assert not echoes.is_echo(said(), "kitchen", 0)
    assert not echoes.is_echo(said(), "hall", 0)
    assert not echoes.is_echo(said(target_site_id="loft"), "kitchen", 0)
    assert not echoes.is_echo(said(metadata={"a": 1}), "kitchen", 0)


def test_the_memory_is_bounded() -> None:
    echoes = Echoes(most=2)
    for text in ("a", "b", "c"):
        echoes.is_echo(said(text), "kitchen", 0)
    assert not echoes.is_echo(said("a"), "kitchen", 0)
    for number in range(MAX_WAYS + 5):
        echoes.is_echo(passed_on(said("z"), "kitchen", f"HUB {number}"), f"hub {number}", 0)
    assert echoes.is_echo(passed_on(said("z"), "kitchen", "HUB x"), "hub x", 0)


def test_a_client_pushes_nobody_elses_messages_out_however_many_connections_it_has() -> None:
    echoes, share = Echoes(most=8, most_each=4), Share("client 1")
    passed = [passed_on(said(str(number)), "kitchen", "HUB 1") for number in range(4)]
    for message in passed:
        echoes.is_echo(message, "hub 1", 0, Share("client 2"))
    for number in range(30):
        echoes.is_echo(said(f"more {number}"), f"connection {number}", 0, share)
    assert all(echoes.is_echo(message, "hub 2", 0) for message in passed)


def test_what_an_author_brings_itself_is_no_echo_whoever_has_said_so_before() -> None:
    """Anybody may write another's name into a route."""
    echoes = Echoes()
    assert not echoes.is_echo(said(route=[{"source": "kitchen", "targets": []}]), "liar", 0)
    assert not echoes.is_echo(said(), "kitchen", 1)


def test_what_is_said_again_later_or_after_a_reconnect_is_heard() -> None:
    echoes = Echoes()
    below = passed_on(said(), "kitchen", "HUB 2")
    for at in (0.0, 10.0, 20.0):
        assert not echoes.is_echo(below, "hub 2", at)
    assert echoes.is_echo(below, "another", 21.0)
    echoes.gone("hub 2")
    echoes.gone("another")
    assert not echoes.is_echo(below, "hub 2 again", 22.0)
    assert not echoes.is_echo(below, "a third", 60.0)


def test_one_connection_does_not_push_out_what_others_brought() -> None:
    echoes = Echoes(most=8, most_each=8)
    echoes.is_echo(passed_on(said("a"), "kitchen", "HUB 2"), "hub 2", 0)
    for number in range(50):
        echoes.is_echo(said(str(number)), "hall", 0)
    assert echoes.is_echo(passed_on(said("a"), "kitchen", "HUB 2"), "another", 0)
