"""One hub, satellites, one conversation: every part a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
import websockets

from helpers.hub_process import HubProcess
from helpers.processes import Child, Children, Home, free_port, wait_until
from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Opened
from hivemind_bus_client.message import HiveMessage, Message
from hivemind_bus_client.noise import derive_psk, generate_static_key
from hivemind_core.transports.outbox import MAX_BYTES

BIN = Path(sys.executable).parent
SATELLITE = Path(__file__).parents[1] / "interop" / "drivers" / "satellite.py"
KEY, PASSWORD = "access-key-of-the-kitchen", "orbital-walnut-cipher-93-lantern"


FLOOD, AT_ONCE, WORKING_KB = 3000, 20, 48 * 1024
"""150 MB, in parts of 1 MB; and what a hub takes to handle some of it."""


class OurHub(HubProcess):
    """Our hub with its built-in assistant."""

    def __init__(self, children: Children, agent: str = "builtin") -> None:
        super().__init__(children, BIN / "hivemind-core", free_port())
        self.configure({"agent_protocol": {"module": agent, "hivemind-ovos-agent-plugin": self.bus}})

    @property
    def bus(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.bus_port}


@pytest.fixture
def hub(children: Children) -> OurHub:
    running = OurHub(children)
    running.add_client(KEY, PASSWORD, name="kitchen")
    running.start()
    return running


def satellite(
    children: Children, hub: HubProcess, name: str = "kitchen", key: str = KEY, password: str = PASSWORD
) -> Child:
    arguments = ["--port", str(hub.port), "--key", key, "--password", password]
    return children.spawn(name, [sys.executable, SATELLITE, *arguments])


def converse(one: Child, text: str) -> None:
    """Say something and wait until it has been answered."""
    before = handled(one)
    one.send("utterance", text=text)
    wait_until(lambda: handled(one) > before, 60, f"an answer for {one.name}")


def handled(one: Child) -> int:
    return sum(event["event"] == "handled" for event in one.events())


def client_command(children: Children, home: Home, *arguments: str, stdin: str = "") -> Child:
    child = children.spawn(arguments[0], [BIN / "hivemind-client", *arguments], home)
    if stdin:
        child.write(stdin)
    child.close_stdin()
    child.wait_exit()
    return child


def test_a_conversation_through_the_terminal(children: Children, hub: OurHub) -> None:
    home = children.home("terminal")
    arguments = ["--key", KEY, "--password", PASSWORD, "--host", "127.0.0.1", "--port", str(hub.port)]
    saved = client_command(children, home, "set-identity", *arguments, "--siteid", "kitchen")
    assert "identity saved: " in saved.output()
    asked = client_command(children, home, "terminal", stdin="what time is it\nwho is connected\n")
    assert asked.wait_exit() == 0
    assert "== connected to HiveMind" in asked.output()
    assert ">  It is " in asked.output()
    assert ">  One satellite is connected: kitchen." in asked.output()


def test_two_satellites_hear_only_their_own_answers(children: Children, hub: OurHub) -> None:
    hub.add_client("second-key", PASSWORD + "-2", name="hall")
    kitchen = satellite(children, hub)
    hall = satellite(children, hub, "hall", "second-key", PASSWORD + "-2")
    for one in (kitchen, hall):
        one.expect("connected")
    kitchen.send("utterance", text="hello")
    kitchen.expect("handled")
    hall.send("utterance", text="what time is it")
    hall.expect("handled")
    assert [event["event"] for event in kitchen.events()].count("speak") == 1
    assert next(event["utterance"] for event in hall.events() if event["event"] == "speak").startswith("It is ")


def test_a_wrong_key_and_a_wrong_password_are_told_apart(children: Children, hub: OurHub) -> None:
    home = children.home("wrong")
    where = ["--host", "127.0.0.1", "--port", str(hub.port)]
    wrong_key = client_command(children, home, "terminal", *where, "--key", "nope", "--password", PASSWORD)
    assert wrong_key.wait_exit() == 1
    assert "Error: HiveMind refused this identity: The hub does not know this access key." in wrong_key.output()
    wrong_password = client_command(children, home, "terminal", *where, "--key", KEY, "--password", "not it")
    assert wrong_password.wait_exit() == 1
    assert "The password does not match the one the hub has for this access key." in wrong_password.output()
    assert "Traceback" not in wrong_key.output() + wrong_password.output()
    assert hub.child is not None
    assert PASSWORD not in hub.child.output()
    assert "does not know this access key" in hub.child.output()


def test_a_wrong_password_is_noticed_after_a_right_one_too(children: Children, hub: OurHub) -> None:
    home = children.home("again")
    where = ["--host", "127.0.0.1", "--port", str(hub.port), "--key", KEY]
    assert client_command(children, home, "terminal", *where, "--password", PASSWORD).wait_exit() == 0
    wrong = client_command(children, home, "terminal", *where, "--password", "not it")
    assert wrong.wait_exit() == 1
    assert "The password does not match" in wrong.output()


def test_nobody_there(children: Children) -> None:
    where = ["--host", "127.0.0.1", "--port", str(free_port()), "--timeout", "4"]
    child = client_command(children, children.home("lost"), "terminal", *where, "--key", "k", "--password", "p")
    assert child.wait_exit() == 1
    assert "Nothing answers at the hub's address." in child.output()


def test_a_denied_type_is_shown_with_its_cure(children: Children, hub: OurHub) -> None:
    where = ["--host", "127.0.0.1", "--port", str(hub.port), "--key", KEY, "--password", PASSWORD]
    denied = client_command(
        children, children.home("denied"), "send-mycroft", *where, "--msg", "mycroft.stop", "--payload", "{}"
    )
    assert denied.wait_exit() != 0
    assert "hivemind-core allow-msg mycroft.stop 1" in denied.output()
    hub.command("allow-msg", "mycroft.stop", "1")

    def goes_through() -> bool:
        again = client_command(
            children, children.home("denied"), "send-mycroft", *where, "--msg", "mycroft.stop", "--payload", "{}"
        )
        return again.wait_exit() == 0

    wait_until(goes_through, 60, "the new right takes effect on the running hub")


def test_a_satellite_outlives_its_hub(children: Children, hub: OurHub) -> None:
    kitchen = satellite(children, hub)
    kitchen.expect("connected")
    converse(kitchen, "hello")
    hub.kill()
    kitchen.expect("close")
    hub.start()
    wait_until(lambda: sum(event["event"] == "open" for event in kitchen.events()) >= 2, 60, "back again")
    converse(kitchen, "what time is it")


def test_sigterm_drains(children: Children, hub: OurHub) -> None:
    kitchen = satellite(children, hub)
    kitchen.expect("connected")
    assert hub.child is not None
    hub.child.process.send_signal(signal.SIGTERM)
    assert hub.child.wait_exit() == 0
    kitchen.expect("close")
    assert "left" in hub.child.output()


def test_a_hub_that_cannot_listen_says_so_and_ends(children: Children, hub: OurHub) -> None:
    second = children.spawn("second", [BIN / "hivemind-core", "listen", "--port", str(hub.port), "--agent", "builtin"])
    assert second.wait_exit() == 1
    assert f"Error: Port {hub.port} is in use" in second.output()


def test_a_broken_configuration_is_left_alone(children: Children) -> None:
    home = children.home("broken")
    path = home.config / "hivemind-core" / "server.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"binarize": true,\n "agent_protocol": {')
    child = children.spawn("hub", [BIN / "hivemind-core", "listen"], home)
    assert child.wait_exit() == 2
    assert "is not valid JSON" in child.output()
    assert path.read_text() == '{"binarize": true,\n "agent_protocol": {'


def test_health(hub: OurHub) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{hub.port}/_healthz", timeout=60) as answer:
        assert answer.status == 204
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"http://127.0.0.1:{hub.port}/", timeout=60)


def test_a_hub_that_starts_before_ovos_leaves_it_its_port(children: Children) -> None:
    hub = OurHub(children, agent="auto")
    hub.add_client(KEY, PASSWORD)
    hub.start()
    kitchen = satellite(children, hub)
    kitchen.expect("connected")
    kitchen.send("utterance", text="hello")
    kitchen.expect("handled")
    stub = Path(__file__).parents[1] / "helpers" / "bus_stub.py"
    bus = children.spawn("bus", [sys.executable, stub, "--port", str(hub.bus_port)])
    bus.wait_port(hub.bus_port)

    def answered_by_the_bus() -> bool:
        kitchen.send("utterance", text="over the bus")
        return any("over the bus" in event.get("utterance", "") for event in kitchen.events())

    wait_until(answered_by_the_bus, 60, "the bus answers")


# --- a slow reader ------------------------------------------------------------------------------------------


def ports_connected_to(process: Child) -> set[int]:
    """Where the other ends are of what a process has open by TCP and IPv4."""
    own = {os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir() if path.is_symlink()}
    lines = [line.split() for line in Path(f"/proc/{process.pid}/net/tcp").read_text("utf-8").splitlines()[1:]]
    return {int(line[2].partition(":")[2], 16) for line in lines if f"socket:[{line[9]}]" in own}


def memory_kb(process: Child, what: str) -> int:
    """VmRSS now, or VmHWM: its highest since `forget_peak`."""
    lines = Path(f"/proc/{process.pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def forget_peak(process: Child) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5", "utf-8")


async def _open(port: int, key: str, password: str) -> tuple[websockets.ClientConnection, Link]:
    token = b64encode(f"raw:{key}".encode()).decode()
    socket = await websockets.connect(f"ws://127.0.0.1:{port}/?authorization={token}", compression=None, max_queue=1)
    hello = {"pubkey": None, "session": {"session_id": f"raw-{key}"}, "site_id": None}
    link = Link.client(ClientTerms(generate_static_key(), hello), 0.0)
    while not link.is_open:
        for event in link.receive(await asyncio.wait_for(socket.recv(), 60), 0.0):
            assert isinstance(event, (KeyNeeded, Opened))
            if isinstance(event, KeyNeeded):
                link.key_derived(derive_psk(password, event.node_id), 0.0)
        for frame in link.frames_to_send():
            await socket.send(frame)
    return socket, link


async def test_a_slow_reader_is_closed_and_nobody_else(children: Children) -> None:
    """It never reads again: its connection ends all the same, and what waited for it was bounded all the while."""
    hub = OurHub(children, agent="embedded")
    hub.add_client(KEY, PASSWORD, name="slow")
    hub.add_client("other-key", PASSWORD, name="other")
    hub.start()
    assert hub.child is not None
    slow, slow_link = await _open(hub.port, KEY, PASSWORD)
    slow.transport.pause_reading()
    where = slow.transport.get_extra_info("sockname")[1]
    assert where in ports_connected_to(hub.child)
    other = satellite(children, hub, "other", "other-key", PASSWORD)
    await asyncio.to_thread(other.expect, "connected")
    forget_peak(hub.child)
    before = memory_kb(hub.child, "VmRSS")
    async with websockets.connect(f"ws://127.0.0.1:{hub.bus_port}/core") as bus:
        peer = f"raw::1::slow::raw-{KEY}"
        flood = json.dumps({"type": "flood", "data": {"x": "y" * 50_000}, "context": {"destination": peer}})
        for _ in range(FLOOD // AT_ONCE):
            for _ in range(AT_ONCE):
                await bus.send(flood)
            for _ in range(AT_ONCE):
                await asyncio.wait_for(bus.recv(), 60)  # a bus tells everybody everything
    await asyncio.to_thread(hub.child.wait_output, "does not read fast enough")
    await asyncio.to_thread(converse, other, "hello")
    wait_until(lambda: where not in ports_connected_to(hub.child), 60, "the end of the connection")
    assert memory_kb(hub.child, "VmHWM") - before < MAX_BYTES // 1024 + WORKING_KB
    assert slow_link.is_open  # it was closed from the other side only
    slow.transport.abort()


# --- the database is the released one -----------------------------------------------------------------------


def test_the_database_has_the_released_schema(hub: OurHub) -> None:
    with sqlite3.connect(hub.database) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(clients)")]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        [(key, name)] = db.execute("SELECT api_key, name FROM clients").fetchall()
    db.close()
    assert version == 2
    assert columns[:4] == ["client_id", "api_key", "name", "description"]
    assert (key, name) == (KEY, "kitchen")
    assert hub.database.stat().st_mode & 0o777 == 0o600


async def test_a_peer_that_skips_the_handshake_gets_nothing(hub: OurHub) -> None:
    token = b64encode(f"raw:{KEY}".encode()).decode()
    async with websockets.connect(f"ws://127.0.0.1:{hub.port}/?authorization={token}") as socket:
        assert json.loads(await socket.recv())["msg_type"] == "hello"
        assert json.loads(await socket.recv())["msg_type"] == "shake"
        await socket.send(HiveMessage("bus", Message("recognizer_loop:utterance", {"utterances": ["x"]})).serialize())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 60)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "invalid message")
