"""The floor with a bus behind it: a bare aiohttp server between satellites and a message bus, which carries the seven
frames of an utterance as a hub does, decrypted and encrypted, and looks into none of them.
`python -m bench.bare_relay --port N --bus N`.

Whose a frame of the bus is stands in its session id, which is searched for, not parsed. What came from a satellite and
comes round on the bus is dropped.
"""

from __future__ import annotations

import argparse
from typing import Any

import uvloop
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from .bare_link import UTTERANCE
from .bare_server import MAX_FRAME, Guest, serve

SESSION = b'"session_id"'
ID_BYTES = 36
HEAD = 64
"""Bytes of a frame in which its type stands."""
_ASKED = UTTERANCE.encode()


def session_of(frame: bytes) -> bytes:
    """The session id of a bus message."""
    start = frame.find(b'"', frame.find(SESSION) + len(SESSION)) + 1
    return frame[start : start + ID_BYTES]


class Relay:
    """Between the satellites and a bus."""

    def __init__(self, bus: ClientWebSocketResponse[Any]) -> None:
        self._bus = bus
        self._sessions: dict[bytes, Guest] = {}

    def entered(self, guest: Guest) -> None:
        return None

    async def came(self, guest: Guest, data: bytes) -> None:
        self._sessions[session_of(data)] = guest
        await self._bus.send_frame(data, WSMsgType.TEXT)

    def left(self, guest: Guest) -> None:
        self._sessions = {name: other for name, other in self._sessions.items() if other is not guest}

    async def answers(self) -> None:
        """Give the bus's answers to whom they are for, as long as there is a bus."""
        async for frame in self._bus:
            data = frame.data.encode()
            guest = None if _ASKED in data[:HEAD] else self._sessions.get(session_of(data))
            if guest is not None:
                await guest.send(data)


async def run(port: int, bus_port: int) -> None:
    url = f"ws://127.0.0.1:{bus_port}/core"
    async with ClientSession() as session, session.ws_connect(url, max_msg_size=MAX_FRAME) as bus:
        relay = Relay(bus)
        await serve(port, relay, relay.answers())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bus", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(run(options.port, options.bus))


if __name__ == "__main__":
    main()
