"""Test your program against a real hub without starting one: pytest memory_hive.py"""

import asyncio

from hivemind_bus_client.message import Message
from hivemind_core.testing import MemoryHive


def echo(message: Message) -> Message | None:
    """Answer as a skill would."""
    if message.msg_type != "recognizer_loop:utterance":
        return None
    return message.reply("speak", {"utterance": "You said: " + message.data["utterances"][0]})


async def converse() -> tuple[list[str], list[str]]:
    async with MemoryHive() as hive:
        hive.agent.respond = echo
        kitchen, attic = await hive.join("kitchen"), await hive.join("attic")
        kitchen.say("hello")
        await hive.settle()
        return kitchen.heard, attic.heard


def test_only_the_one_who_asked_hears_the_answer() -> None:
    assert asyncio.run(converse()) == (["You said: hello"], [])
