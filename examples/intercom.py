"""A message that one device alone can read, even if hubs lie between: python intercom.py other.pem come here

Without arguments it prints what trusted devices say to this one: python intercom.py (see trust.py).
"""

import sys
from pathlib import Path

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.message import Message

TOPIC = "intercom.note"
client = HiveMessageBusClient()
if len(sys.argv) > 2:
    note = Message(TOPIC, {"text": " ".join(sys.argv[2:])})
    with client:
        client.emit_intercom(note, Path(sys.argv[1]).read_text())
        client.flush()
else:
    names = {key.strip(): alias for alias, key in client.identity.trusted_keys.items()}

    def show(message: Message) -> None:
        author = message.context["hivemind_verified_source_peer"]
        print(f"{names.get(author.strip(), 'the hub')}: {message.data['text']}", flush=True)

    client.on_mycroft(TOPIC, show)
    client.on("open", lambda: print("listening", flush=True))
    client.run_forever()
