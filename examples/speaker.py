"""A satellite that stays: prints what it is told to speak, through restarts of the hub, until Ctrl-C."""

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.denials import DENIED, read_denial
from hivemind_bus_client.refusals import HiveMindRefused

client = HiveMessageBusClient(useragent="speaker")
client.on("open", lambda: print("connected", flush=True))
client.on("close", lambda: print("connection lost", flush=True))
client.on_mycroft("speak", lambda message: print("say:", message.data["utterance"], flush=True))
client.on_mycroft(DENIED, lambda message: print(read_denial(message.data, message.context), flush=True))
try:
    client.run_forever()
except HiveMindRefused as refused:
    raise SystemExit(str(refused)) from None
except KeyboardInterrupt:
    client.close()
