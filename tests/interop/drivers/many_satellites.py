"""Satellites of one make under remote control, in one process: JSON commands on standard input, JSON events on output.

It runs under any interpreter that has a `hivemind_bus_client` of protocol version 3, ours or the released one, and
uses nothing but what the latter documents. Each satellite has a name, and an identity of its own.

Commands: open (name, port, key, password, kind: threads, asyncio or http), say (name, text), fail (name: its next
handler of messages raises), trust (name, key), close (name).
Events, each with the name: connected, failed (error, text), refused, speak (utterance, or its size where it is long),
handled (before a handler raises), said, not_said (text), trusted, closed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading

from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

SITE = "kitchen"
LONG = 1000
printing = threading.Lock()


def tell(event, name, **fields):
    with printing:
        sys.stdout.write(json.dumps({"event": event, "name": name, **fields}) + "\n")  # whole, between lines of the log
        sys.stdout.flush()


def spoken(name, message):
    said = message.data["utterance"]
    tell("speak", name, utterance=said if len(said) < LONG else len(said))


def identity_of(name):
    identity = NodeIdentity(app_name=name, shared_fallback=False)
    if not identity.public_key:
        identity.create_keys()
        identity.save()
    return identity


def made(command):
    arguments = {name: command[name] for name in ("password", "port")}
    arguments["identity"] = identity_of(command["name"])
    kind = command.get("kind", "threads")
    if kind == "asyncio":
        from hivemind_bus_client.async_client import AsyncHiveMessageBusClient as Client
    elif kind == "http":
        from hivemind_bus_client.http_client import HiveMindHTTPClient as Client
    else:
        from hivemind_bus_client import HiveMessageBusClient as Client
    scheme = "http" if kind == "http" else "ws"
    return Client(command["key"], host=f"{scheme}://127.0.0.1", **arguments)


class Satellite:
    def __init__(self, command):
        self.name = command["name"]
        self.loop = asyncio.new_event_loop() if command.get("kind") == "asyncio" else None
        self.client = made(command)
        self.client.on_mycroft("speak", lambda message: spoken(self.name, message))
        threading.Thread(target=self.connect, daemon=True).start()

    def connect(self):
        try:
            if self.loop is not None:
                self.loop.run_until_complete(self.client.connect(site_id=SITE))
            else:
                self.client.connect(site_id=SITE)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
            tell("failed", self.name, error=type(error).__name__, text=str(error))
            return
        tell("connected", self.name)
        if self.loop is not None:
            self.loop.run_forever()

    def say(self, text):
        bus = Message("recognizer_loop:utterance", {"utterances": [text], "lang": "en-us"})
        message = HiveMessage(HiveMessageType.BUS, bus)
        try:
            if self.loop is not None:
                asyncio.run_coroutine_threadsafe(self.client.emit(message), self.loop).result(10)
            else:
                self.client.emit(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
            tell("not_said", self.name, text=str(error))
        else:
            tell("said", self.name)

    def fail(self):
        def raises(message):
            tell("handled", self.name)
            raise ValueError("a slip in a handler")

        self.client.on(HiveMessageType.BUS, raises)

    def close(self):
        if self.loop is not None:
            asyncio.run_coroutine_threadsafe(self.client.close(), self.loop).result(10)
        else:
            (self.client.close if hasattr(self.client, "close") else self.client.shutdown)()
        tell("closed", self.name)


def main():
    satellites = {}
    for line in sys.stdin:
        command = json.loads(line)
        name, verb = command["name"], command["command"]
        if verb == "open":
            satellites[name] = Satellite(command)
        elif verb == "trust":
            identity = identity_of(name)
            identity.add_trusted_key("somebody", command["key"])
            identity.save()
            tell("trusted", name)
        elif verb == "say":
            satellites[name].say(command["text"])
        elif verb == "fail":
            satellites[name].fail()
        elif verb == "close":
            satellites.pop(name).close()


if __name__ == "__main__":
    main()
