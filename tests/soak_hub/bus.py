"""The assistant's bus, as a process: `python bus.py PORT`. It answers each numbered utterance with its number."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import bus_stub


def numbered(message: dict[str, Any]) -> list[dict[str, Any]]:
    """One answer."""
    found = bus_stub.answers(message)[:1]
    for answer in found:
        answer["data"]["n"] = int(message["data"]["utterances"][0])
    return found


if __name__ == "__main__":
    asyncio.run(bus_stub.run(int(sys.argv[1]), None, numbered))
