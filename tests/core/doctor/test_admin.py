"""The admin address of a hub that runs, of one that does not, and of somebody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from helpers.processes import free_port
from helpers.strangers import LOCAL, http, stranger
from hivemind_core import readiness
from hivemind_core.admin import AdminServer
from hivemind_core.admin_config import AdminConfig
from hivemind_core.config import load_config
from hivemind_core.doctor.admin import look
from hivemind_core.doctor.case import HubCase

TOKEN = "a-token-that-nobody-guesses"


def found(port: int, **block: Any) -> list[tuple[str, str]]:
    config = load_config(overrides={"admin": {"port": port, **block}})
    told = list(look(HubCase(config=config)))
    assert TOKEN not in str(told)
    return [(each.verdict, each.reason) for each in told]


async def asked_of(available: bool, served: str, given: str) -> list[tuple[str, str]]:
    parts = [readiness.agent("ovos", available=available), readiness.transports(serving=True, unbound=[])]
    server = AdminServer(AdminConfig(0, LOCAL, served), lambda: parts, list)
    await server.start()
    try:
        return await asyncio.to_thread(found, server.port, token=given)
    finally:
        await server.stop()


@pytest.mark.parametrize("block", [None, {"port": 0}])
def test_without_one_nothing_is_said(block: Any) -> None:
    config = load_config(overrides={"admin": block})
    assert [*look(HubCase()), *look(HubCase(config=config))] == []


async def test_a_hub_that_is_ready() -> None:
    assert await asked_of(True, TOKEN, TOKEN) == [("ok", "The hub says that it is ready.")]


async def test_a_hub_that_is_not_says_why() -> None:
    [(verdict, reason)] = await asked_of(False, TOKEN, TOKEN)
    assert (verdict, "of its agent: the assistant's bus (ovos) cannot be reached." in reason) == ("warn", True)


async def test_a_hub_with_another_token() -> None:
    [(verdict, reason)] = await asked_of(True, TOKEN, "another-token-altogether")
    assert (verdict, "another token" in reason) == ("warn", True)


def test_a_hub_that_does_not_run() -> None:
    [(verdict, _)] = found(free_port())
    assert verdict == "ok"


def test_somebody_else() -> None:
    with stranger(http()) as port:
        [(verdict, reason)] = found(port)
    assert (verdict, "is held by" in reason) == ("FAIL", True)
