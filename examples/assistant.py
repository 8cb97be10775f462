"""An assistant of your own behind the hub: it repeats what satellites say, on the hub's embedded message bus.

Start the hub with `hivemind-core listen --agent embedded` and this program beside it: python assistant.py
[ws://127.0.0.1:8181/core]
"""

import asyncio
import json
import sys
from typing import Any

from websockets.asyncio.client import connect

BUS = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8181/core"


async def main() -> None:
    async with connect(BUS, compression=None) as bus:

        async def answer(asked: dict[str, Any], msg_type: str, data: dict[str, Any]) -> None:
            # Back to where the question came from: source and destination change places.
            context = {**asked["context"], "source": "echo", "destination": asked["context"]["source"]}
            await bus.send(json.dumps({"type": msg_type, "data": data, "context": context}))

        print("joined", BUS, flush=True)
        async for frame in bus:
            message = json.loads(frame)
            if message["type"] == "recognizer_loop:utterance":
                said = message["data"]["utterances"][0]
                await answer(message, "speak", {"utterance": f"You said: {said}"})
                await answer(message, "ovos.utterance.handled", {})


asyncio.run(main())
