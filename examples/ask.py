"""Ask the assistant one question and print what it says: python ask.py what time is it

Run `hivemind-client set-identity ...` once before (docs/getting-started.md).
"""

import sys

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.message import Message

question = " ".join(sys.argv[1:]) or "what time is it"
with HiveMessageBusClient() as client:
    client.on_mycroft("speak", lambda message: print(message.data["utterance"]))
    client.emit_mycroft(Message("recognizer_loop:utterance", {"utterances": [question]}))
    client.wait_for_mycroft("ovos.utterance.handled", timeout=30)
