"""The admin address, asked over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from hivemind_bus_client.refusals import REFUSALS
from hivemind_core import readiness
from hivemind_core.admin import AdminServer
from hivemind_core.admin_config import AdminConfig
from hivemind_core.metrics import CONTENT_TYPE, gauge
from hivemind_core.transports import BindError

TOKEN = "a-token-that-nobody-guesses"
WELL, ILL = [readiness.agent("a", available=True)], [readiness.agent("a", available=False)]


@asynccontextmanager
async def serving(parts: list[readiness.Part] = WELL, token: str = "") -> AsyncIterator[AdminServer]:
    server = AdminServer(AdminConfig(0, "127.0.0.1", token), lambda: parts, lambda: [gauge("answer", "It", 42)])
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(server: AdminServer, path: str, method: str = "GET", **options: Any) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, server.address + path, **options) as answer:
        return answer.status, await answer.text(), answer.headers


def bearer(token: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


async def test_the_process_answers() -> None:
    async with serving(ILL, TOKEN) as server:
        status, text, headers = await ask(server, "/healthz")
        assert (status, text) == (200, "ok\n")
        assert headers["Connection"] == "close"


@pytest.mark.parametrize(("parts", "status"), [(WELL, 200), (ILL, 503)])
async def test_readiness_says_why_not(parts: list[readiness.Part], status: int) -> None:
    async with serving(parts) as server:
        answered, text, _ = await ask(server, "/readyz")
        assert (answered, json.loads(text)) == (status, readiness.document(parts))


async def test_the_figures() -> None:
    async with serving() as server:
        status, text, headers = await ask(server, "/metrics")
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, CONTENT_TYPE, "no-store")
        assert text.startswith("# HELP answer It\n# TYPE answer gauge\nanswer 42\n")
        assert "# TYPE hivemind_loop_lag_seconds histogram\n" in text


@pytest.mark.parametrize(
    "wrong", [{}, bearer("something-else-altogether"), bearer(""), bearer(TOKEN + "x"), bearer("ü")]
)
async def test_without_the_token_there_is_whether_but_not_why(wrong: dict[str, Any]) -> None:
    async with serving(ILL, TOKEN) as server:
        assert (await ask(server, "/metrics", **wrong))[0] == 401
        assert (await ask(server, "/readyz", **wrong))[:2] == (503, '{"ready": false}')
        assert (await ask(server, "/metrics", **bearer(TOKEN)))[0] == 200
        assert "cannot be reached" in (await ask(server, "/readyz", **bearer(TOKEN)))[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_only_reading_is_served(method: str) -> None:
    async with serving() as server:
        status, _, headers = await ask(server, "/metrics", method, data=b"x" * 100)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/../metrics/x", "/METRICS", "//metrics"])
async def test_there_is_nothing_else(path: str) -> None:
    async with serving() as server:
        assert (await ask(server, path))[0] == 404


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 no HTTP \r\n\r\n", b"GET /metrics HTTP/1.1\r\nA: " + b"x" * 100_000])
async def test_what_is_no_request_ends_and_harms_nobody(sent: bytes) -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 60)
        assert b" 200 " not in answer
        writer.close()
        assert (await ask(server, "/healthz"))[0] == 200


async def test_a_port_in_use_is_said() -> None:
    async with serving() as server:
        second = AdminServer(AdminConfig(server.port), lambda: WELL, list)
        with pytest.raises(BindError, match=rf"admin address http://127.0.0.1:{server.port}: it is in use"):
            await second.start()
        await second.stop()


async def test_it_can_be_stopped_while_somebody_is_connected() -> None:
    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.wait_for(server.stop(), 30)
        writer.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_no_web_page_is_served(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(token=TOKEN) as server:
        headers = {"Origin": server.address, **bearer(TOKEN)["headers"]}
        status, text, answered = await ask(server, path, headers=headers)
        assert (status, "Access-Control-Allow-Origin" in answered) == (403, False)
        assert text == f"{REFUSALS['origin_not_allowed']}\n"
        assert "refused 127.0.0.1 at the admin address" in caplog.text
        assert (await ask(server, path, **bearer(TOKEN)))[0] == 200


async def test_without_a_token_a_name_that_leads_here_is_no_way_in() -> None:
    async with serving() as server:
        for host, status in (("evil.example", 403), (f"evil.example:{server.port}", 403), ("localhost", 200)):
            assert (await ask(server, "/metrics", headers={"Host": host}))[0] == status
        text = (await ask(server, "/metrics"))[1]
        assert 'hivemind_admin_refused_total{why="origin_not_allowed"} 2\n' in text


async def test_who_names_no_host_is_no_browser() -> None:
    """HAProxy looks by HTTP/1.0 so."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 30)).split()[1] == b"200"
        writer.close()


async def test_with_a_token_it_may_have_any_name(caplog: pytest.LogCaptureFixture) -> None:
    """Prometheus in another container knows it by that of its container."""
    async with serving(token=TOKEN) as server:
        named = {"Host": "hivemind_listener:9567"}
        assert (await ask(server, "/metrics", headers={**named, **bearer(TOKEN)["headers"]}))[0] == 200
        assert (await ask(server, "/healthz", headers=named))[0] == 200
        assert not caplog.records
        assert (await ask(server, "/metrics", headers=named))[0] == 401
        assert "[token]" in caplog.text


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
async def test_a_token_in_the_clear_is_warned_of(host: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    server = AdminServer(AdminConfig(0, host, TOKEN), lambda: WELL, list)
    await server.start()
    await server.stop()
    assert ("crosses the network in the clear" in caplog.text) is warned
