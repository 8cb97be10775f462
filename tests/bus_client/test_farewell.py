from __future__ import annotations

from hivemind_bus_client.farewell import Farewell


def test_nothing_is_waited_for_when_nothing_was_asked() -> None:
    farewell = Farewell()
    farewell.said("mycroft.stop")
    assert farewell.linger(0)


def test_a_question_is_waited_for_until_it_is_answered() -> None:
    farewell = Farewell()
    for question in ("recognizer_loop:utterance", "ovos.utterance.handle"):
        farewell.said(question)
        assert not farewell.linger(0)
        farewell.answered()
        assert farewell.linger(0)


def test_a_closed_client_holds_nobody_up() -> None:
    farewell = Farewell()
    farewell.begin()
    farewell.said("recognizer_loop:utterance")
    farewell.end()
    assert farewell.linger(0)
