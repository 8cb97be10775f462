"""A satellite in a mesh under remote control: JSON commands on standard input, JSON events on standard output.

It runs under any interpreter that has a `hivemind_bus_client`, ours or the released 1.2, over a WebSocket or HTTP:

    python mesh_satellite.py --url ws://127.0.0.1:N --key K --password P --site S --name NAME

Events: connected (pem, hub), close, envelope (type, inner, topic, data, metadata, route), bus (type, data, author),
sent, not_sent (text), done. `bus` is what the client itself has let through to the local bus.
Commands: send (type, topic, data, site, metadata), seal (topic, data, pem), trust (alias, pem), distrust (alias),
ping (flood_id), close.
To a CASCADE with "everybody" in it, it answers with its name.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from urllib.parse import urlsplit

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

ENVELOPES = ("broadcast", "propagate", "query", "cascade", "escalate", "intercom")
TOPICS = ("speak", "skill.call", "hive.policy.denied", "hive.query.timeout")
AUTHOR = "hivemind_verified_source_peer"

printing = threading.Lock()


def say(event, **fields):
    with printing:
        print(json.dumps({"event": event, **fields}), flush=True)


def envelope(message):
    inner = message.payload
    inner_type = getattr(inner, "msg_type", "")
    bus = inner.payload if inner_type == "bus" else None
    say(
        "envelope",
        type=plain(message.msg_type),
        inner=plain(inner_type),
        topic=bus.msg_type if bus else "",
        data=bus.data if bus else {},
        metadata=message.metadata,
        route=[hop["source"] for hop in message.route],
    )


def plain(value):
    return getattr(value, "value", value)


def answer(client, name, message):
    """Answer a CASCADE, as a satellite with an assistant of its own may."""
    inner = message.payload
    if message.metadata.get("is_response") or plain(inner.msg_type) != "bus":
        return
    if "everybody" not in json.dumps(inner.payload.data):
        return
    asked = {key: message.metadata.get(key) for key in ("query_id", "originator_peer")}
    said = Message("speak", {"utterance": f"{name} says: yes"}, {"query_id": asked["query_id"]})
    client.emit(
        HiveMessage(
            HiveMessageType.CASCADE,
            HiveMessage(HiveMessageType.BUS, said),
            metadata={**asked, "responder_peer": name, "is_response": True},
            route=message.route,
        )
    )


def listen(client, bus, name):
    for kind in ENVELOPES:
        client.on(kind, envelope)
    client.on("cascade", lambda message: answer(client, name, message))
    for topic in TOPICS:
        bus.on(topic, lambda found: say("bus", type=found.msg_type, data=found.data, author=found.context.get(AUTHOR)))
    if hasattr(client, "emitter"):
        client.emitter.on("close", lambda *_: say("close"))


def send(client, command):
    inner = HiveMessage(HiveMessageType.BUS, Message(command["topic"], command["data"]))
    metadata = command.get("metadata", {})
    kind = HiveMessageType(command["type"])
    client.emit(HiveMessage(kind, inner, target_site_id=command.get("site"), metadata=metadata))


def seal(client, command):
    client.emit_intercom(Message(command["topic"], command["data"]), command["pem"])


def trust(client, command):
    client.identity.add_trusted_key(command["alias"], command["pem"])


def distrust(client, command):
    client.identity.remove_trusted_key(command["alias"])


def ping(client, command):
    own = client.identity
    body = {"peer": f"{own.name}::{client.session_id}", "site_id": client.site_id, "public_key": own.public_key}
    body.update(flood_id=command["flood_id"], timestamp=time.time())
    client.emit(HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.PING, body)))


COMMANDS = {"send": send, "seal": seal, "trust": trust, "distrust": distrust, "ping": ping}


def obey(client, command):
    try:
        COMMANDS[command["command"]](client, command)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
        say("not_sent", text=f"{type(error).__name__}: {error}")
    else:
        say("sent")


def main():
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "password", "site", "name"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    url = urlsplit(options.url)
    identity = NodeIdentity()
    identity.name = options.name
    identity.create_keys()
    identity.save()
    cls = HiveMindHTTPClient if url.scheme == "http" else HiveMessageBusClient
    client = cls(
        options.key,
        password=options.password,
        host=f"{url.scheme}://{url.hostname}",
        port=url.port,
        identity=identity,
        useragent=options.name,
    )
    bus = FakeBus()
    listen(client, bus, options.name)
    client.connect(bus=bus, site_id=options.site)
    client.protocol.cascade_timeout = 1.0
    say("connected", pem=identity.public_key, hub=client.protocol.mpubkey)
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "close":
            break
        obey(client, command)
    getattr(client, "close", getattr(client, "shutdown", None))()
    say("done")


if __name__ == "__main__":
    main()
