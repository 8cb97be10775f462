"""On an application's path: at SIGUSR1 its process prints which file its `hivemind_bus_client` was loaded from, and
whether its client is connected."""

import gc
import json
import os
import signal
import sys


def tell(*_):
    loaded = sys.modules.get("hivemind_bus_client")
    clients = [found for found in gc.get_objects() if type(found).__name__.endswith("HiveMessageBusClient")]
    connected = any(client.connected_event.is_set() for client in clients)
    event = {"event": "client", "file": getattr(loaded, "__file__", None), "connected": connected}
    os.write(1, b"\n" + json.dumps(event).encode() + b"\n")  # a prompt may stand there


signal.signal(signal.SIGUSR1, tell)
