"""Every row of the table of refusals, met on real sockets: what the satellite is told, and what the hub writes down.

Where our satellite never does what is refused, a bare connection does it at our hub; what the hub closed that with is
then what a second hub closes our satellite's connection with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed, InvalidStatus

from helpers.link_hub import LinkHub, eventually
from helpers.live_hub import HOST, LiveHub, closed, satellite, send
from helpers.processes import free_port
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.driver import HandshakeTimedOut
from hivemind_bus_client.legacy_crypto import password_envelope
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_bus_client.refusals import REFUSALS, TRY_AGAIN_LATER, HiveMindRefused, Refusal
from hivemind_bus_client.return_hints import wait_in
from hivemind_core.config import WebSocketConfig
from hivemind_core.door import MAX_HANDSHAKES_OF_ONE
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.limits import FREE_FAILURES, LONGEST_WAIT_S
from hivemind_core.limits_config import LimitsConfig, Rate
from hivemind_core.origins import AllowedOrigins
from hivemind_core.proxies import TrustedProxies

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
TRIES_S = (1.0, 5.0, 30.0)
"""How long a satellite tries where trying again may help; longer if it has found out nothing by then."""
LONG_S = 60.0
SHAKE = HiveMessageType.HANDSHAKE
SPEECH = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": ["hello"]}))


class Told(NamedTuple):
    """What a satellite was told."""

    refusal: Refusal | None
    text: str


class Stage:
    """What a test needs; everything on it ends with it."""

    def __init__(self, folder: Path, stack: AsyncExitStack, log: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self.log = log
        self.hubs: list[LiveHub] = []
        self._stack = stack

    async def hub(self, password: str | None = PASSWORD, **config: Any) -> LiveHub:
        """Our hub with one client."""
        hub = await self._stack.enter_async_context(LiveHub(self.folder / "hub", **config))
        hub.add(KEY, password)
        self.hubs.append(hub)
        return hub

    async def joined(self, hub: LiveHub, device: str = "device") -> AsyncHiveMessageBusClient:
        """A satellite that the hub has admitted."""
        client = satellite(self.folder / device, hub.port, KEY, PASSWORD)
        self._stack.push_async_callback(client.close)
        await client.connect(timeout=LONG_S)
        return client

    async def serve(self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]], **site: Any) -> int:
        """Some other server; its port."""
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HOST, 0, **site).start()
        return int(runner.addresses[0][1])

    async def told_by(self, port: int, key: str = KEY, password: str = PASSWORD, **options: Any) -> Told:
        """Let a satellite try a hub, and return what its program is told."""
        tries_s = (options.pop("timeout"),) if "timeout" in options else TRIES_S
        folder = self.folder / options.pop("device", "device")
        for timeout_s in tries_s:
            client = satellite(folder, port, key, password, **options)
            with pytest.raises((HiveMindRefused, HandshakeTimedOut)) as error:
                await client.connect(timeout=timeout_s)
            await client.close()
            if error.value.refusal is not None:
                break
        return Told(error.value.refusal, str(error.value))

    async def told_after(self, end: tuple[int, str]) -> Told:
        """What our satellite makes of a connection that a hub closes like this."""
        async with LinkHub({}) as other:
            other.refuse_with = end
            return await self.told_by(other.port)

    async def told_by_log(self, code: str) -> Told:
        """What a satellite writes down that loses a session; it comes back by itself."""

        def lines() -> list[str]:
            return [x.getMessage() for x in self.log.records if x.name == "hivemind_bus_client.driver"]

        row = REFUSALS[code]
        await eventually(lambda: any(str(row) in line for line in lines()))
        return Told(row, next(line for line in lines() if str(row) in line))


@pytest.fixture
async def stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Stage]:
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stack:
        yield Stage(tmp_path, stack, caplog)


# --- who may come in ----------------------------------------------------------------------------------------


async def invalid_authorization(stage: Stage) -> Told:
    return await stage.told_by((await stage.hub()).port, useragent="two\nlines")


async def invalid_key(stage: Stage) -> Told:
    return await stage.told_by((await stage.hub()).port, "another-key")


async def wrong_password(stage: Stage) -> Told:
    return await stage.told_by((await stage.hub()).port, password="not this one", timeout=LONG_S)


async def no_password(stage: Stage) -> Told:
    return await stage.told_by((await stage.hub(password=None)).port)


async def weak_password(stage: Stage) -> Told:
    return await stage.told_by((await stage.hub("password1")).port, password="password1", timeout=LONG_S)


async def key_mismatch(stage: Stage) -> Told:
    hub = await stage.hub()
    await (await stage.joined(hub)).close()
    await hub.service.stop()
    hub.identity = HubIdentity(hub.identity.node_id, generate_static_key())
    await hub.start()
    return await stage.told_by(hub.port, timeout=LONG_S)


async def client_key_mismatch(stage: Stage) -> Told:
    hub = await stage.hub()
    await stage.joined(hub)
    return await stage.told_by(hub.port, device="replacement", timeout=LONG_S)


async def client_removed(stage: Stage) -> Told:
    hub = await stage.hub()
    client = await stage.joined(hub)
    hub.hub.db.delete(1)
    hub.hub._apply_row(1)
    await eventually(lambda: client.stopping)
    return Told(REFUSALS["invalid_key"], client.problem)


async def too_many_failures(stage: Stage) -> Told:
    hub = await stage.hub()
    for ahead_s in (*[0] * FREE_FAILURES, 1, 2, 4, 8, 16):
        hub.ahead_s += ahead_s
        assert (await closed(await hub.raw("another-key")))[0] == 1008
    hub.stand_still()
    hub.ahead_s += 10
    told = await stage.told_by(hub.port, "another-key")
    assert 1 < wait_in(told.text) <= LONGEST_WAIT_S - 10, "what is left of it"
    return told


async def too_many_connections(stage: Stage) -> Told:
    behind_a_proxy = WebSocketConfig(HOST, 0, proxies=TrustedProxies((ip_network("127.0.0.0/8"),)))
    hub = await stage.hub(websocket=behind_a_proxy, max_connections_per_address=1)
    headers = {"X-Forwarded-For": "203.0.113.5"}
    first = await hub.raw(KEY, headers)
    end = await closed(await hub.raw(KEY, headers))
    await first.close()
    return await stage.told_after(end)


async def too_many_messages(stage: Stage) -> Told:
    few = LimitsConfig(client=Rate(1, 0), address=Rate(), burst_s=20)
    hub = await stage.hub(limits=few)
    hub.stand_still()
    socket, link = await hub.session(KEY, PASSWORD)
    for _ in range(25):
        with contextlib.suppress(ConnectionClosed):
            await send(socket, link, SPEECH)
    code, reason = await closed(socket)
    assert (code, 10 <= wait_in(reason) <= 12) == (1013, True)
    told = await stage.told_by(hub.port)
    assert 0 < wait_in(told.text) <= wait_in(reason)
    return told


async def too_many_requests(stage: Stage) -> Told:
    """Over HTTP, to a client that our satellite is not: its session stays."""
    row = REFUSALS["too_many_requests"]
    return await stage.told_after((row.close_code, row.wire_reason))


async def busy(stage: Stage) -> Told:
    hub = await stage.hub()
    unfinished = [await hub.raw(KEY) for _ in range(MAX_HANDSHAKES_OF_ONE)]
    told = await stage.told_by(hub.port)
    for socket in unfinished:
        await socket.close()
    return told


async def database_unavailable(stage: Stage) -> Told:
    hub = await stage.hub()
    hub.database.unlink()
    return await stage.told_by(hub.port, "another-key")


# --- the handshake ------------------------------------------------------------------------------------------


async def protocol_too_old(stage: Stage) -> Told:
    hub = await stage.hub(min_protocol_version=3)
    end = await refused_frame(hub, {"envelope": password_envelope(PASSWORD, b"12345678")})
    assert end == (1008, "this node requires the v3 Noise handshake")
    assert (await stage.told_after(end)).refusal == REFUSALS["protocol_too_old"]
    return await stage.told_by(hub.port, max_protocol_version=2)


async def refused_frame(hub: LiveHub, shake: dict[str, Any]) -> tuple[int, str]:
    """How our hub ends a connection that begins the handshake like this."""
    socket = await hub.raw(KEY)
    await socket.send(json.dumps({"msg_type": SHAKE.value, "payload": shake}))
    return await closed(socket)


def noise(pattern: str, message: str) -> dict[str, Any]:
    return {"noise": {"pattern": pattern, "suite": "25519_ChaChaPoly_SHA256", "msg": message}}


async def no_common_cipher(stage: Stage) -> Told:
    shake = {"envelope": password_envelope(PASSWORD, b"12345678"), "ciphers": ["ROT13"], "encodings": ["JSON-HEX"]}
    return await stage.told_after(await refused_frame(await stage.hub(), shake))


async def not_offered(stage: Stage) -> Told:
    return await stage.told_after(await refused_frame(await stage.hub(), noise("NNpsk0", "00" * 32)))


async def malformed_handshake(stage: Stage) -> Told:
    return await stage.told_after(await refused_frame(await stage.hub(), noise("XXpsk2", "not hex")))


async def handshake_failed(stage: Stage) -> Told:
    hub = await stage.hub()
    await (await stage.joined(hub)).close()  # only a key that was met before is offered KKpsk0
    return await stage.told_after(await refused_frame(hub, noise("KKpsk0", "00" * 96)))


async def handshake_timeout(stage: Stage) -> Told:
    hub = await stage.hub()
    socket = await hub.raw(KEY)
    await socket.recv()
    hub.ahead_s = 31
    return await stage.told_after(await closed(socket))


async def unencrypted_frame(stage: Stage) -> Told:
    socket = await (await stage.hub()).raw(KEY)
    await socket.send(SPEECH.serialize())
    return await stage.told_after(await closed(socket))


# --- in a session -------------------------------------------------------------------------------------------


async def invalid_frame(stage: Stage) -> Told:
    socket, _ = await (await stage.hub()).session(KEY, PASSWORD)
    await socket.send(b"not of this session")
    return await stage.told_after(await closed(socket))


async def internal_error(stage: Stage) -> Told:
    hub = await stage.hub()
    client = await stage.joined(hub)

    def fails(message: Message) -> None:
        raise RuntimeError("a fault in the hub")

    hub.agent.respond = fails
    await client.emit(SPEECH)
    return await stage.told_by_log("internal_error")


async def slow_reader(stage: Stage) -> Told:
    hub = await stage.hub()
    socket, link = await hub.session(KEY, PASSWORD)
    await send(socket, link, SPEECH)
    [peer] = await eventually(lambda: list(hub.hub.peers))
    socket.transport.pause_reading()
    for number in range(2000):
        hub.agent.deliver(Message("flood", {"x": f"{number}" + "y" * 50_000}, {"destination": peer.peer_id}))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await eventually(lambda: REFUSALS["slow_reader"].sentence in stage.log.text)
    socket.transport.abort()
    [ended] = [each for each in hub.hub.rejections.recent() if each.code == "slow_reader"]
    return await stage.told_after((REFUSALS["slow_reader"].close_code, ended.reason))


async def shutting_down(stage: Stage) -> Told:
    hub = await stage.hub()
    await stage.joined(hub)
    await hub.service.stop()
    told = await stage.told_by_log("shutting_down")
    await hub.start()
    return told


async def not_permitted(stage: Stage) -> Told:
    return await stage.told_after((4003, "PROPAGATE is not allowed for this client"))


# --- what a satellite finds out by itself -------------------------------------------------------------------


async def origin_not_allowed(stage: Stage) -> Told:
    """A browser tells its page nothing of it but that there is no connection; who looks there finds the text."""
    hub = await stage.hub(websocket=WebSocketConfig(HOST, 0, origins=AllowedOrigins(())))
    with pytest.raises(InvalidStatus) as error:
        await hub.raw(KEY, {"Origin": "https://pages.example.org"})
    assert error.value.response.status_code == 403
    return Told(REFUSALS["origin_not_allowed"], (error.value.response.body or b"").decode())


async def unreachable(stage: Stage) -> Told:
    return await stage.told_by(free_port())


async def not_a_hub(stage: Stage) -> Told:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="It works!")

    return await stage.told_by(await stage.serve(page))


async def no_greeting(stage: Stage) -> Told:
    async def close_silently(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert socket._writer is not None
        await socket._writer.send_frame(b"", WSMsgType.CLOSE)
        with contextlib.suppress(asyncio.TimeoutError):
            await socket.receive(0.5)
        return socket

    return await stage.told_by(await stage.serve(close_silently))


async def serve_tls(stage: Stage, monkeypatch: pytest.MonkeyPatch, begins: int, trusted: bool) -> int:
    """A server with a certificate that begins to be valid so many days from now, for two days."""
    path = stage.folder / "server.pem"
    path.write_bytes(certificate(begins))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def never(request: web.Request) -> web.Response:
        raise AssertionError("the certificate was accepted")

    return await stage.serve(never, ssl_context=context)


def certificate(begins: int) -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    start = datetime.now(timezone.utc) + timedelta(days=begins)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)


async def tls_untrusted(stage: Stage) -> Told:
    with pytest.MonkeyPatch.context() as monkeypatch:
        port = await serve_tls(stage, monkeypatch, begins=-1, trusted=False)
        return await stage.told_by(port, host=f"wss://{HOST}", self_signed=False)


async def clock_wrong(stage: Stage) -> Told:
    with pytest.MonkeyPatch.context() as monkeypatch:
        for begins in (-9, 9):
            port = await serve_tls(stage, monkeypatch, begins, trusted=True)
            told = await stage.told_by(port, host=f"wss://{HOST}", self_signed=False)
            assert told.refusal == REFUSALS["clock_wrong"]
    return told


async def tls_mismatch(stage: Stage) -> Told:
    return await stage.told_by((await stage.hub()).port, host=f"wss://{HOST}")


# --- the table ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drive:
    """How to meet a row."""

    run: Callable[[Stage], Awaitable[Told]]
    logged: bool = True
    """The hub notices, and writes the row into its log."""
    read_as: str = ""
    """The row that the satellite reads where the released reason text tells no more."""


DRIVES = {
    "invalid_authorization": Drive(invalid_authorization),
    "invalid_key": Drive(invalid_key),
    "wrong_password": Drive(wrong_password, logged=False),
    "no_password": Drive(no_password),
    "weak_password": Drive(weak_password),
    "key_mismatch": Drive(key_mismatch, logged=False),
    "client_key_mismatch": Drive(client_key_mismatch),
    "protocol_too_old": Drive(protocol_too_old),
    "no_common_cipher": Drive(no_common_cipher),
    "not_offered": Drive(not_offered),
    "malformed_handshake": Drive(malformed_handshake),
    "handshake_failed": Drive(handshake_failed),
    "handshake_timeout": Drive(handshake_timeout),
    "busy": Drive(busy),
    "too_many_failures": Drive(too_many_failures),
    "too_many_connections": Drive(too_many_connections),
    "too_many_messages": Drive(too_many_messages),
    "too_many_requests": Drive(too_many_requests, logged=False),
    "slow_reader": Drive(slow_reader),
    "invalid_frame": Drive(invalid_frame),
    "unencrypted_frame": Drive(unencrypted_frame, read_as="invalid_frame"),
    "database_unavailable": Drive(database_unavailable),
    "internal_error": Drive(internal_error),
    "not_permitted": Drive(not_permitted, logged=False),
    "client_removed": Drive(client_removed, read_as="invalid_key"),
    "shutting_down": Drive(shutting_down, logged=False),
    "origin_not_allowed": Drive(origin_not_allowed),
    "no_greeting": Drive(no_greeting, logged=False),
    "tls_untrusted": Drive(tls_untrusted, logged=False),
    "clock_wrong": Drive(clock_wrong, logged=False),
    "tls_mismatch": Drive(tls_mismatch, logged=False),
    "unreachable": Drive(unreachable, logged=False),
    "not_a_hub": Drive(not_a_hub, logged=False),
}


def test_every_row_is_driven() -> None:
    assert DRIVES.keys() == REFUSALS.keys()


@pytest.mark.parametrize("code", DRIVES)
async def test_a_person_is_told_the_sentence_and_the_cure(code: str, stage: Stage) -> None:
    drive = DRIVES[code]
    told = await drive.run(stage)
    row = REFUSALS[drive.read_as or code]
    assert told.refusal == row, told.text
    assert row.sentence.rstrip(".") in told.text
    assert row.cure in told.text
    says_when = row.close_code == TRY_AGAIN_LATER and code != "too_many_requests"  # which says it in a header
    assert bool(wait_in(told.text)) is says_when
    by_the_hub = [x.getMessage() for x in stage.log.records if x.name.startswith("hivemind_core")]
    assert any(str(REFUSALS[code]) in line for line in by_the_hub) is drive.logged
    fields = [getattr(x, "hivemind_refusal", {}) for x in stage.log.records if x.name.startswith("hivemind_core")]
    structured = [each for each in fields if each.get("code") == code]
    assert bool(structured) is drive.logged
    assert all(each["peer"] and each["cure"] == REFUSALS[code].cure for each in structured)
    assert any(hub.hub.meter.refusals.of(code) for hub in stage.hubs) is drive.logged, "the figure"
    assert not any(secret in line for line in by_the_hub for secret in (KEY, PASSWORD))
