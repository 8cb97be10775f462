"""What a client shows of the session it has, with a real hub: the newest version, and the oldest by default."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.hub_process import HubProcess
from helpers.processes import Children, free_port
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.encryption import SupportedCiphers, SupportedEncodings
from hivemind_bus_client.message import Message

KEY, PASSWORD = "access-key-of-the-kitchen", "orbital-walnut-cipher-93-lantern"


@pytest.fixture
def hub(children: Children) -> HubProcess:
    made = HubProcess(children, Path(sys.executable).parent / "hivemind-core", free_port())
    made.configure({"agent_protocol": {"module": "builtin"}})
    made.add_client(KEY, PASSWORD)
    made.start()
    return made


@pytest.mark.parametrize("version", [2, 3])
def test_the_session_in_use(hub: HubProcess, version: int) -> None:
    client = HiveMessageBusClient(KEY, PASSWORD, host="127.0.0.1", port=hub.port, max_protocol_version=version)
    client.connect(timeout=60)
    try:
        if version == 3:
            assert (client.crypto_key, client.noise_transport.pattern) == (None, "XXpsk2")
        else:
            assert len(client.crypto_key) == 32
            assert client.noise_transport is None
            assert client.cipher in SupportedCiphers
            assert client.json_encoding in SupportedEncodings
        assert client.protocol.mpubkey.startswith("-----BEGIN PUBLIC KEY-----")
        asked = Message("recognizer_loop:utterance", {"utterances": ["what time is it"]})
        answer = client.wait_for_response(asked, "speak", timeout=60)
        assert answer is not None
        assert answer.payload.data["utterance"].startswith("It is ")
    finally:
        client.close()
    assert (client.crypto_key, client.noise_transport) == (None, None)
