"""Trust a device, and hear what it propagates to this site: python trust.py kitchen kitchen.pem

The file holds what `hivemind-client set-identity` or `reset-pgp` printed on that device, from -----BEGIN to the end.
Without arguments it trusts nobody new.
"""

import sys
from pathlib import Path

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity

identity = NodeIdentity()
if len(sys.argv) == 3:
    identity.add_trusted_key(sys.argv[1], Path(sys.argv[2]).read_text())
    identity.save()

client = HiveMessageBusClient(identity=identity)
client.on("open", lambda: print("trusting", ", ".join(identity.trusted_keys) or "nobody", flush=True))
client.on_mycroft("speak", lambda message: print("say:", message.data["utterance"], flush=True))
try:
    client.run_forever()
except KeyboardInterrupt:
    client.close()
