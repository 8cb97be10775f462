import random
import threading

import pytest

from hivemind_bus_client import cascade
from hivemind_bus_client.cascade import CascadeAggregator, QueryLivenessTimer
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

LONG_S = 60.0
SHORT_S = 0.02
WAIT_S = 60.0


def answer(number: int, **metadata) -> HiveMessage:
    inner = HiveMessage(HiveMessageType.BUS, Message("speak", {"n": number}))
    return HiveMessage(HiveMessageType.CASCADE, inner, metadata=metadata)


@pytest.fixture
def gate(monkeypatch):
    """No timer calls before this is open, however slow the machine is: a pause is longer than what they wait for."""
    opened = threading.Event()
    timer = cascade._timer

    def gated(timeout_s, call):
        return timer(timeout_s, lambda: opened.wait(WAIT_S) and call())

    monkeypatch.setattr(cascade, "_timer", gated)
    yield opened
    opened.set()


class Passed(list):
    """What was passed on, and an event that says that something was."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def __call__(self, message: HiveMessage) -> None:
        self.append(message)
        self.event.set()


def test_the_choice_is_made_when_all_have_answered():
    passed, offered = Passed(), []
    aggregator = CascadeAggregator(LONG_S, lambda found: offered.append(found) or found[1], passed, 3)
    answers = [answer(number) for number in range(4)]
    for each in answers[:2]:
        aggregator.add_response(each)
    assert (passed, aggregator.responses) == ([], answers[:2])
    aggregator.add_response(answers[2])
    assert (passed, offered) == ([answers[1]], [answers[:3]])
    aggregator.add_response(answers[3])
    assert (passed, aggregator.responses) == ([answers[1]], [])


@pytest.mark.parametrize("expected", [None, 0, 5])
def test_the_choice_is_made_when_time_is_over(expected, gate):
    passed = Passed()
    aggregator = CascadeAggregator(SHORT_S, lambda found: found[-1], passed, expected)
    answers = [answer(1), answer(2)]
    for each in answers:
        aggregator.add_response(each)
    gate.set()
    assert passed.event.wait(WAIT_S)
    assert passed == [answers[1]]


def test_parts_of_one_responder_are_one_answer():
    passed = Passed()
    aggregator = CascadeAggregator(LONG_S, lambda found: found[0], passed, 2)
    aggregator.add_response(answer(1, responder_peer="a"))
    aggregator.add_response(answer(2, responder_peer="a"))
    assert passed == []
    aggregator.add_response(answer(3, responder_peer="b"))
    assert len(passed) == 1


def test_by_default_chance_decides():
    passed = Passed()
    aggregator = CascadeAggregator(LONG_S, None, passed, 2)
    assert aggregator.select_callback == random.choice
    answers = [answer(1), answer(2)]
    for each in answers:
        aggregator.add_response(each)
    assert passed[0] in answers


def test_nothing_may_be_chosen():
    passed = Passed()
    aggregator = CascadeAggregator(LONG_S, lambda found: None, passed, 1)
    aggregator.add_response(answer(1))
    aggregator.add_response(answer(2))
    assert passed == []


def test_after_cancel_nothing_comes(gate):
    passed = Passed()
    aggregator = CascadeAggregator(SHORT_S, None, passed)
    aggregator.add_response(answer(1))
    aggregator.cancel()
    aggregator.add_response(answer(2))
    gate.set()
    assert not passed.event.wait(SHORT_S * 5)
    assert aggregator.responses == []


def test_callbacks_may_use_the_aggregator():
    """It holds no lock while it calls them."""
    passed = Passed()

    def select(found: list[HiveMessage]) -> HiveMessage:
        other = threading.Thread(target=aggregator.add_response, args=(answer(9),))
        other.start()
        other.join(WAIT_S)
        assert not other.is_alive()
        return found[0]

    aggregator = CascadeAggregator(LONG_S, select, passed, 1)
    aggregator.add_response(answer(1))
    assert len(passed) == 1


def test_callbacks_that_fail_are_logged(caplog):
    aggregator = CascadeAggregator(LONG_S, lambda found: 1 / 0, Passed(), 1)
    aggregator.add_response(answer(1))
    assert "ZeroDivisionError" in caplog.text


# --- QueryLivenessTimer -------------------------------------------------------------------------------------


class Expired(Passed):
    pass


def test_a_query_without_answer_is_told_of_once():
    expired = Expired()
    timer = QueryLivenessTimer(SHORT_S, expired)
    timer.arm("q")
    assert expired.event.wait(WAIT_S)
    assert expired == ["q"]
    assert timer.expire_now() is False


def test_a_cancelled_query_is_not_told_of(gate):
    expired = Expired()
    timer = QueryLivenessTimer(SHORT_S, expired)
    timer.arm("q")
    timer.cancel("q")
    timer.arm("r")
    timer.cancel()
    timer.cancel("never there")
    gate.set()
    assert not expired.event.wait(SHORT_S * 5)


def test_queries_do_not_disturb_each_other():
    expired = Expired()
    timer = QueryLivenessTimer(LONG_S, expired)
    timer.arm("q")
    timer.arm("r")
    assert timer.query_id == "r"
    timer.cancel("r")
    assert (timer.query_id, timer.waits_for("q"), timer.waits_for("r")) == ("q", True, False)
    timer.cancel()
    assert expired == []


def test_a_query_gets_its_id_with_the_first_answer():
    timer = QueryLivenessTimer(LONG_S, Expired())
    timer.arm()
    assert timer.waits_for("q")
    timer.arm("q")
    assert not timer.waits_for("")
    timer.arm()
    timer.cancel("r")
    assert not timer.waits_for("r")
    assert timer.waits_for("q")
    timer.cancel()


def test_arming_begins_anew():
    expired = Expired()
    timer = QueryLivenessTimer(LONG_S, expired)
    timer.arm("q")
    first = timer._timer
    timer.arm("q")
    assert first is not timer._timer
    first.join(WAIT_S)
    assert expired == []
    timer.cancel()
    assert timer._timer is None


def test_all_can_be_told_of_at_once():
    expired = Expired()
    timer = QueryLivenessTimer(LONG_S, expired)
    timer.arm("q")
    timer.arm("r")
    assert timer.expire_now() is True
    assert expired == ["q", "r"]
    assert timer.query_id == ""


def test_a_query_may_be_armed_while_it_is_told_of():
    expired, again = Expired(), []

    def on_timeout(query_id: str) -> None:
        if not again:
            again.append(query_id)
            timer.arm(query_id)
        expired(query_id)

    timer = QueryLivenessTimer(LONG_S, on_timeout)
    timer.arm("q")
    timer.expire_now()
    assert timer.waits_for("q")
    timer.cancel()
