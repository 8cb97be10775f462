"""The released DeltaChat bridge, with a bot of ours that reads chat from standard input in the place of a mail account.

Lines in: JSON `{"text", "address"}`. Events out: ready, said (text, address).
"""

import asyncio
import json
import sys
import threading

from hm_deltachat_bridge import HiveMindDeltaChatBridge


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Bot:
    """What the bridge asks of a bot: messages come in on the bot's own thread."""

    handle_utterance = None

    def start(self):
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in sys.stdin:
            chat = json.loads(line)
            self.handle_utterance(chat["text"], chat["address"])

    def speak(self, utterance, address):
        say("said", text=utterance, address=address)

    def stop(self):
        pass


async def main():
    await HiveMindDeltaChatBridge(bot=Bot()).start()
    say("ready")
    await asyncio.Event().wait()


asyncio.run(main())
