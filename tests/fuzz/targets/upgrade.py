"""The WebSocket transport, byte by byte: the upgrade request, and frames of who has no session."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterator

from fuzz.inputs import Choices
from fuzz.small_hub import CRYPTO_KEY, KEY, OLD_CLIENT, OTHER_PASSWORD, PASSWORD, RSA_CLIENT, clients, make_hub
from fuzz.still_loop import MemoryTransport, StillLoop, still_loop
from fuzz.watched_log import watched_log
from fuzz.web_frames import BINARY, CLOSE, PING, PONG, TEXT, read, written
from hivemind_core.config import WebSocketConfig
from hivemind_core.hub import Hub
from hivemind_core.proxies import TrustedProxies, networks
from hivemind_core.transports.websocket import WebSocketTransport

MAX_CHUNKS = 200
MAX_ANSWER = 64 * 1024
PATIENCE_S = 80.0
SETTLE_TURNS = 12
STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d) ")


def token(key: str) -> str:
    return b64encode(f"fuzz:{key}".encode()).decode()


TOKENS = tuple(map(token, (KEY, RSA_CLIENT, OLD_CLIENT, "nobody's", "")))
HEADERS = (
    *("Host: h", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
MORE = (
    *(
        "Origin: http://evil.example",
        "X-Forwarded-For: 198.51.100.1",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
    ),
    *(
        "Expect: 100-continue",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Cookie: a=b",
        "Sec-WebSocket-Protocol: x",
    ),
    *("Content-Encoding: gzip", "X-Forwarded-Proto: https", "Authorization: Basic eDp5", "Accept-Encoding: br"),
)
SHAKES = (
    '{"msg_type": "shake", "payload": {"noise": {"pattern": "XXpsk2", "suite": "25519_AESGCM_SHA256", "msg": "00"}}}',
    '{"msg_type": "shake", "payload": {"envelope": "00", "encodings": ["JSON-B64"], "ciphers": ["AES-GCM"]}}',
    '{"msg_type": "shake", "payload": {"pubkey": "x"}}',
    '{"msg_type": "bus", "payload": {"type": "speak", "data": {}, "context": {}}}',
)

WORDS: tuple[str, ...] = (
    *(f"{line}\r\n" for line in (*HEADERS, *MORE)),
    *TOKENS,
)


def request(who: str, *more: str, path: str = "/", method: str = "GET") -> bytes:
    """Return an upgrade request."""
    lines = (f"{method} {path}?authorization={who} HTTP/1.1", *HEADERS, *more, "", "")
    return "\r\n".join(lines).encode()


def seeds() -> Iterator[bytes]:
    for who in TOKENS:
        yield b"\0" + request(who)
        for shake in SHAKES:
            yield (
                b"\0" + request(who) + written(TEXT, shake.encode()) + written(PING, b"x") + written(CLOSE, b"\x03\xe8")
            )
    for line in MORE:
        yield b"\0" + request(TOKENS[0], line) + b"hello"
    yield b"\7" + request(TOKENS[0]) + written(TEXT, b'{"msg', final=False) + written(0, SHAKES[0].encode())
    yield b"\0" + request(TOKENS[2]) + written(BINARY, bytes(40)) + written(PONG, b"")
    yield b"\1" + request(TOKENS[0], path="/_healthz")
    yield b"\0" + request(TOKENS[0], method="POST") + request(TOKENS[0])
    yield b"\0GET / HTTP/1.1\r\n\r\n"
    yield b"\0GET /?authorization=" + TOKENS[0].encode() + b"&authorization=x HTTP/1.1\r\nHost: h\r\n\r\n"
    yield b"\0" + request(TOKENS[0]) + bytes([0x81, 0xFF]) + bytes(7) + b"\xff" + bytes(4)
    yield b"\0" + request(TOKENS[0], "X: " + "a" * 5000)


def run(data: bytes) -> None:
    choices = Choices(data)
    size, sent = choices.byte(), choices.rest()
    with watched_log(PASSWORD, OTHER_PASSWORD, CRYPTO_KEY), still_loop() as loop:
        loop.run_until_complete(_serve(loop, chunks(sent, size)))


async def _serve(loop: StillLoop, parts: list[bytes]) -> None:
    hub = make_hub(loop, clients(), min_protocol_version=0)
    proxies = TrustedProxies(networks(["203.0.113.0/24"]), ("x-forwarded-for",))
    transport = WebSocketTransport(hub, WebSocketConfig(proxies=proxies))
    await transport.start()
    connection = MemoryTransport(loop)
    await converse(hub, connection, parts)
    _check(bytes(connection.written), sum(map(len, parts)))
    await transport.stop()
    check_end(hub, loop)


def chunks(sent: bytes, size: int) -> list[bytes]:
    """Return what comes at a time: all, or so many bytes."""
    if not size:
        return [sent]
    size = max(size, len(sent) // MAX_CHUNKS + 1)
    return [sent[at : at + size] for at in range(0, len(sent), size)]


async def settle() -> None:
    """Let everything that can happen at once happen."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)


async def converse(hub: Hub, connection: MemoryTransport, parts: list[bytes]) -> None:
    """Send, and stay until the hub has had enough; then go."""
    for part in parts:
        connection.feed(part)
        await settle()
    for _ in range(4):
        await asyncio.sleep(PATIENCE_S / 4)
        hub.tick()
        assert not any(peer.link.is_open for peer in hub.peers.connections()), "a stranger has a session"
    assert not list(hub.peers), "a stranger was let in"
    connection.hang_up()
    await settle()


def check_end(hub: Hub, loop: StillLoop) -> None:
    """Nothing is left of a connection."""
    assert not hub.peers.connections(), "a connection is left"
    assert loop.server.strangers.bytes_held == 0, "bytes of a connection that is gone are counted"  # type: ignore[attr-defined]


def _check(answer: bytes, size: int) -> None:
    assert len(answer) <= MAX_ANSWER + 8 * size, "much is said to a stranger"
    for status in STATUS.findall(answer):
        assert int(status) < 500, f"the hub failed: {answer[:300]!r}"
    head, upgraded, frames = answer.partition(b"\r\n\r\n")
    if not upgraded or not head.startswith(b"HTTP/1.1 101 "):
        return
    closed = False
    for opcode, payload in read(frames):
        assert not closed, "a frame after the close frame"
        closed = opcode == CLOSE
        assert opcode in (TEXT, CLOSE, PING, PONG), "a binary frame before a session"
        if opcode == TEXT:
            assert json.loads(payload)["msg_type"] in ("hello", "shake"), "more than the greeting was said"
