"""One session over HTTP; the rest of it: test_http."""

from __future__ import annotations

import asyncio

from hivemind_core.transports.http_connection import HTTPConnection
from hivemind_core.transports.http_sessions import TEXT, Bounds


async def test_a_fetch_that_was_woken_gets_nothing_where_another_has_taken_it_for_another_hub() -> None:
    connection = HTTPConnection(("key", "address"), Bounds(), lambda: 0.0, lambda *ended: None)
    given_up = asyncio.ensure_future(connection.news(TEXT, 60))
    await asyncio.sleep(0)
    connection.send(["one"])
    assert await connection.news(TEXT, 60)
    assert connection.take(TEXT, 0.0) == ["one"]
    connection.passes(TEXT)
    connection.send(["two"])
    assert not await given_up
    assert not await connection.news(TEXT, 60)
    connection.passed(TEXT)
    assert await connection.news(TEXT, 60)
    assert connection.take(TEXT, 0.0) == ["two"]
