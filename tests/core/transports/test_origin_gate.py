"""What web pages of other hosts are told, by both transports and by the admin address, over real sockets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hivemind_bus_client.refusals import REFUSALS
from hivemind_core.config import ConfigError, HTTPConfig, WebSocketConfig, load_config
from hivemind_core.origins import AllowedOrigins
from hivemind_core.testing import MemoryHive
from hivemind_core.transports.http import HTTPTransport
from hivemind_core.transports.websocket import WebSocketTransport

PAGE, OTHER_PAGE = "https://pages.example.org", "https://evil.example"
CODE = "origin_not_allowed"
TOLD = f"{REFUSALS[CODE]}\n"
HOST = "127.0.0.1"


class Rig:
    """A hub, and what a browser with a page of some origin is told by it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.url = ""
        self.hive: MemoryHive

    async def serve(self, transport: type[Any], config: Any) -> None:
        self.hive = await self.stack.enter_async_context(MemoryHive())
        served = transport(self.hive.hub, config)
        await served.start()
        self.stack.push_async_callback(served.stop)
        self.url = f"http://{HOST}:{served.port}"
        self.http = await self.stack.enter_async_context(aiohttp.ClientSession())

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
        async with self.http.request(method, self.url + path, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers

    async def connects(self, origin: str) -> bool:
        try:
            async with self.http.ws_connect(self.url + "/", headers={"Origin": origin}):
                return True
        except aiohttp.WSServerHandshakeError as error:
            return error.status != 403


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        yield Rig(stack)


def websocket(*origins: str) -> WebSocketConfig:
    return WebSocketConfig(HOST, 0, origins=AllowedOrigins(origins))


def http(*origins: str) -> HTTPConfig:
    return HTTPConfig(HOST, 0, origins=AllowedOrigins(origins))


async def test_a_websocket_is_for_every_page_by_default(rig: Rig) -> None:
    await rig.serve(WebSocketTransport, WebSocketConfig(HOST, 0))
    assert await rig.connects(OTHER_PAGE)
    assert await rig.connects("null")


async def test_a_list_keeps_the_pages_of_others_from_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    await rig.serve(WebSocketTransport, websocket(PAGE))
    assert await rig.connects(PAGE)
    assert await rig.connects(f"http://{HOST}:8985"), "the chatroom beside it"
    assert CODE not in caplog.text
    assert not await rig.connects(OTHER_PAGE)
    assert not await rig.connects("null")
    assert f"refused 127.0.0.1: {REFUSALS[CODE]} [{CODE}: the origin '{OTHER_PAGE}' is not allowed]" in caplog.text
    assert rig.hive.hub.meter.refusals.of(CODE) == 2
    status, text, headers = await rig.ask("/", Origin=OTHER_PAGE)
    assert (status, text, headers["Connection"]) == (403, TOLD, "close")
    assert (await rig.ask("/_healthz", Origin=OTHER_PAGE))[0] == 403
    assert (await rig.ask("/_healthz"))[0] == 204


async def test_a_name_that_leads_here_is_no_way_around(rig: Rig) -> None:
    await rig.serve(WebSocketTransport, websocket())
    assert (await rig.ask("/", Origin="http://evil.example", Host="evil.example"))[0] == 403


async def test_over_http_pages_of_others_get_nothing_by_default(rig: Rig) -> None:
    await rig.serve(HTTPTransport, HTTPConfig(HOST, 0))
    for path, method in (("/connect", "POST"), ("/get_messages", "GET"), ("/connect", "OPTIONS"), ("/x", "GET")):
        status, text, headers = await rig.ask(path, method, Origin=OTHER_PAGE)
        assert (status, text) == (403, TOLD)
        assert "Access-Control-Allow-Origin" not in headers
    assert (await rig.ask("/connect", "POST"))[0] == 400
    assert (await rig.ask("/connect", "OPTIONS"))[0] == 405


@pytest.mark.parametrize("allowed", [PAGE, "*"])
async def test_over_http_a_page_that_may_can_read_the_answers(rig: Rig, allowed: str) -> None:
    await rig.serve(HTTPTransport, http(allowed))
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    status, _, headers = await rig.ask("/connect", "OPTIONS", **asked)
    assert status == 204
    assert headers["Access-Control-Allow-Methods"] == "GET, POST"
    status, _, headers = await rig.ask("/connect", "POST", Origin=PAGE)
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (400, PAGE, "Origin")
    assert "Access-Control-Allow-Credentials" not in headers
    status, _, headers = await rig.ask("/connect", "POST")
    assert "Access-Control-Allow-Origin" not in headers


def test_what_the_file_says_counts(tmp_path: Path) -> None:
    file = tmp_path / "server.json"

    def loaded(said: str) -> Any:
        block = f'{{"allowed_origins": {said}}}'
        file.write_text(
            f'{{"network_protocol": {{"hivemind-websocket-plugin": {block}, "hivemind-http-plugin": {block}}}}}'
        )
        return load_config(file, {})

    assert loaded("null").websocket.origins == AllowedOrigins(("*",))
    assert loaded("null").http.origins == AllowedOrigins(())
    assert loaded("[]").websocket.origins == AllowedOrigins(())
    listed = AllowedOrigins((PAGE, "http://hub:81"))
    assert loaded('["HTTPS://pages.example.org:443/", "http://hub:81"]').http.origins == listed
    assert loaded('"https://pages.example.org, http://hub:81"').websocket.origins == listed
    with pytest.raises(ConfigError, match=r"allowed_origins` must be origins like"):
        loaded('["pages.example.org"]')
