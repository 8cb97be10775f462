"""Write down the type of every message on OpenVoiceOS's message bus, a line each, into the file that is named."""

import sys

sys.path.insert(0, "/opt/deploy/bin")
from ovos_bus import Bus, stay


def write(bus: Bus) -> None:
    with open(sys.argv[1], "a", buffering=1) as file:
        file.write("listening\n")
        while True:
            if message := bus.next():
                file.write(f"{message['type']}\n")


stay(write)
