"""Ask two questions at once, each in a conversation of its own, and tell the answers apart; with asyncio."""

import asyncio

from hivemind_bus_client import AsyncHiveMessageBusClient
from hivemind_bus_client.message import Message

QUESTIONS = {"alice": "what time is it", "bob": "who is connected"}


async def main() -> None:
    async with AsyncHiveMessageBusClient() as client:

        def spoken(message: Message) -> None:
            print(message.context["session"]["session_id"], "hears:", message.data["utterance"])

        handled: asyncio.Queue[Message] = asyncio.Queue()
        client.on_mycroft("speak", spoken)
        client.on_mycroft("ovos.utterance.handled", handled.put_nowait)
        for name, question in QUESTIONS.items():
            context = {"session": {"session_id": name}}
            await client.emit_mycroft(Message("recognizer_loop:utterance", {"utterances": [question]}, context))
        for _ in QUESTIONS:
            await asyncio.wait_for(handled.get(), timeout=30)


asyncio.run(main())
