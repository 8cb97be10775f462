"""A connected satellite that does nothing, on whichever `hivemind_bus_client` runs this; prints a line when it is.

`python idle_client.py PORT KEY PASSWORD`, ended by the end of its input.
"""

import sys

from hivemind_bus_client import HiveMessageBusClient

port, key, password = sys.argv[1:]
client = HiveMessageBusClient(key, password, host="127.0.0.1", port=int(port))
client.connect(site_id="bench")
print("connected", flush=True)
sys.stdin.read()
client.close()
