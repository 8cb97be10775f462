"""The assistant's message bus and the hub above, on real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from helpers.live_hub import LiveHub
from helpers.processes import free_port
from helpers.strangers import LOCAL, echoes, stranger
from hivemind_bus_client.doctor.findings import Finding
from hivemind_core.config import load_config
from hivemind_core.doctor.agent import IS_READY, READY, look, upstream
from hivemind_core.doctor.case import HubCase

NOISE = ["no json", "[]", json.dumps({"type": "something.else"})]


def found(module: str, port: int = 1) -> list[Finding]:
    document = {"agent_protocol": {"module": module, module: {"host": LOCAL, "port": port}}}
    return list(look(HubCase(config=load_config(overrides=document))))


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
    assert [*look(HubCase()), *upstream(HubCase())] == []


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


def above(port: int, **more: Any) -> list[str]:
    block = {"enabled": True, "host": LOCAL, "port": port, "key": "k", "password": "secret-of-above", **more}
    told = list(upstream(HubCase(config=load_config(overrides={"upstream": block}))))
    assert "secret-of-above" not in str(told)
    return [each.verdict for each in told]


async def test_the_hub_above(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "hub") as live:
        assert set(await asyncio.to_thread(above, live.port)) == {"ok"}
        assert (await asyncio.to_thread(above, live.port, key=""))[0] == "FAIL"


def test_a_hub_above_that_is_away_or_none() -> None:
    assert above(free_port()) == ["FAIL"]
    with stranger(echoes) as port:
        assert above(port) == ["ok", "FAIL"]
