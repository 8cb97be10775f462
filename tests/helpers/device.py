"""A satellite under remote control, over either transport: JSON commands on standard input, JSON events on output.

    python device.py --host ws://ADDRESS --port N --key K --password P [--more JSON]

Events: open, close, reconnecting, error (text), spoken (utterance), sent (text), not_sent (text, error).
Command: say (text, timeout, confirmed): how long to wait for a connection, in seconds; whether also until it is read.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import Any

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.message import Message

CONFIRMED_S = 60.0
_printing = threading.Lock()


def tell(event: str, **fields: Any) -> None:
    with _printing:
        print(json.dumps({"event": event, **fields}), flush=True)


def listen(client: HiveMessageBusClient) -> None:
    client.on_mycroft("speak", lambda message: tell("spoken", utterance=message.data["utterance"]))
    client.on("error", lambda error: tell("error", text=str(error)))
    for event in ("open", "close", "reconnecting"):
        client.on(event, lambda *_, name=event: tell(name))


def say(client: HiveMessageBusClient, text: str, timeout: float, confirmed: bool) -> None:
    try:
        client.emit_mycroft(Message("recognizer_loop:utterance", {"utterances": [text]}), timeout=timeout)
        if confirmed:
            client.flush(CONFIRMED_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
        tell("not_sent", text=text, error=type(error).__name__)
    else:
        tell("sent", text=text)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--host", "--key", "--password"):
        parser.add_argument(name, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--more", type=json.loads, default={}, help="JSON object: further arguments of the client")
    options = parser.parse_args()
    made = HiveMindHTTPClient if options.host.startswith("http") else HiveMessageBusClient
    client = made(options.key, password=options.password, host=options.host, port=options.port, **options.more)
    listen(client)
    client.run_in_thread()
    for line in sys.stdin:
        command = json.loads(line)
        said = (client, command["text"], command["timeout"], command["confirmed"])
        threading.Thread(target=say, args=said, daemon=True).start()
    client.close()


if __name__ == "__main__":
    main()
