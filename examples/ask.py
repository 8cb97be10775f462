"""Ask the assistant one question and print what it says: python ask.py what time is it

Run `hivemind-client set-identity ...` once before (docs/getting-started.md).
"""

import sys

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.message import Message

question = " ".join(sys.argv[1:]) or "what time is it"
with HiveMessageBusClient() as client:
    client.on_mycroft("speak", lambda message: print(message.data["utterance"]))
    utterance = Message("recognizer_loop:utterance", {"utterances": [question]})
    client.wait_for_payload_response(utterance, "ovos.utterance.handled", timeout=30)
