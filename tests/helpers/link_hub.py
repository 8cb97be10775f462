"""A hub small enough to read: `Link.hub` on aiohttp's server, with faults that a test can order."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from aiohttp import WSMsgType, web

from hivemind_bus_client.link import HubTerms, KeyNeeded, Link, Opened, Received, Refused, hub_offer
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import derive_psk, generate_static_key

from .processes import free_port

NODE_ID = "-----BEGIN PUBLIC KEY-----\nnot a real one, but as long lived\n-----END PUBLIC KEY-----"

derive = lru_cache(maxsize=None)(derive_psk)


class Peer:
    """One satellite's connection."""

    def __init__(self, socket: web.WebSocketResponse, link: Link, useragent: str, key: str) -> None:
        self.socket = socket
        self.link = link
        self.useragent = useragent
        self.key = key
        self.pattern = ""
        self.hello: dict[str, Any] | None = None

    async def flush(self) -> None:
        for frame in self.link.frames_to_send():
            await (self.socket.send_str(frame) if isinstance(frame, str) else self.socket.send_bytes(frame))

    async def close(self, code: int, reason: str) -> None:
        await self.socket.close(code=code, message=reason.encode())

    def abort(self) -> None:
        """Cut the connection without a word."""
        self.transport.abort()

    @property
    def transport(self) -> Any:
        return self.socket._req.transport  # type: ignore[union-attr]

    async def send(self, message: HiveMessage) -> None:
        self.link.send(message)
        await self.flush()

    async def tell(self, msg_type: str, data: dict[str, Any] | None = None, **context: Any) -> None:
        await self.send(HiveMessage(HiveMessageType.BUS, Message(msg_type, data or {}, context)))


class LinkHub:
    """Knows access keys and their passwords; answers utterances with `speak` and `ovos.utterance.handled`."""

    def __init__(self, clients: dict[str, str], *, binarize: bool = False) -> None:
        self.clients = clients
        self.binarize = binarize
        self.static_key = generate_static_key()
        self.pins: dict[str, bytes] = {}
        self.port = 0
        self.peers: list[Peer] = []
        self.received: list[HiveMessage] = []
        self.connections = 0
        self.pings = 0
        self.patterns: list[str] = []
        self.refuse_with: tuple[int, str] | None = None
        """Close every new connection with this."""
        self.denied_types: set[str] = set()
        self.received_hook: Callable[[Peer, HiveMessage], Any] | None = None
        """Called with every message that is no BUS one."""
        self.answer: Callable[[Peer, Message], Any] = self.speak
        self._runner: Any = None

    @property
    def utterances(self) -> list[HiveMessage]:
        """What came in of what satellites say."""
        return [message for message in self.received if (message.body or {}).get("type") == "recognizer_loop:utterance"]

    async def start(self) -> None:
        """Listen, on the port used before if there was one."""
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        self.port = self.port or free_port()  # which no outgoing connection takes while the hub is away
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Go away as a hub does that is shut down."""
        for peer in list(self.peers):
            await peer.close(1001, "the hub is shutting down")
        await self._runner.cleanup()

    async def kill(self) -> None:
        """Go away as a hub does whose machine lost its power."""
        for peer in list(self.peers):
            peer.abort()
        await self._runner.cleanup()

    def freeze(self) -> None:
        """Keep the connections but hear and say nothing any more, as after a network was unplugged."""
        for peer in self.peers:
            peer.transport.pause_reading()

    async def __aenter__(self) -> LinkHub:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        useragent, key = base64.b64decode(request.query["authorization"]).decode().split(":", 1)
        socket = web.WebSocketResponse(compress=False, timeout=0.2, autoping=False)
        await socket.prepare(request)
        if self.refuse_with is not None:
            await socket.close(code=self.refuse_with[0], message=self.refuse_with[1].encode())
        elif key not in self.clients:
            await socket.close(code=1008, message=b"invalid api key")
        else:
            await self._carry(Peer(socket, self._link(key), useragent, key))
        return socket

    def _link(self, key: str) -> Link:
        pin = self.pins.get(key)
        offer = hub_offer(binarize=self.binarize, encodings=("JSON-B64",), ciphers=("AES-GCM",), pinned=pin is not None)
        hello = {"pubkey": NODE_ID, "peer": "someone", "node_id": NODE_ID}
        return Link.hub(HubTerms(hello, offer, self.static_key, pinned_key=pin), time.monotonic())

    async def _carry(self, peer: Peer) -> None:
        self.peers.append(peer)
        try:
            await peer.flush()
            async for frame in peer.socket:
                if frame.type is WSMsgType.PING:
                    self.pings += 1
                    await peer.socket.pong(frame.data)
                    continue
                if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                for event in peer.link.receive(frame.data, time.monotonic()):
                    await self._handle(peer, event)
                await peer.flush()
        except ConnectionError:
            pass
        finally:
            self.peers.remove(peer)

    async def _handle(self, peer: Peer, event: Any) -> None:
        if isinstance(event, KeyNeeded):
            psk = await asyncio.to_thread(derive, self.clients[peer.key], event.node_id)
            for following in peer.link.key_derived(psk, time.monotonic()):
                await self._handle(peer, following)
        elif isinstance(event, Opened):
            peer.pattern = event.pattern
            self.patterns.append(event.pattern)
            self.pins.setdefault(peer.key, event.remote_key)
            if self.pins[peer.key] != event.remote_key:
                await peer.close(1008, "client Noise static key contradicts the pinned key")
        elif isinstance(event, Refused):
            await peer.close(event.close_code, event.reason)
        elif isinstance(event, Received):
            await self._received(peer, event.message)

    async def _received(self, peer: Peer, message: HiveMessage) -> None:
        if message.msg_type == HiveMessageType.HELLO:
            peer.hello = message.body
            return
        self.received.append(message)
        if message.msg_type == HiveMessageType.BUS:
            inner = Message(message.body["type"], message.body["data"], message.body["context"])
            if inner.msg_type in self.denied_types:
                await self._deny(peer, inner.msg_type)
            else:
                await self.answer(peer, inner)
        elif self.received_hook is not None:
            await self.received_hook(peer, message)

    async def _deny(self, peer: Peer, msg_type: str) -> None:
        data = {
            "denied_type": msg_type,
            "code": "acl_disallowed_type",
            "reason": f"{msg_type} not in allowed_types",
            "data": {},
        }
        await peer.tell("hive.policy.denied", data, destination=f"{peer.useragent}::4::kitchen::x")

    async def speak(self, peer: Peer, message: Message) -> None:
        if message.msg_type == "recognizer_loop:utterance":
            session = message.context["session"]
            text = message.data["utterances"][0]
            await peer.tell("speak", {"utterance": f"you said {text}"}, session=session, destination="sat")
            await peer.tell("ovos.utterance.handled", {}, session=session)


async def eventually(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until a condition holds and return it; fail after a while."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)
    return found


@contextlib.asynccontextmanager
async def silent_port():
    """A port where connections are accepted and nothing is ever said."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
