"""One turn with an assistant on a message bus, on real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from helpers.strangers import LOCAL
from hivemind_core.agents.busclient import BusAddress
from hivemind_core.doctor.probe import HANDLED, SOURCE, SPEAK, UNMATCHED, UTTERANCE, turn

Said = dict[str, Any]


@contextmanager
def assistant(answers: Callable[[Said], list[Said | str]]) -> Iterator[tuple[BusAddress, list[Said]]]:
    """A bus that repeats what is said on it, as OVOS's does, and an assistant; what it was told."""
    heard: list[Said] = []

    def converse(link: ServerConnection) -> None:
        for frame in link:
            heard.append(json.loads(frame))
            for answer in (heard[-1], *answers(heard[-1])):
                link.send(answer if isinstance(answer, str) else json.dumps(answer))

    with serve(converse, LOCAL, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield BusAddress(LOCAL, server.socket.getsockname()[1]), heard
        finally:
            server.shutdown()
            thread.join()


def answer(asked: Said, kind: str, **data: Any) -> Said:
    context = {**asked["context"], "source": "skills", "destination": SOURCE}
    return {"type": kind, "data": data, "context": context}


def speaks(asked: Said) -> list[Said | str]:
    other = {**answer(asked, SPEAK, utterance="of somebody else"), "context": {"session": {"session_id": "default"}}}
    return ["no json", other, answer(asked, SPEAK, utterance="it is noon"), answer(asked, HANDLED)]


def test_an_answer_is_told_and_goes_to_no_loudspeaker() -> None:
    with assistant(speaks) as (address, heard):
        told = turn(address, "what time is it")
    assert (told.verdict, told.reason.startswith('"what time is it" was answered "it is noon"')) == ("ok", True)
    [asked] = heard
    assert (asked["type"], asked["data"]["utterances"]) == (UTTERANCE, ["what time is it"])
    assert asked["context"]["source"] == SOURCE
    assert asked["context"]["session"]["session_id"] != "default"


@pytest.mark.parametrize(
    ("kinds", "verdict", "part"),
    [
        ((HANDLED,), "warn", "says nothing"),
        ((UNMATCHED, HANDLED), "warn", "has no skill"),
        ((UNMATCHED,), "warn", "has no skill"),
        ((), "FAIL", "Nothing came back"),
        (("something.else",), "FAIL", "Nothing came back"),
    ],
)
def test_no_answer(kinds: tuple[str, ...], verdict: str, part: str) -> None:
    with assistant(lambda asked: [answer(asked, kind) for kind in kinds]) as (address, _):
        told = turn(address, "hello", 0.5)
    assert (told.verdict, part in told.reason, bool(told.cure)) == (verdict, True, True)


def test_a_long_answer_is_cut() -> None:
    with assistant(lambda asked: [answer(asked, SPEAK, utterance="x" * 5000)]) as (address, _):
        assert len(turn(address, "hello").reason) < 300
