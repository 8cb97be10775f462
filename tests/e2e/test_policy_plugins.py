"""W22: a policy that a package brings holds up nobody but the client it is asked about, in a hub of its own process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_process import HubProcess
from helpers.live_hub import satellite
from helpers.processes import Children, free_port
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.waiters import AsyncHiveMessageWaiter

BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery staple 42"
PATIENCE_S = 60.0
POLICY = '''
import time
from pathlib import Path
from hivemind_core.policy import ALLOW, Verdict


class Ponders:
    """Takes its time over what the kitchen says, and lets it through when a file is there."""

    def __init__(self, file):
        self.file = Path(file)

    def review(self, message, client):
        if client.name == "kitchen" and "ponder" in str(message.data):
            while not self.file.exists():
                time.sleep(0.02)
            return ALLOW
        return Verdict.deny("not_today", "Not today.") if "never" in str(message.data) else ALLOW

    def review_binary(self, data, client):
        return ALLOW
'''

pytestmark = pytest.mark.e2e


@pytest.fixture
def let_go(tmp_path: Path) -> Path:
    """The file that lets the policy answer."""
    return tmp_path / "let-go"


@pytest.fixture
def hub(children: Children, tmp_path: Path, let_go: Path) -> HubProcess:
    about = tmp_path / "site" / "ponders-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ponders\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text("[hivemind.policy]\nponders = ponders_policy:Ponders\n", "utf-8")
    (about.parent / "ponders_policy.py").write_text(POLICY, "utf-8")
    made = HubProcess(children, BIN / "hivemind-core", free_port())
    chain = [{"module": "ponders", "config": {"file": str(let_go)}}]
    made.configure({"agent_protocol": {"module": "builtin"}, "policy": {"chain": chain}})
    made.environ = {"PYTHONPATH": str(about.parent)}
    for name in ("kitchen", "hall"):
        made.add_client(name, PASSWORD, name=name)
    made.command("allow-escalate", "kitchen")
    made.start()
    return made


def release(file: Path) -> None:
    file.touch()


def bus(words: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": [words]}))


async def answered(client: AsyncHiveMessageBusClient, message: HiveMessage, kind: str = "speak") -> dict[str, Any]:
    """The data of what the hub answers with."""
    found = await client.wait_for_payload_response(message, kind, HiveMessageType.BUS, PATIENCE_S)
    assert found is not None, message
    data: dict[str, Any] = found.payload.data
    return data


@pytest.mark.parametrize("verb", [HiveMessageType.BUS, HiveMessageType.QUERY])
async def test_nobody_else_waits(hub: HubProcess, tmp_path: Path, let_go: Path, verb: HiveMessageType) -> None:
    words = "ponder over the time"
    asked = bus(words) if verb == HiveMessageType.BUS else HiveMessage(verb, bus(words))
    async with (
        satellite(tmp_path / "kitchen", hub.port, "kitchen", PASSWORD) as kitchen,
        satellite(tmp_path / "hall", hub.port, "hall", PASSWORD) as hall,
    ):
        waiter = AsyncHiveMessageWaiter(kitchen, "", lambda message: message.msg_type == verb)
        await kitchen.emit(asked)
        for _ in range(3):
            assert await answered(hall, bus("what is the time"))
        assert (await answered(hall, bus("never"), "hive.policy.denied"))["code"] == "not_today"
        release(let_go)
        assert await waiter.wait(PATIENCE_S) is not None
