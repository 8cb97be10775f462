"""A policy for our hub and the released one: it lets nothing by that says `wait` before there is a file `go`.

It writes `began` when it begins. Both are in the folder that HIVEMIND_TEST_GATE names. It gives no verdict, which
passes in a chain in which it is optional.
"""

import os
import time
from pathlib import Path

MOST_S = 20.0


class SlowPolicy:
    def __init__(self, *_, **__):
        self.folder = Path(os.environ["HIVEMIND_TEST_GATE"])

    def review(self, message, client):
        if message.data.get("utterances") == ["wait"]:
            (self.folder / "began").touch()
            end = time.monotonic() + MOST_S
            while not (self.folder / "go").exists() and time.monotonic() < end:
                time.sleep(0.02)

    def review_binary(self, data, client):
        return None

    def observe(self, message, client):
        return None
