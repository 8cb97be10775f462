"""A satellite under remote control: JSON commands on standard input, JSON events on standard output.

It runs under any interpreter that has a `hivemind_bus_client`, ours or a released one of any generation, and uses
nothing but what the oldest of them documents, so the same lines prove that ours stands in for all of them.

    python satellite.py --port N [--key K --password P]    (without key and password: the identity file's)

Events: connected (encrypted, encoding, cipher of a link below v3), failed (error, text), speak (utterance), handled,
denied (the denial's data), received (kind, size, digest, name), open, close, reconnecting, refused (reason), sent,
not_sent (error, text), problem (text), done.
Commands: utterance (text), message (type, data), binary (size, kind, name), problem, close.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import threading

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.client import BinaryDataCallbacks
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message

printing = threading.Lock()


def say(event, **fields):
    with printing:
        print(json.dumps({"event": event, **fields}), flush=True)


class Received(BinaryDataCallbacks):
    def handle_receive_tts(self, bin_data, utterance, lang, file_name):
        self.say("TTS_AUDIO", bin_data, file_name)

    def handle_receive_file(self, bin_data, file_name):
        self.say("FILE", bin_data, file_name)

    @staticmethod
    def say(kind, data, name):
        say("received", kind=kind, size=len(data), digest=hashlib.sha256(data).hexdigest(), name=name)


def plain(value):
    return getattr(value, "value", value)


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
        key, encoding, cipher = (plain(getattr(client, x, None)) for x in ("crypto_key", "json_encoding", "cipher"))
        say("connected", encrypted=bool(key), encoding=encoding, cipher=cipher)


def message_of(command):
    if command["command"] == "utterance":
        return HiveMessage(
            HiveMessageType.BUS,
            Message("recognizer_loop:utterance", {"utterances": [command["text"]], "lang": "en-us"}),
        )
    if command["command"] == "message":
        return HiveMessage(HiveMessageType.BUS, Message(command["type"], command.get("data", {})))
    about = {"file_name": command["name"]} if "name" in command else {}
    return HiveMessage(HiveMessageType.BINARY, data_of(command["size"]), bin_type=kind_of(command), metadata=about)


def data_of(size):
    """Bytes of every value, so that none is lost on the way unseen."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def kind_of(command):
    name = command.get("kind", "RAW_AUDIO") if command["command"] == "binary" else "UNDEFINED"
    return HiveMindBinaryPayloadType[name]


def obey(client, command):
    if command["command"] == "problem":
        say("problem", text=getattr(client, "problem", ""))
        return
    try:
        client.emit(message_of(command), kind_of(command))
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
    parser.add_argument("--useragent", default="InteropDriver")
    parser.add_argument("--more", type=json.loads, default={}, help="JSON object: further arguments of the client")
    options = parser.parse_args()
    client = HiveMessageBusClient(
        options.key,
        password=options.password,
        host=options.host,
        port=options.port,
        useragent=options.useragent,
        bin_callbacks=Received(),
        **options.more,
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
