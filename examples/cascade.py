"""Ask every hub of the mesh, and let one answer be picked, the longest: python cascade.py tell me a joke"""

import sys
from queue import Empty, SimpleQueue

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message


def said(response: HiveMessage) -> str:
    return response.payload.payload.data["utterance"]


def longest(responses: list[HiveMessage]) -> HiveMessage:
    for response in responses:
        print("offered:", said(response))
    return max(responses, key=lambda response: len(said(response)))


question = " ".join(sys.argv[1:]) or "what time is it"
picked = SimpleQueue()
with HiveMessageBusClient() as client:
    client.protocol.cascade_select_callback = longest
    client.protocol.cascade_timeout = 3.0  # seconds after the first answer
    client.on_mycroft("speak", lambda message: picked.put(message.data["utterance"]))
    utterance = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": [question]}))
    client.emit(HiveMessage(HiveMessageType.CASCADE, utterance))
    try:
        print("picked:", picked.get(timeout=30))
    except Empty:
        sys.exit("Nobody has an answer.")
