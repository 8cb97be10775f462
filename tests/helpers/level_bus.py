"""The agent of one level of nested hubs: it answers what names its level or everybody, and declines the rest.

`python level_bus.py --level NAME [--record FILE]`; see `bus_stub` for the bus.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import bus_stub

EVERYBODY = "everybody"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--level", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()

    def answers(message: dict[str, Any], ask: Any = bus_stub.answers) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = ask(message)
        if not said:
            return []
        speak, handled = said
        words = message["data"]["utterances"][0]
        if options.level not in words and EVERYBODY not in words:
            return [handled]
        speak["data"]["utterance"] = f"{options.level} says: {words}"
        return [speak, handled]

    record = options.record.open("w", encoding="utf-8") if options.record else None
    asyncio.run(bus_stub.run(options.port, record, answers))


if __name__ == "__main__":
    main()
