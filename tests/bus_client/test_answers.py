import pytest

from hivemind_bus_client.answers import inner_topic, is_request, is_stream_end, query_id, responders
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message


def answer(topic="speak", **metadata) -> HiveMessage:
    inner = HiveMessage(HiveMessageType.BUS, Message(topic))
    return HiveMessage(HiveMessageType.CASCADE, inner, metadata=metadata)


@pytest.mark.parametrize(("given", "found"), [("q", "q"), ("", ""), (None, ""), (3, ""), (["q"], "")])
def test_which_question_it_answers(given, found):
    assert query_id(answer(query_id=given)) == found
    assert query_id(answer()) == ""


def test_what_is_inside():
    assert inner_topic(answer("speak")) == "speak"
    assert inner_topic(HiveMessage(HiveMessageType.QUERY, HiveMessage(HiveMessageType.PING, {"type": "x"}))) == ""
    assert inner_topic(HiveMessage(HiveMessageType.PING, {"type": "x"})) == ""


def test_the_end_of_a_stream():
    assert is_stream_end(answer("hive.query.complete"))
    assert not is_stream_end(answer("hive.query.timeout"))
    assert not is_stream_end(answer())


@pytest.mark.parametrize("topic", ["recognizer_loop:utterance", "ovos.utterance.handle"])
def test_the_question_of_another(topic):
    assert is_request(answer(topic))
    assert is_request(answer(topic, is_response="yes"))
    assert not is_request(answer(topic, is_response=True))
    assert not is_request(answer("speak"))


def test_how_many_nodes_have_answered():
    assert responders([]) == 0
    assert responders([answer(), answer()]) == 2
    parts = [answer(responder_peer="a"), answer(responder_peer="a"), answer(responder_peer="b"), answer()]
    assert responders(parts) == 3
    assert responders(["what an application", "collects itself"]) == 2
