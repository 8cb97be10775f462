"""What the parts of an utterance and its answer take by themselves, on the hub's own objects, in one process without
sockets. `python -m bench.stages --of ours|echo|relay` prints microseconds of processor time a round trip, as JSON.

What a function takes is the least of many rounds; the hub as a whole, with frames that are new each time, likewise. Its
`rest` is what remains of that after the parts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from helpers.bus_stub import answers
from hivemind_bus_client import codec
from hivemind_bus_client.message import HiveMessage, Message
from hivemind_bus_client.noise import CipherState
from hivemind_bus_client.outgoing import Outgoing
from hivemind_core import bus_frames, routing, sessions
from hivemind_core.actions import Origin
from hivemind_core.agent_side import AgentSide
from hivemind_core.testing import MemoryHive, MemorySatellite, RecordingAgent

from .bare_echo import HANDLED
from .bare_link import BareCipher
from .satellites import QUESTION, utterance

CALLS, ROUNDS = 400, 40
FRAMES, FRAME_ROUNDS = 1_000, 10
REST_S = 60.0
"""Between rounds, by the hub's clock: rates are limited."""
SUITE = "25519_ChaChaPoly_SHA256"
PLAIN = b"\0"
Parts = dict[str, float]


def least_us(call: Callable[[], Any]) -> float:
    """The least processor time of a call in any of the rounds, in microseconds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for _ in range(CALLS):
            call()
        best = min(best, time.thread_time() - begun)
    return best * 1e6 / CALLS


class BusAgent(RecordingAgent):
    """Writes each message as the frame that a bus would get."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []

    def emit(self, message: Message) -> bool:
        self.frames.append(bus_frames.encode(message))
        return True


class Sink:
    """A connection that swallows everything."""

    remote = "127.0.0.1"
    queued = 0

    def send(self, frames: list[bytes | str]) -> None:
        return None

    def has_room(self, size: int) -> bool:
        return True

    def close(self, code: int, reason: str) -> None:
        return None


async def ours() -> Parts:
    """The parts of our hub."""
    agent = BusAgent()
    async with MemoryHive(agent=agent) as hive:
        session = {"session_id": str(uuid4()), "site_id": "bench", "lang": "en-us"}
        satellite = await hive.join("bench", **session)
        agent.frames.clear()
        satellite.peer.conn = Sink()
        gc.freeze()
        parts = in_hub(hive, satellite, utterance(QUESTION, session))
        whole = through(hive, satellite, agent, utterance(QUESTION, session))
        return {**parts, "rest_us": max(0.0, whole - sum(parts.values()))}


def in_hub(hive: MemoryHive, satellite: MemorySatellite, message: HiveMessage) -> Parts:
    """Each part by itself."""
    hub, peer = hive.hub, satellite.peer
    here = Origin(peer.peer_id, peer.client)
    asked = codec.dumps_bytes(message.as_dict)
    (action,) = routing.route(message, here, hub.mesh.here)

    def stamp() -> Message:
        return sessions.stamped(action.message, peer.peer_id, peer.session, peer.session_prefix, "")

    stamped = stamp()
    frames = on_the_bus(stamped)
    heard = [bus_frames.message_of(bus_frames.decode(frame)) for frame in frames]
    sent: list[HiveMessage] = []
    side = AgentSide(hub.peers, hive.agent, hub.mesh, hub.company, lambda to, answer: sent.append(answer), lambda: True)
    for each in heard:
        side.deliver(each)
    out = list(sent)
    plain, cipher = [PLAIN + Outgoing(each).text for each in out], state()
    return {
        "decrypt_us": decrypt_us(PLAIN + asked),
        "decode_us": least_us(lambda: HiveMessage.from_wire(codec.loads(asked))),
        "route_us": least_us(lambda: routing.route(message, here, hub.mesh.here)),
        "stamp_us": least_us(stamp),
        "admit_us": least_us(lambda: (bus_frames.problem_with(stamped), hub.policies.review(stamped, peer.client))),
        "bus_us": least_us(lambda: bus_frames.encode(stamped))
        + least_us(lambda: [bus_frames.message_of(bus_frames.decode(frame)) for frame in frames]),
        "back_us": least_us(lambda: [side.deliver(each) for each in heard] and sent.clear()),
        "encode_us": least_us(lambda: [Outgoing(each).text for each in out]),
        "encrypt_us": least_us(lambda: [cipher.encrypt(text) for text in plain]),
    }


def state() -> CipherState:
    """One direction of a session."""
    return CipherState(SUITE, bytes(range(32)))


def decrypt_us(plain: bytes) -> float:
    """What it takes to decrypt a frame; as many are encrypted before as are wanted."""
    there, here = state(), state()
    frames = iter([there.encrypt(plain) for _ in range(CALLS * ROUNDS)])
    return least_us(lambda: here.decrypt(next(frames)))


def on_the_bus(stamped: Message) -> list[str]:
    """The frames that come from a bus for one that went there: itself, and the assistant's two."""
    frame = bus_frames.encode(stamped).decode()
    return [frame, *map(json.dumps, answers(json.loads(frame)))]


def through(hive: MemoryHive, satellite: MemorySatellite, agent: BusAgent, message: HiveMessage) -> float:
    """All that the hub does for a round trip, from the frame of a satellite to the frames for it, in microseconds."""
    best = float("inf")
    for _ in range(FRAME_ROUNDS):
        hive.clock.advance(REST_S)
        asked = [sealed(satellite, message) for _ in range(FRAMES)]
        begun = time.thread_time()
        for frame in asked:
            hive.hub.receive(satellite.peer, frame)
        spent = time.thread_time() - begun
        heard = [frame for asked in agent.frames for frame in on_the_bus(bus_frames.message_of(json.loads(asked)))]
        if len(heard) != 3 * FRAMES:
            raise SystemExit(f"the hub let {len(agent.frames)} of {FRAMES} utterances pass")
        agent.frames.clear()
        begun = time.thread_time()
        for frame in heard:
            hive.hub.deliver(bus_frames.message_of(bus_frames.decode(frame)))
        best = min(best, spent + time.thread_time() - begun)
    return best * 1e6 / FRAMES


def sealed(satellite: MemorySatellite, message: HiveMessage) -> bytes | str:
    """The frame that carries a message of a satellite."""
    satellite.link.send(message)
    (frame,) = satellite.link.frames_to_send()
    return frame


async def echo() -> Parts:
    """The parts of the bare echo: what comes goes back, and a short message."""
    asked = utterance(QUESTION, {"session_id": str(uuid4()), "site_id": "bench", "lang": "en-us"}).serialize().encode()
    return bare(asked, [asked, HANDLED])


async def relay() -> Parts:
    """The parts of the bare relay: what an assistant's answers are."""
    body = utterance(QUESTION, {"session_id": str(uuid4()), "site_id": "bench", "lang": "en-us"}).body
    asked = codec.dumps_bytes(body)
    return bare(asked, [json.dumps(said).encode() for said in answers(json.loads(asked))])


def bare(asked: bytes, said: Sequence[bytes]) -> Parts:
    """Decrypt one, encrypt the others."""
    there, here = BareCipher(), BareCipher()
    frames = iter([there.seal(asked) for _ in range(CALLS * ROUNDS)])
    return {
        "decrypt_us": least_us(lambda: here.open(next(frames))),
        "encrypt_us": least_us(lambda: [there.seal(each) for each in said]),
    }


WHOSE = {"ours": ours, "echo": echo, "relay": relay}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--of", choices=WHOSE, required=True)
    parts = asyncio.run(WHOSE[parser.parse_args().of]())
    print(json.dumps({"event": "stages", "parts": parts}), flush=True)


if __name__ == "__main__":
    main()
