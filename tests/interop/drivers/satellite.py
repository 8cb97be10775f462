"""A satellite under remote control: JSON commands on standard input, JSON events on standard output.

It runs under any interpreter that has a `hivemind_bus_client`, ours or the released one, and uses nothing but
what the released one documents, so the same lines prove that ours stands in for it.

    python satellite.py --port N [--key K --password P]    (without key and password: the identity file's)

Events: connected, failed (error, text), speak (utterance), handled, denied (the denial's data), open, close,
reconnecting, refused (reason), sent, not_sent (error, text), done.
Commands: utterance (text), message (type, data), binary (size, kind), close.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message

printing = threading.Lock()


def say(event, **fields):
    with printing:
        print(json.dumps({"event": event, **fields}), flush=True)


def listen(client):
    client.on_mycroft("speak", lambda message: say("speak", utterance=message.data["utterance"]))
    client.on_mycroft("ovos.utterance.handled", lambda message: say("handled"))
    client.on_mycroft("hive.policy.denied", lambda message: say("denied", **message.data))
    for event in ("open", "close", "reconnecting"):
        client.emitter.on(event, lambda *_, name=event: say(name))
    client.emitter.on("auth_rejected", lambda reason=None: say("refused", reason=str(reason)))


def connect(client):
    try:
        client.connect()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
        say("failed", error=type(error).__name__, text=str(error), refused=isinstance(error, ConnectionError))
    else:
        say("connected")


def message_of(command):
    if command["command"] == "utterance":
        return HiveMessage(
            HiveMessageType.BUS,
            Message("recognizer_loop:utterance", {"utterances": [command["text"]], "lang": "en-us"}),
        )
    if command["command"] == "message":
        return HiveMessage(HiveMessageType.BUS, Message(command["type"], command.get("data", {})))
    kind = HiveMindBinaryPayloadType[command.get("kind", "RAW_AUDIO")]
    return HiveMessage(HiveMessageType.BINARY, b"\x01" * command["size"], bin_type=kind)


def obey(client, command):
    try:
        client.emit(message_of(command))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
        say("not_sent", error=type(error).__name__, text=str(error))
    else:
        say("sent")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key")
    parser.add_argument("--password")
    options = parser.parse_args()
    client = HiveMessageBusClient(
        options.key,
        password=options.password,
        host=options.host,
        port=options.port,
        useragent="InteropDriver",
    )
    listen(client)
    threading.Thread(target=connect, args=(client,), daemon=True).start()
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "close":
            break
        obey(client, command)
    client.close()
    say("done")


if __name__ == "__main__":
    main()
