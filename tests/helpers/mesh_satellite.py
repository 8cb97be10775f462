"""A satellite in a mesh under remote control: JSON commands on standard input, JSON events on standard output.

    python mesh_satellite.py --port N --key K --password P --site S [--home FOLDER]

Events: connected, open, close, envelope (type, inner, data, metadata), bus (type, data, context), sent, not_sent
(text), done.
Commands: send (type, topic, data, site, query_id), close.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import Any

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

ENVELOPES = ("broadcast", "propagate", "query", "cascade", "escalate", "intercom")
BUS = ("speak", "skill.call", "hive.policy.denied")

_printing = threading.Lock()


def say(event: str, **fields: Any) -> None:
    with _printing:
        print(json.dumps({"event": event, **fields}), flush=True)


def envelope(message: HiveMessage) -> None:
    inner = message.payload
    if isinstance(inner, HiveMessage) and inner.msg_type == HiveMessageType.BUS:
        bus = inner.payload
        say(
            "envelope",
            type=str(message.msg_type),
            inner=bus.msg_type,
            data=bus.data,
            context=bus.context,
            metadata=message.metadata,
        )


def listen(client: HiveMessageBusClient) -> None:
    for kind in ENVELOPES:
        client.on(kind, envelope)
    for topic in BUS:
        client.on_mycroft(topic, lambda bus: say("bus", type=bus.msg_type, data=bus.data, context=bus.context))
    for event in ("open", "close"):
        client.emitter.on(event, lambda *_, name=event: say(name))


def obey(client: HiveMessageBusClient, command: dict[str, Any]) -> None:
    inner = HiveMessage(HiveMessageType.BUS, Message(command["topic"], command["data"]))
    metadata = {"query_id": command["query_id"]} if "query_id" in command else {}
    try:
        client.emit(HiveMessage(command["type"], inner, target_site_id=command.get("site"), metadata=metadata))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
        say("not_sent", text=str(error))
    else:
        say("sent")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    for name in ("key", "password", "site"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    client = HiveMessageBusClient(options.key, options.password, host="127.0.0.1", port=options.port)
    listen(client)
    client.connect(site_id=options.site, timeout=60)
    client.protocol.cascade_select_callback = None
    say("connected")
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "close":
            break
        obey(client, command)
    client.close()
    say("done")


if __name__ == "__main__":
    main()
