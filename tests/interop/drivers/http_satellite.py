"""A satellite over HTTP under remote control: the commands and events of `satellite.py`, as far as they fit.

It runs under the interpreter of a released environment and uses nothing but what the released class documents. Its
handlers are registered before it connects; `connect` runs beside the commands, since it may take its time.

    python http_satellite.py --port N --key K --password P [--more JSON]

Events: connected (answer), failed (error, text), speak (utterance), handled, denied (the denial's
data), sent, not_sent (error, text), closed (answer), state (connected), done.
Commands: connect, utterance (text), message (type, data), binary (size), disconnect, state, close.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading

from ovos_utils.fakebus import FakeBus

from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message

printing = threading.Lock()


def say(event, **fields):
    with printing:
        print(json.dumps({"event": event, **fields}, default=str), flush=True)


def listen(client):
    client.on_mycroft("speak", lambda message: say("speak", utterance=message.data["utterance"]))
    client.on_mycroft("ovos.utterance.handled", lambda message: say("handled"))
    client.on_mycroft("hive.policy.denied", lambda message: say("denied", **message.data))


def attempt(event, method, *args):
    try:
        answer = method(*args)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
        say("failed" if event in ("connected", "closed") else "not_sent", error=type(error).__name__, text=str(error))
    else:
        say(event, answer=answer if isinstance(answer, (dict, type(None))) else type(answer).__name__)


def message_of(command):
    if command["command"] == "utterance":
        return HiveMessage(
            HiveMessageType.BUS,
            Message("recognizer_loop:utterance", {"utterances": [command["text"]], "lang": "en-us"}),
        )
    if command["command"] == "message":
        return HiveMessage(HiveMessageType.BUS, Message(command["type"], command.get("data", {})))
    kind = HiveMindBinaryPayloadType.RAW_AUDIO
    return HiveMessage(HiveMessageType.BINARY, b"\0\xff" * (command["size"] // 2), bin_type=kind)


def obey(client, command):
    name = command["command"]
    if name == "connect":
        threading.Thread(target=attempt, args=("connected", client.connect, FakeBus()), daemon=True).start()
    elif name == "disconnect":
        attempt("closed", client.disconnect)
    elif name == "state":
        say("state", connected=client.connected.is_set())
    elif name == "binary":
        attempt("sent", client.emit, message_of(command), HiveMindBinaryPayloadType.RAW_AUDIO)
    else:
        attempt("sent", client.emit, message_of(command))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="http://127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--more", type=json.loads, default={}, help="JSON object: further arguments of the client")
    options = parser.parse_args()
    client = HiveMindHTTPClient(
        options.key,
        password=options.password,
        host=options.host,
        port=options.port,
        useragent="InteropDriver",
        **options.more,
    )
    listen(client)
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "close":
            break
        obey(client, command)
    client.shutdown()
    say("done")
    os._exit(0)  # a connect that still waits would hold it


if __name__ == "__main__":
    main()
