"""Attacks on a hub with parts that are not there by default: a policy, a mailbox, binarized links.

As in `attacks_outside`: the harm done, or nothing. `equipped` makes such a hub.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp

from hivemind_bus_client.message import HiveMessage, HiveMessageType

from . import slow_policy
from .bus_peer import saying
from .mailbox_stores import LETTER
from .pair import OURS, programs
from .processes import Children
from .target import Session, Target, closed, soon

POLICY = "hivemind-test-slow-policy"
PARTS = {
    "binarize": True,
    "policy": {"chain": [{"module": POLICY, "optional": True}]},
    "rendezvous": {"enabled": True},
}
DEPOSITS = 300
DYING = 10


def equipped(children: Children, make: str = OURS) -> Target:
    """A hub with all of them."""
    folder = _plugin(children.home("parts").path)
    paths = [folder] if make == OURS else [folder, extras()]
    environ = {"PYTHONPATH": ":".join(map(str, paths)), "HIVEMIND_TEST_GATE": str(folder)}
    return Target(children, make, PARTS, environ=environ)


def extras() -> Path:
    """The folder of packages that released ones use where they are there."""
    return next((programs("released-extras").parent / "lib").glob("python*/site-packages"))


def _plugin(home: Path) -> Path:
    """A folder that holds the policy as an installed package."""
    about = home / "plugins" / "hivemind_test_slow_policy-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    source = Path(slow_policy.__file__)
    (about.parent / source.name).write_text(source.read_text("utf-8"), "utf-8")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {POLICY}\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[hivemind.policy]\n{POLICY} = slow_policy:SlowPolicy\n", "utf-8")
    return about.parent


async def w22_policy_that_takes_its_time(target: Target) -> str:
    """A policy thinks about what one client says; whether another is answered meanwhile."""
    gate = Path(target.hub.environ["HIVEMIND_TEST_GATE"])
    kitchen, hall = await target.session(target.key()), await target.session(target.key())
    await target.registered(kitchen, hall)
    try:
        await kitchen.say("wait")
        assert await soon((gate / "began").exists), "the policy is not asked"
        await hall.say("am I heard")
        heard = await soon(lambda: hall.heard("you said: am I heard"), target.within(2))
    finally:
        (gate / "go").touch()
    assert await soon(lambda: kitchen.heard("you said: wait")), "it did not let it pass"
    for name in ("began", "go"):
        (gate / name).unlink()
    return "" if heard else "while a policy thinks about one client nobody is answered"


async def w31_one_depositor_fills_a_mailbox(target: Target) -> str:
    """For a third; there is still to be room for what another leaves."""
    greedy, modest = await target.session(target.key()), await target.session(target.key())
    owner = target.key()
    for _ in range(DEPOSITS):
        if await _deposited(greedy, owner) != "ok":
            break
    status = await _deposited(modest, owner)
    return "one who leaves messages leaves no room for another's" if status != "ok" else ""


async def _deposited(sender: Session, owner: str) -> str:
    """Leave a message for somebody; what is answered."""
    kind = HiveMessageType.RENDEZVOUS
    before = len([one for one in sender.messages if one.msg_type == kind])
    await sender.send(HiveMessage(kind, {"cmd": "deposit", "target_key": owner, "payload": LETTER}))
    answers = await soon(lambda: [one for one in sender.messages if one.msg_type == kind][before:])
    assert answers, "the mailbox does not answer"
    assert answers[0].payload.get("reason") != "not_a_rendezvous_node"
    return str(answers[0].payload["status"])


async def p10_question_over_a_binarized_link(target: Target) -> str:
    asker = await target.session(target.key())
    await target.registered(asker)
    target.peer.on("what time is it", saying("it is noon"))
    await asker.travel(HiveMessageType.QUERY, "what time is it", metadata={"query_id": "p10"})
    if await soon(lambda: asker.heard("it is noon"), target.within(3)):
        return ""
    return f"a question ends the connection ({await closed(asker.socket, 2)})"


async def p11_address_on_a_binarized_link(target: Target) -> str:
    kitchen, hall = await target.session(target.key()), await target.session(target.key())
    await target.registered(kitchen, hall)
    await kitchen.travel(HiveMessageType.PROPAGATE, "all to the cellar", target_site_id="cellar")
    came = await soon(lambda: hall.heard("all to the cellar"))
    assert came, "it did not come at all"
    return "" if came[0].target_site_id == "cellar" else "a binarized link loses the address"


async def w34_bus_client_that_dies(url: str) -> str:
    """On a bus for programs at this address: some are gone without a word, and another talks."""
    async with aiohttp.ClientSession() as session:
        talks = await session.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_close=1))
        for _ in range(DYING):
            dies = await session.ws_connect(url)
            await dies.send_json({"type": "here I am", "data": {}, "context": {}})
            assert dies._response.connection is not None
            assert dies._response.connection.transport is not None
            dies._response.connection.transport.abort()
            for number in range(20):
                with suppress(ConnectionError):
                    await talks.send_json({"type": f"number {number}", "data": {}, "context": {}})
        with suppress(ConnectionError, asyncio.TimeoutError):
            await talks.send_json({"type": "the last one", "data": {}, "context": {}})
            async for message in talks:
                if "the last one" in str(message.data):
                    await talks.close()
                    return ""
    return "a client that dies takes another along"
