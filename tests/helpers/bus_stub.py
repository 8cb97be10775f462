"""A small stand-in for the message bus of a voice assistant, with one skill that repeats what it hears.

`python bus_stub.py [--port N] [--record FILE] [--habit NAME]` prints one JSON line once it listens. Every frame goes to
every connection, the sender's included, as an OVOS bus does it; an utterance is answered with `speak` and
`ovos.utterance.handled`, source and destination swapped. `--record` writes every frame to a file, one a line.
`HABITS` are other ways in which an assistant may take an utterance.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

PATH = "/core"
UTTERANCES = ("recognizer_loop:utterance", "ovos.utterance.handle")
GREETING = {"type": "connected", "data": {}, "context": {"session": {"session_id": "default"}}}
MAX_FRAME = 25 * 1024 * 1024
Habit = Callable[[dict[str, Any]], list[dict[str, Any]]]


def reply_context(context: dict[str, Any]) -> dict[str, Any]:
    """The context of an answer: what came from A for B goes from B to A."""
    swapped = dict(context)
    if "destination" in context:
        swapped["source"] = context["destination"]
        swapped["destination"] = context.get("source")
    return swapped


def answers(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What the skill says to a message: nothing, or two messages."""
    context = message.get("context") or {}
    if message.get("type") not in UTTERANCES or context.get("_namespace_compat_twin"):
        return []
    data = message.get("data") or {}
    context = reply_context(context)
    said = {"utterance": f"you said: {data['utterances'][0]}", "lang": data.get("lang", "en-us")}
    return [
        {"type": "speak", "data": {**said, "expect_response": False, "meta": {}}, "context": context},
        {"type": "ovos.utterance.handled", "data": {}, "context": context},
    ]


def declines(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What an assistant sends that understands nothing and has no skill to say so."""
    said = answers(message)
    if not said:
        return []
    handled = said[-1]
    return [{**handled, "type": "complete_intent_failure"}, handled]


def keeps_silent(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What an assistant sends that is stuck."""
    return []


def says_words(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What a talkative assistant sends: every word by itself."""
    said = answers(message)
    if not said:
        return []
    speak, handled = said
    words = speak["data"]["utterance"].split()
    return [*({**speak, "data": {**speak["data"], "utterance": word}} for word in words), handled]


def says_twice(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What newer OVOS sends: a renamed message, and its twin under the old name."""
    said = answers(message)
    if not said:
        return []
    speak, handled = said
    twin = {**speak, "context": {**speak["context"], "_namespace_compat_twin": True}}
    return [{**speak, "type": "ovos.utterance.speak"}, twin, handled]


HABITS: dict[str, Habit] = {
    "answers": answers,
    "declines": declines,
    "keeps silent": keeps_silent,
    "says words": says_words,
    "says twice": says_twice,
}


class Bus:
    def __init__(self, record: TextIO | None, habit: Habit) -> None:
        self._peers: set[ServerConnection] = set()
        self._record = record
        self._habit = habit

    async def handle(self, peer: ServerConnection) -> None:
        self._peers.add(peer)
        try:
            await peer.send(json.dumps(GREETING))
            async for frame in peer:
                text = frame if isinstance(frame, str) else frame.decode()
                self._send_all(text)
                for message in self._habit(json.loads(text)):
                    self._send_all(json.dumps(message))
        finally:
            self._peers.discard(peer)

    def _send_all(self, text: str) -> None:
        if self._record:  # before anybody can act on it
            self._record.write(text + "\n")
            self._record.flush()
        broadcast(self._peers, text)


def only_core(peer: ServerConnection, request: Request) -> Response | None:
    return None if request.path == PATH else peer.respond(404, "not a bus\n")


async def run(port: int, record: TextIO | None, habit: Habit = answers) -> None:
    bus = Bus(record, habit)
    async with serve(
        bus.handle,
        "127.0.0.1",
        port,
        process_request=only_core,
        compression=None,
        ping_interval=None,
        max_size=MAX_FRAME,
    ) as server:
        bound = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"event": "ready", "port": bound}), flush=True)
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--habit", choices=HABITS, default="answers")
    options = parser.parse_args()
    record = options.record.open("w", encoding="utf-8") if options.record else None
    asyncio.run(run(options.port, record, HABITS[options.habit]))


if __name__ == "__main__":
    main()
