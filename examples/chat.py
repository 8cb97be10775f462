"""Chat with the assistant: what you type is said to it, what it says is printed. Ctrl-D ends: python chat.py"""

import sys

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.denials import DENIED, read_denial
from hivemind_bus_client.message import Message

with HiveMessageBusClient(useragent="chat") as client:
    client.on_mycroft("speak", lambda message: print(">", message.data["utterance"]))
    client.on_mycroft(DENIED, lambda message: print("!", read_denial(message.data, message.context)))
    for line in sys.stdin:
        utterance = Message("recognizer_loop:utterance", {"utterances": [line.strip()]})
        client.wait_for_payload_response(utterance, "ovos.utterance.handled", timeout=30)
