"""Ask the hub, and the hubs above it until one has an answer: python query.py what time is it"""

import sys
from queue import SimpleQueue

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.answers import QUERY_STREAM_END, QUERY_TIMEOUT
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

question = " ".join(sys.argv[1:]) or "what time is it"
ended = SimpleQueue()
with HiveMessageBusClient() as client:
    client.on_mycroft("speak", lambda message: print(message.data["utterance"]))
    client.on_mycroft(QUERY_TIMEOUT, lambda message: ended.put("Nobody has an answer."))

    def part(message: HiveMessage) -> None:
        if message.payload.payload.msg_type == QUERY_STREAM_END:
            ended.put(None)

    client.on(HiveMessageType.QUERY, part)
    utterance = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": [question]}))
    client.emit(HiveMessage(HiveMessageType.QUERY, utterance))
    sys.exit(ended.get(timeout=60))
