"""Attacks on files, commands and neighbours of a hub. As in `attacks_outside`: the harm done, or nothing."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import aiohttp

from hivemind_bus_client.message import HiveMessageType

from .hub_process import HOST, HubProcess
from .pair import programs
from .processes import ChildError, free_port
from .target import PASSWORD, Target, closed, soon

BROKEN = '{"network_protocol": {"hivemind-websocket-plugin": {"port": 5678}}, "min_password_bits": 60,,}'
STILL_S = 5.0
HTTP_ALONE = {"network_protocol": {"hivemind-http-plugin": {}}}


def ran(target: Target, *arguments: str, home: Any = None, patience_s: float = 60) -> tuple[int, str, str]:
    """Run a command of the hub's make: its status, what it printed, what it complained of."""
    program = programs(target.make) / "hivemind-core"
    child = target.children.spawn(f"run-{arguments[0]}", [program, *arguments], home or target.hub.home)
    child.close_stdin()
    code = child.wait_exit(patience_s)
    return code, child.stdout.read_text("utf-8"), child.stderr.read_text("utf-8")


async def w09_broken_configuration(target: Target) -> str:
    home = target.children.home("broken")
    path = home.config / "hivemind-core" / "server.json"
    path.parent.mkdir()
    path.write_text(BROKEN, "utf-8")
    await asyncio.to_thread(ran, target, "list-clients", home=home)
    return "" if path.read_text("utf-8") == BROKEN else "a server.json with a slip in it is overwritten with defaults"


async def w10_client_added_in_a_gap(target: Target) -> str:
    """After somebody was deleted there are fewer clients than the last one's number says."""
    target.delete(target.key())
    before = target.all_keys()
    options = ["--password", PASSWORD, "--access-key", "added-in-a-gap"]
    code, _, complaint = await asyncio.to_thread(ran, target, "add-client", *options)
    assert code == 0, complaint
    lost = before - target.all_keys()
    return f"adding a client overwrote {len(lost)} others" if lost else ""


async def w15_readable_secrets(target: Target) -> str:
    home = target.hub.home.path
    files = [path for path in home.rglob("*") if path.is_file() and "logs" not in path.parts]
    secret = [path for path in files if _holds_a_secret(path)]
    assert secret, "there is no secret at all"
    return ", ".join(sorted(path.name for path in secret if path.stat().st_mode & 0o077))


def _holds_a_secret(path: Path) -> bool:
    data = path.read_bytes()
    return PASSWORD.encode() in data or b"PRIVATE KEY" in data


async def w19_end_without_a_word(target: Target) -> str:
    kitchen = await target.session(target.key())
    await target.registered(kitchen)
    name = target.bus_frames("hive.client.connect")[-1]["data"].get("peer")
    assert target.hub.child is not None
    target.hub.child.process.terminate()
    code = await closed(kitchen.socket)
    await asyncio.to_thread(target.hub.stop)
    left = lambda: [frame["data"].get("peer") for frame in target.bus_frames("hive.client.disconnect")]  # noqa: E731
    told = await soon(lambda: name in left(), target.within(1))
    await asyncio.to_thread(target.hub.start)
    if code != 1001:
        return f"satellites see the connection break ({code})"
    return "" if told else "nobody on the agent bus is told who has left"


async def w20_port_in_use(target: Target) -> str:
    other = HubProcess(
        target.children, programs(target.make) / "hivemind-core", target.bus_port, name="second", port=target.hub.port
    )
    child = target.children.spawn("second", [programs(target.make) / "hivemind-core", "listen"], other.home)
    try:
        await asyncio.to_thread(child.wait_exit, target.within(8))
    except ChildError:
        pass
    lives = "did not end" if child.process.returncode == -6 else ""
    child.kill()
    return "a hub that cannot listen stays and does nothing" if lives else ""


async def w28_bus_restarted(target: Target) -> str:
    kitchen = await target.session(target.key())
    await target.registered(kitchen)
    target.bus.kill()
    await asyncio.sleep(0.5)
    target.start_bus()
    target.peer.joined()
    answered: Any = None
    end = asyncio.get_running_loop().time() + target.within(STILL_S - 1.5)
    while not answered and asyncio.get_running_loop().time() < end:
        await kitchen.say("is it back")
        answered = await soon(lambda: kitchen.heard("you said: is it back"), 0.3)
    if not answered:  # until it is there for the attacks that follow
        while not kitchen.heard("you said: is it back"):
            await kitchen.say("is it back")
            await asyncio.sleep(0.5)
    await kitchen.close()
    return "" if answered else f"{STILL_S - 1.5:g} s after the agent bus is back the hub is not"


async def w32_commands_that_fail_in_silence(target: Target) -> str:
    outcomes = await asyncio.gather(
        asyncio.to_thread(ran, target, "make-admin", "999"), asyncio.to_thread(ran, target, "list-clients")
    )
    found = []
    if outcomes[0][0] == 0:
        found.append("a command for a client that does not exist succeeds")
    if PASSWORD in outcomes[1][1]:
        found.append("list-clients prints passwords")
    return "; ".join(found)


async def w36_weak_password_allowed(target: Target) -> str:
    options = ["--access-key", "weak-but-wanted", "--password", "foo", "--allow-weak-password"]
    code, _, complaint = await asyncio.to_thread(ran, target, "add-client", *options)
    assert code == 0, complaint
    try:
        session = await target.session("weak-but-wanted", "foo")
    except Exception:  # noqa: BLE001 - however it is turned away
        return "a client that was added with --allow-weak-password can never connect"
    await session.close()
    return ""


async def w14_http_session_of_somebody_else(target: Target) -> str:
    """With the access key alone: from another address, and from the same where the owner returns cookies."""
    url = f"http://{HOST}:{target.hub.port}"
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    jar = aiohttp.CookieJar(unsafe=True)  # which takes those of an address
    async with aiohttp.ClientSession(url) as owner, aiohttp.ClientSession(url, connector=elsewhere) as stranger:
        found = await _taken_over(owner, stranger, _token(target.key()))
    async with aiohttp.ClientSession(url, cookie_jar=jar) as owner, aiohttp.ClientSession(url) as neighbour:
        return found or await _taken_over(owner, neighbour, _token(target.key()))


async def _taken_over(owner: aiohttp.ClientSession, thief: aiohttp.ClientSession, token: str) -> str:
    query = {"authorization": token}
    async with owner.post("/connect", params=query) as answer:
        assert (await answer.json())["status"] == "Connected"
    async with owner.get("/get_messages", params=query) as answer:
        assert "messages" in await answer.json()
    async with thief.get("/get_messages", params=query) as answer:
        drained = (await answer.json()).get("messages")
    async with thief.post("/disconnect", params=query) as answer:
        ended = (await answer.json()).get("status") == "Disconnected"
    async with owner.get("/get_messages", params=query) as answer:
        ended = ended or "messages" not in await answer.json()
    return "the access key alone drains and ends the session of another" if drained or ended else ""


def _token(key: str) -> str:
    return b64encode(f"device:{key}".encode()).decode()


async def w06_hub_above_is_gone(target: Target) -> str:
    """What would go up costs nobody the connection while there is nothing above."""
    above = {"enabled": True, "host": HOST, "port": free_port(), "key": "nobody", "password": PASSWORD}
    below = await asyncio.to_thread(_below, target, above, "orphan")
    kitchen = await below.session(below.key())
    await below.registered(kitchen)
    await kitchen.travel(HiveMessageType.PROPAGATE, "up you go")
    code = await closed(kitchen.socket, 2)
    await _end(below)
    return f"a satellite loses its connection ({code})" if code is not None else ""


async def w26_hub_below_is_deaf(target: Target) -> str:
    """What is broadcast above for the site of a hub below reaches the agent there."""
    key, admin = target.key(), target.key()
    target.change(admin, is_admin=1)
    above = {"enabled": True, "host": HOST, "port": target.hub.port, "key": key, "password": PASSWORD}
    before = len(target.bus_frames("hive.client.connect"))
    below = await asyncio.to_thread(_below, target, above, "cellar")
    assert await soon(lambda: len(target.bus_frames("hive.client.connect")) > before), "it never joined"
    speaker = await target.session(admin)
    await target.registered(speaker)
    await asyncio.sleep(1)  # until the hub has seen who is an admin now
    await speaker.travel(HiveMessageType.BROADCAST, "all to the cellar", target_site_id="cellar")
    heard = lambda: [x for x in below.peer.utterances() if "all to the cellar" in str(x["data"])]  # noqa: E731
    came = await soon(heard, target.within(3))
    await speaker.close()
    await _end(below)
    return "" if came else "what the hub above broadcasts to this hub's site does not reach its agent"


def _below(target: Target, above: dict[str, Any], name: str) -> Target:
    return Target(target.children, target.make, {"upstream": above, "site_id": name}, like=target)


async def _end(below: Target) -> None:
    await below.hang_up()
    below.close()
    below.hub.kill()
    below.bus.kill()
