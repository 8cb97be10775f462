"""A knock at the hub's door, on real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from helpers.live_hub import LiveHub
from helpers.strangers import LOCAL, echoes, stranger
from hivemind_bus_client.refusals import REFUSALS
from hivemind_core.doctor.entrance import REFUSE_S, knocked


@contextmanager
def server(greets: Callable[[ServerConnection], None]) -> Iterator[str]:
    with serve(greets, LOCAL, 0) as it:
        thread = threading.Thread(target=it.serve_forever)
        thread.start()
        try:
            yield f"ws://{LOCAL}:{it.socket.getsockname()[1]}"
        finally:
            it.shutdown()
            thread.join()


def welcomes(link: ServerConnection) -> None:
    link.send("welcome")


def says_nothing(link: ServerConnection) -> None:
    for _ in link:
        pass


async def test_a_hub_looks_up_the_key_and_refuses_it(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "hub") as live:
        live.add("a-key", "a-password")
        before = live.stored()
        told = await asyncio.to_thread(knocked, "port", f"ws://{LOCAL}:{live.port}")
        assert live.stored() == before
    assert (told.verdict, "refused one that it does not know" in told.reason) == ("ok", True)


async def test_one_that_has_heard_too_many_unknown_keys_says_so(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "hub") as live:
        live.stand_still()
        told = [await asyncio.to_thread(knocked, "port", f"ws://{LOCAL}:{live.port}") for _ in range(11)][-1]
    assert (told.verdict, "too often" in told.reason) == ("ok", True)


@pytest.mark.parametrize(
    ("code", "verdict"), [("database_unavailable", "warn"), ("too_many_connections", "warn"), ("no_password", "FAIL")]
)
def test_a_hub_that_turns_devices_away(code: str, verdict: str) -> None:
    row = REFUSALS[code]
    with server(lambda link: link.close(row.close_code, row.wire_reason)) as url:
        told = knocked("port", url)
    assert (told.verdict, bool(told.cure)) == (verdict, True)
    assert told.reason == f"The hub turns devices away: {row.sentence}"


@pytest.mark.parametrize(("manner", "answer_s"), [(welcomes, REFUSE_S), (says_nothing, 0.3)])
def test_one_that_refuses_nobody(manner: Callable[[ServerConnection], None], answer_s: float) -> None:
    with server(manner) as url:
        told = knocked("port", url, answer_s)
    assert (told.verdict, told.reason) == ("FAIL", "The hub did not refuse an access key that nobody has.")


def test_what_is_no_hub() -> None:
    with stranger(echoes) as port:
        told = knocked("port", f"ws://{LOCAL}:{port}")
    assert (told.verdict, "did not answer a device" in told.reason) == ("FAIL", True)
