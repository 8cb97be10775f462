"""`hivemind-core` of ours with a handler for binary data that says what came and sends it back as speech.

Only its handler is for the tests; everything before and behind it is the hub as it is installed.
"""

from __future__ import annotations

import hashlib
import json

from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType
from hivemind_core import service
from hivemind_core.actions import ToBinary
from hivemind_core.hub import Hub
from hivemind_core.peers import Peer
from hivemind_core.scripts import hmcore_cmds


class SoundingHub(Hub):
    def _to_binary(self, peer: Peer, action: ToBinary) -> None:
        kind, name = HiveMindBinaryPayloadType(action.bin_type), action.metadata.get("file_name")
        digest = hashlib.sha256(action.data).hexdigest()
        print(json.dumps({"event": "binary", "kind": kind.name, "digest": digest, "name": name}), flush=True)
        metadata = {"file_name": name, "utterance": "as you said", "lang": "en-us"}
        back = HiveMessage(
            HiveMessageType.BINARY, action.data, bin_type=HiveMindBinaryPayloadType.TTS_AUDIO, metadata=metadata
        )
        self._send(peer, back)


if __name__ == "__main__":
    service.Hub = SoundingHub  # type: ignore[misc]
    hmcore_cmds()
