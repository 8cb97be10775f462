from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.listening import Listening
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.question import Question, Reply

QUERY, CASCADE, BUS = HiveMessageType.QUERY, HiveMessageType.CASCADE, HiveMessageType.BUS
ASKED = Message("recognizer_loop:utterance", {"utterances": ["what time is it"]})
END, TIMEOUT = "hive.query.complete", "hive.query.timeout"

Part = tuple[str, str, dict[str, Any]]


class Client(Listening):
    """Answers a question as the mesh does: (responder, type, data)."""

    problem = ""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts
        self.sent: list[HiveMessage] = []

    def emit(self, message: HiveMessage) -> None:
        self.sent.append(message)
        for responder, topic, data in self.parts:
            self.respond(message, responder, topic, data)

    def respond(self, asked: HiveMessage, responder: str, topic: str, data: dict[str, Any], **metadata: Any) -> None:
        about = {**asked.metadata, "is_response": True, "responder_peer": responder, **metadata}
        inner = HiveMessage(BUS, Message(topic, data))
        self.emitter.emit(asked.msg_type, HiveMessage(asked.msg_type, inner, metadata=about))


def said(text: str, by: str = "hub") -> Part:
    return by, "speak", {"utterance": text, "lang": "en-US"}


def asked(kind: HiveMessageType, *parts: Part) -> tuple[Question, list[str]]:
    told: list[str] = []
    question = Question(Client(*parts), kind, told.append)
    assert question.ask(ASKED, 0.05) == bool(question.replies)
    return question, told


@pytest.mark.parametrize("kind", [QUERY, CASCADE])
def test_what_is_sent(kind: HiveMessageType) -> None:
    question, _ = asked(kind)
    (sent,) = question._client.sent
    assert (sent.msg_type, sent.metadata) == (kind, {"query_id": question.query_id})
    assert sent.payload.payload.data == ASKED.data


def test_a_query_is_answered_by_the_first_who_speaks() -> None:
    question, told = asked(
        QUERY, said("noon"), said("night", "other"), ("other", END, {}), said("sharp"), ("hub", END, {})
    )
    assert told == ["noon", "sharp"]
    assert question.replies == [Reply("noon", "en-US", "hub"), Reply("sharp", "en-US", "hub")]
    assert question.problem == ""
    assert question.as_dict() == {
        "query_id": question.query_id,
        "answers": [
            {"utterance": "noon", "lang": "en-US", "responder": "hub"},
            {"utterance": "sharp", "lang": "en-US", "responder": "hub"},
        ],
    }


def test_a_cascade_is_answered_by_all() -> None:
    question, told = asked(CASCADE, said("noon"), ("hub", END, {}), said("night", "other"), ("other", END, {}))
    assert told == ["noon", "night"]
    assert [reply.responder for reply in question.replies] == ["hub", "other"]
    assert question.problem == ""


@pytest.mark.parametrize(
    ("kind", "parts", "problem"),
    [
        (QUERY, [], "nobody answered within 0.05 s"),
        (CASCADE, [("hub", END, {})], "nobody answered within 0.05 s"),
        (QUERY, [("hub", END, {})], "nobody answered"),
        (QUERY, [("hub", TIMEOUT, {})], "nobody answered: no assistant that was asked has an answer"),
        (
            QUERY,
            [("hub", TIMEOUT, {"error": "upstream_unavailable"})],
            "nobody answered: the hub above is not connected",
        ),
        (QUERY, [("hub", TIMEOUT, {"error": "tired"})], "nobody answered: tired"),
        (QUERY, [said("noon")], "nothing more came within 0.05 s"),
        (QUERY, [("hub", "ovos.something", {})], "nobody answered within 0.05 s"),
    ],
)
def test_what_is_missing_is_told(kind: HiveMessageType, parts: list[Part], problem: str) -> None:
    assert asked(kind, *parts)[0].problem == problem


def test_other_questions_are_passed_over() -> None:
    told: list[str] = []
    client = Client()
    question = Question(client, QUERY, told.append)
    other = HiveMessage(QUERY, HiveMessage(BUS, ASKED), metadata={"query_id": "another"})
    client.respond(other, "hub", "speak", {"utterance": "noon"})
    own = HiveMessage(QUERY, HiveMessage(BUS, ASKED), metadata={"query_id": question.query_id})
    client.emitter.emit("query", own)
    assert (told, question.replies) == ([], [])


def test_what_comes_too_late_is_dropped() -> None:
    question, told = asked(QUERY)
    question._client.respond(question._client.sent[0], "hub", "speak", {"utterance": "noon"})
    assert (told, question.replies) == ([], [])


@pytest.mark.parametrize("event", ["reconnecting", "auth_rejected"])
@pytest.mark.parametrize("problem", ["", "not permitted"])
def test_a_lost_connection_ends_the_wait(event: str, problem: str) -> None:
    client = Client()
    question = Question(client, CASCADE, print)
    client.problem = problem
    client.emitter.emit(event, *([""] if event == "auth_rejected" else []))
    assert not question.ask(ASKED, 60)
    assert question.problem == (problem or "the connection to the hub was lost")


def test_a_denial_ends_the_wait() -> None:
    client = Client()
    question = Question(client, QUERY, print)
    data = {"denied_type": "query", "code": "backend_unavailable", "reason": "gone"}
    client.internal_bus.emit(Message("hive.policy.denied", data))
    assert not question.ask(ASKED, 60)
    assert question.problem.startswith("the hub denied query: gone.")
