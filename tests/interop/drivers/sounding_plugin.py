"""A binary handler by the plugin interface, for released hubs and ours: says what came and sends it back as speech."""

import hashlib
import json

from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType

try:
    from hivemind_plugin_manager.protocols import BinaryDataHandlerProtocol
except ImportError:
    from hivemind_core.binary import BinaryHandler as BinaryDataHandlerProtocol


class SoundingPlugin(BinaryDataHandlerProtocol):
    def handle_receive_file(self, bin_data, file_name, client):
        digest = hashlib.sha256(bin_data).hexdigest()
        print(json.dumps({"event": "binary", "kind": "FILE", "digest": digest, "name": file_name}), flush=True)
        metadata = {"file_name": file_name, "utterance": "as you said", "lang": "en-us"}
        kind = HiveMindBinaryPayloadType.TTS_AUDIO
        client.send(HiveMessage(HiveMessageType.BINARY, bin_data, bin_type=kind, metadata=metadata))
