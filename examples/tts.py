"""Have the hub say something, and write it to a file: python tts.py hello.wav good morning

The hub needs `"binary_protocol": {"module": "speech"}` in its server.json, and this satellite the right to ask:
`hivemind-core allow-msg speak:synth ID` (docs/binary.md).
"""

import sys
from pathlib import Path
from queue import SimpleQueue

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.client import BinaryDataCallbacks
from hivemind_bus_client.denials import DENIED, read_denial
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

answers = SimpleQueue()


class Speech(BinaryDataCallbacks):
    def handle_receive_tts(self, bin_data, utterance, lang, file_name):
        print(f"{utterance!r} in {lang}, {len(bin_data)} bytes")
        answers.put(bin_data)


file, text = Path(sys.argv[1]), " ".join(sys.argv[2:])
with HiveMessageBusClient(bin_callbacks=Speech()) as client:
    client.on_mycroft(DENIED, lambda message: answers.put(read_denial(message.data, message.context)))
    client.emit(HiveMessage(HiveMessageType.BUS, Message("speak:synth", {"utterance": text})))
    answer = answers.get(timeout=60)
if not isinstance(answer, bytes):
    sys.exit(str(answer))
file.write_bytes(answer)
