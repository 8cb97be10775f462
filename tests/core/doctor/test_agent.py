"""The assistant and its message bus, on real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from helpers.agent_bus import eventually
from helpers.processes import free_port
from helpers.strangers import LOCAL, echoes, stranger
from hivemind_bus_client.doctor.findings import Finding
from hivemind_bus_client.message import Message
from hivemind_core.agents.busclient import BusAddress
from hivemind_core.agents.embedded import EmbeddedAgent
from hivemind_core.config import Config, load_config
from hivemind_core.doctor.agent import IS_READY, READY, look
from hivemind_core.doctor.case import HubCase
from hivemind_core.whereabouts import announce

NOISE = ["no json", "[]", json.dumps({"type": "something.else"})]


def found(module: str, port: int = 1, probe: str = "", *, hub_runs: bool = False) -> list[Finding]:
    document = {"agent_protocol": {"module": module, module: {"host": LOCAL, "port": port}}}
    return list(look(HubCase(config=load_config(overrides=document), probe=probe, hub_runs=hub_runs)))


@contextmanager
def bus(*answers: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A message bus; its port, and what was said on it."""
    heard: list[dict[str, Any]] = []

    def converse(link: ServerConnection) -> None:
        for frame in link:
            heard.append(json.loads(frame))
            for answer in answers:
                link.send(answer)

    with serve(converse, LOCAL, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1], heard
        finally:
            server.shutdown()
            thread.join()


def ready(status: object) -> str:
    return json.dumps({"type": READY, "data": {"status": status}, "context": {}})


def test_without_settings_nothing_is_said() -> None:
    assert [*look(HubCase())] == []


@pytest.mark.parametrize(
    ("module", "verdict"),
    [("builtin", "ok"), ("auto", "ok"), ("embedded", "ok"), ("ovos", "FAIL"), ("hivemind-ovos-agent-plugin", "FAIL")],
)
def test_without_a_bus(module: str, verdict: str) -> None:
    (told,) = found(module, free_port())
    assert (told.verdict, bool(told.cure)) == (verdict, verdict != "ok")


def test_an_agent_that_there_is_not() -> None:
    assert [each.verdict for each in found("papyrus")] == ["FAIL"]


@pytest.mark.parametrize(
    ("answers", "verdict", "part"),
    [
        ([*NOISE, ready(True)], "ok", "ready"),
        ([ready(False)], "warn", "not ready yet"),
        ([ready("yes")], "warn", "not ready yet"),
    ],
)
def test_an_assistant_is_asked_and_nothing_else_is_said(answers: list[str], verdict: str, part: str) -> None:
    with bus(*answers) as (port, heard):
        (told,) = found("ovos", port)
    assert (told.verdict, part in told.reason) == (verdict, True)
    assert [message["type"] for message in heard] == [IS_READY]


@pytest.mark.parametrize("answers", [[], NOISE])
def test_a_bus_without_an_assistant(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> None:
    monkeypatch.setattr("hivemind_core.doctor.agent.ANSWER_S", 0.3)
    with bus(*answers) as (port, _):
        (told,) = found("auto", port)
    assert (told.verdict, "no assistant on it" in told.reason) == ("warn", True)


def test_what_is_no_bus() -> None:
    with stranger(echoes) as port:
        (told,) = found("ovos", port)
    assert (told.verdict, "no message bus" in told.reason) == ("FAIL", True)


@pytest.mark.parametrize("module", ["builtin", "auto"])
def test_a_built_in_assistant_is_asked_in_this_process_and_that_is_said(module: str) -> None:
    told = found(module, free_port(), "what can you do")[-1]
    assert (told.verdict, told.what) == ("ok", "probe")
    assert '"what can you do" was answered "I am the hub\'s small built-in assistant' in told.reason
    assert "in this process, as there is no message bus. Not tried: the way of a device" in told.reason


def test_the_hubs_own_bus_is_asked_nothing_while_the_hub_does_not_run() -> None:
    told = found("embedded", free_port(), "hello")
    assert [(each.verdict, each.what) for each in told] == [("ok", "agent"), ("warn", "probe")]
    assert "the hub does not run" in told[1].reason
    assert "`hivemind-core listen`" in told[1].cure
    (closed,) = found("embedded", free_port(), "hello", hub_runs=True)
    assert (closed.verdict, closed.cure) == ("warn", "Restart the hub.")


async def test_the_hubs_own_bus_is_asked_and_nobody_goes_without_answers_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever joins that bus silences the built-in assistant, but a visitor does not."""
    monkeypatch.setattr("hivemind_core.doctor.agent.ANSWER_S", 1.0)
    port, heard = free_port(), list[Message]()
    agent = EmbeddedAgent(BusAddress(LOCAL, port), list)
    await agent.start(heard.append)
    try:
        asked = asyncio.create_task(asyncio.to_thread(found, "embedded", port, "what time is it", hub_runs=True))
        await eventually(lambda: IS_READY in [message.msg_type for message in heard])
        utterance = Message("recognizer_loop:utterance", {"utterances": ["hello"]}, {"source": "kitchen"})
        assert agent.emit(utterance)
        await eventually(lambda: "kitchen" in [message.context.get("destination") for message in heard])
        ready, told = await asked
    finally:
        await agent.stop()
    assert (ready.verdict, told.verdict) == ("ok", "ok")
    assert '"what time is it" was answered "It is ' in told.reason
    assert "on the message bus" in told.reason


def test_the_agent_counts_that_the_hub_was_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make run` starts it with `--agent embedded`, whatever server.json says."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "hivemind-core").mkdir()
    with bus() as (port, _):
        announce(replace(Config(tmp_path / "server.json"), agent_module="embedded"), 1)
        told = [found("auto", port, hub_runs=runs)[0] for runs in (True, False)]
    assert [finding.verdict for finding in told] == ["ok", "warn"]
    assert "built-in assistant" in told[0].reason
