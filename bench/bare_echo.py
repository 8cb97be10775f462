"""The floor: a bare aiohttp WebSocket server that decrypts what comes, encrypts it again and sends it back, and a short
message after it, as a hub answers with two. `python -m bench.bare_echo --port N [--ear]`.

What is marked as for everybody goes to all the others instead, sealed for each of them. With `--ear` everything is
sound, which goes to the same handler as at a hub (`ear_plugin`).
"""

from __future__ import annotations

import argparse

import uvloop

from .bare_server import Guest, serve

HANDLED = b'{"msg_type":"bus","payload":{"type":"ovos.utterance.handled","data":{},"context":{"source":"hive"}}}'
FOR_ALL = b'"propagate"'
HEAD = 64
"""Bytes of a message in which its type stands."""


class Echo:
    """Sends everything back, or to all."""

    def __init__(self) -> None:
        self._guests: dict[Guest, None] = {}

    def entered(self, guest: Guest) -> None:
        self._guests[guest] = None

    async def came(self, guest: Guest, data: bytes) -> None:
        if FOR_ALL in data[:HEAD]:
            for other in self._guests:
                if other is not guest:
                    await other.send(data)
        else:
            await guest.send(data)
            await guest.send(HANDLED)

    def left(self, guest: Guest) -> None:
        del self._guests[guest]


class Ear:
    """Gives everything to the handler of sound."""

    def __init__(self) -> None:
        from . import ear_plugin  # what it is made of is no part of an echo

        self._note = ear_plugin.note

    def entered(self, guest: Guest) -> None:
        return None

    async def came(self, guest: Guest, data: bytes) -> None:
        self._note(data)

    def left(self, guest: Guest) -> None:
        return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ear", action="store_true")
    options = parser.parse_args()
    uvloop.run(serve(options.port, Ear() if options.ear else Echo()))


if __name__ == "__main__":
    main()
