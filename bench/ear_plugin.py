"""A handler for binary data, for our hub and the released one: notes how late each frame of sound is.

After a frame `END` it writes what it heard to the file named by HIVEMIND_BENCH_EAR, and begins anew.
"""

import json
import os
import struct
import time

try:
    from hivemind_plugin_manager.protocols import BinaryDataHandlerProtocol
except ImportError:
    from hivemind_core.binary import BinaryHandler as BinaryDataHandlerProtocol

LATE_S = 0.02
"""One frame's length: whoever plays or understands the stream has then run dry."""
_heard = []


class EarPlugin(BinaryDataHandlerProtocol):
    def handle_microphone_input(self, bin_data, sample_rate, sample_width, client):
        note(bytes(bin_data))


def note(data):
    """Take a frame, which is sound or END."""
    if data != b"END":
        _heard.append(time.monotonic() - struct.unpack_from("<d", data)[0])
        return
    heard = sorted(_heard)
    _heard.clear()
    path = os.environ["HIVEMIND_BENCH_EAR"]
    late = sum(each > LATE_S for each in heard)
    found = {
        "heard": len(heard),
        "late": late,
        "p99_ms": heard[int(len(heard) * 0.99)] * 1000,
        "max_ms": heard[-1] * 1000,
    }
    with open(path + ".new", "w") as file:
        json.dump(found, file)
    os.replace(path + ".new", path)
