"""What a satellite sends in its session, and what the agent says: it harms no bus, and reaches nobody else."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator

from fuzz.inputs import BREAK, HOSTILE_JSON, Choices, pieces
from fuzz.small_hub import ADMIN, CRYPTO_KEY, KEY, OTHER_PASSWORD, PASSWORD, TYPES, Wire, clients, knock, make_hub
from fuzz.still_loop import StillLoop, still_loop
from fuzz.watched_log import watched_log
from helpers import vectors
from helpers.link_pair import CLIENT_KEY, HUB_KEY
from hivemind_bus_client import codec
from hivemind_bus_client.bus_context import VERIFIED_SOURCE_KEY
from hivemind_bus_client.exceptions import InvalidJson
from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Malformed, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.serialization import encode_frame
from hivemind_core import bus_frames
from hivemind_core.asking import QUERY_ADDRESS
from hivemind_core.hub import Hub
from hivemind_core.peers import Peer
from hivemind_core.sessions import AGENT_ADDRESS, namespace
from hivemind_core.testing import RecordingAgent, quick_psk

MAX_PIECES = 12
MAX_FRAMES = 2000
SETTLE_TURNS = 12
TEXT, FRAME, AGENT = range(3)

WORDS: tuple[str, ...] = (
    *(f'"msg_type": "{kind.value}"' for kind in HiveMessageType),
    *(f'"type": "{kind}"' for kind in TYPES),
    f'"{VERIFIED_SOURCE_KEY}": ',
)


def seeds() -> Iterator[bytes]:
    said = {
        "type": "recognizer_loop:utterance",
        "data": {"utterances": ["x"]},
        "context": {"session": {"session_id": "s"}},
    }
    bus = {"msg_type": "bus", "payload": said}
    for who in range(2):
        for kind in HiveMessageType:
            for payload in (
                bus,
                said,
                {"flood_id": "f", "query_id": "q"},
                {},
                {"session": {"session_id": "n", "lang": "x"}},
            ):
                yield bytes([who, TEXT]) + json.dumps({"msg_type": kind.value, "payload": payload}).encode()
    for topic in ("speak", "hive.send.downstream", "hive.ping", "ovos.utterance.handled", "mycroft.stop"):
        answer = {"type": topic, "data": {"payload": bus, "msg_type": "bus"}, "context": {"destination": "{me}"}}
        yield bytes([0, TEXT]) + json.dumps(bus).encode() + BREAK + bytes([AGENT]) + json.dumps(answer).encode()
        yield (
            bytes([0, AGENT])
            + json.dumps({**answer, "context": {"destination": ["{me}", 5, {}], "session": 1}}).encode()
        )
    for message in (HiveMessage(HiveMessageType.BINARY, b"RIFF", bin_type=kind) for kind in range(8)):
        yield bytes([0, FRAME]) + encode_frame(message)
    for case in vectors.cases("envelope", "parse").values():
        yield bytes([0, TEXT]) + codec.dumps_bytes(case["frame"])
    for text in HOSTILE_JSON:
        yield (
            bytes([0, TEXT])
            + b'{"msg_type": "bus", "payload": {"type": "speak", "data": '
            + text
            + b', "context": {}}}'
        )
        yield bytes([0, AGENT]) + b'{"type": "speak", "data": ' + text + b', "context": {"destination": "{me}"}}'
    envelope = vectors.load("intercom")["hybrid"]["payload"]
    yield bytes([0, TEXT]) + json.dumps({"msg_type": "intercom", "payload": envelope}).encode()


class StrictAgent(RecordingAgent):
    """An assistant's bus: one malformed message takes everybody off it."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: dict[str, tuple[str | None, bool]] = {}
        """What each peer may do: the namespace of its sessions, and whether anything goes."""

    def emit(self, message: Message) -> bool:
        problem = bus_frames.problem_with(message)
        assert problem is None, f"{problem}: {message.msg_type}"
        assert bus_frames.decode(bus_frames.encode(message)) is not None
        limit = self.limits.get(str(message.context.get("peer")))
        if limit is not None:
            self._check(message, *limit)
        return super().emit(message)

    def _check(self, message: Message, prefix: str | None, is_admin: bool) -> None:
        context = message.context
        assert context["source"] in (context["peer"], QUERY_ADDRESS), "it speaks in another's name"
        assert VERIFIED_SOURCE_KEY not in context, "it claims an author that nobody has proven"
        if context.get("destination") != AGENT_ADDRESS:
            return
        assert message.msg_type in TYPES, f"{message.msg_type} was not allowed"
        if not is_admin:
            assert context["session"]["session_id"].startswith(f"{prefix}:"), "it speaks in another's session"


class Satellite:
    """A satellite with a session."""

    def __init__(self, hub: Hub, wire: Wire, peer: Peer, static_key: bytes) -> None:
        self._hub = hub
        self._wire = wire
        self.peer = peer
        self.link = Link.client(ClientTerms(static_key, {"session": {"session_id": "s"}, "site_id": "kitchen"}), 0.0)
        self.received: list[HiveMessage] = []
        self.frames = 0

    def pump(self) -> None:
        """Take what the hub says."""
        while self._wire.frames:
            self.frames += 1
            for event in self.link.receive(self._wire.frames.pop(0), 0.0):
                assert not isinstance(event, (Malformed, Refused)), f"the hub says what no client reads: {event}"
                if isinstance(event, KeyNeeded):
                    self.link.key_derived(quick_psk(PASSWORD, event.node_id), 0.0)
                elif isinstance(event, Received):
                    self.received.append(event.message)
            self.send(self.link.frames_to_send())
        assert self.frames <= MAX_FRAMES, "one message becomes many"

    def send(self, frames: list[bytes | str]) -> None:
        for frame in frames:
            if not self.peer.ended:
                self._hub.receive(self.peer, frame)

    def seal(self, body: bytes, binary: bool) -> None:
        """Send anything within the session."""
        session = self.link._session
        assert session is not None
        self.send(list(session.seal(body, binary)))


async def join(hub: Hub, key: str, static_key: bytes) -> Satellite:
    wire, peer = await knock(hub, b64encode(f"fuzz:{key}".encode()).decode())
    assert peer is not None
    satellite = Satellite(hub, wire, peer, static_key)
    satellite.pump()
    await _settle([satellite])
    assert peer.registered
    return satellite


async def _settle(satellites: list[Satellite]) -> None:
    for _ in range(SETTLE_TURNS):
        for satellite in satellites:
            satellite.pump()
        await asyncio.sleep(0)


def run(data: bytes) -> None:
    choices = Choices(data)
    is_admin = choices.byte() % 2 == 1
    with watched_log(PASSWORD, OTHER_PASSWORD, CRYPTO_KEY), still_loop() as loop:
        loop.run_until_complete(_talk(loop, pieces(choices.rest(), MAX_PIECES), is_admin))


async def _talk(loop: StillLoop, said: list[bytes], is_admin: bool) -> None:
    agent = StrictAgent()
    hub = make_hub(loop, clients(), agent)
    await hub.start()
    me, you = (
        await join(hub, ADMIN if is_admin else KEY, CLIENT_KEY),
        await join(hub, KEY if is_admin else ADMIN, HUB_KEY),
    )
    prefix = None if is_admin else namespace(hub.identity.node_id, me.peer.client.client_id)
    agent.limits[me.peer.peer_id] = (prefix, is_admin)
    for piece in said:
        text = piece.replace(b"{me}", me.peer.peer_id.encode()).replace(b"{you}", you.peer.peer_id.encode())
        kind, body = text[:1], text[1:]
        if kind == bytes([AGENT]):
            _answer(agent, body, me, you)
        elif not me.peer.ended:
            me.seal(body, kind == bytes([FRAME]))
        await _settle([me, you])
    await asyncio.sleep(120)
    hub.tick()
    await hub.refresh()
    await _settle([me, you])
    assert not you.peer.ended, "somebody else was thrown out"
    assert len(hub.peers.connections()) == 2 - me.peer.ended
    await hub.stop()


def _answer(agent: RecordingAgent, text: bytes, me: Satellite, you: Satellite) -> None:
    """Let the agent's side say something, as its bus client reads it."""
    try:
        message = bus_frames.message_of(bus_frames.decode(text))
    except InvalidJson:
        return
    if message is None or bus_frames.harm_in(
        {"type": message.msg_type, "data": message.data, "context": message.context}
    ):
        return
    before = len(you.received)
    agent.deliver(message)
    you.pump()
    is_for_you = you.peer.peer_id.encode() in text or message.msg_type.startswith("hive.")
    assert is_for_you or len(you.received) == before, "somebody heard what was not for them"
