"""Leave a message for a node that is not connected now, or fetch what was left for this one.

    python mailbox.py key                                     print this node's public key, for the others
    python mailbox.py leave ACCESS_KEY KEY_FILE good night    leave words for the node with that key
    python mailbox.py fetch KEY_FILE                          print what the owner of that key left

The hub's server.json has `"rendezvous": {"enabled": true}` (docs/mailbox.md).
"""

import sys
from pathlib import Path

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.mailbox import fetch, leave
from hivemind_bus_client.message import Message


def main(command: str, *rest: str) -> None:
    if command == "key":
        print(NodeIdentity().public_key)
        return
    with HiveMessageBusClient() as client:
        if command == "leave":
            access_key, key_file, *words = rest
            leave(client, access_key, Path(key_file).read_text(), Message("speak", {"utterance": " ".join(words)}))
            return
        client.identity.add_trusted_key("sender", Path(rest[0]).read_text())
        client.on_mycroft("speak", lambda message: print(message.data["utterance"]))
        for letter in fetch(client):
            client.protocol.handle_intercom(letter)


main(*sys.argv[1:])
