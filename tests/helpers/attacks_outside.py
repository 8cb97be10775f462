"""Attacks of strangers and clients over sockets. Each says what harm it did; nothing where the hub stood.

An attack that cannot be mounted raises (the hub is gone, a bystander is not answered): silence is never success.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress

from websockets.exceptions import ConnectionClosed, InvalidStatus

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_bus_client.serialization import encode_frame

from .bus_peer import silence
from .hub_process import UTTERANCE
from .target import SOON_S, Session, Target, clear, closed, first_text, soon

STRANGERS_PEM = "-----BEGIN PUBLIC KEY-----\nof somebody else\n-----END PUBLIC KEY-----"
HELLO = {"session": {"session_id": "a-stranger"}, "site_id": "nowhere", "pubkey": STRANGERS_PEM}
BOMB_BYTES = 120_000_000
QUIET_S = 0.5
TRIES = 4
STRANGERS = 40
TASKS: set[asyncio.Task[None]] = set()
Attack = Callable[[Target], Awaitable[str]]
FROZEN_S = 3.0


async def outcome(attack: Attack, target: Target) -> str:
    """Mount an attack and leave no connection behind; what harm was done."""
    try:
        return await attack(target)
    finally:
        await target.hang_up()


async def stranger_with_a_key(target: Target, key: str) -> list[str]:
    """Somebody who knows an access key, not its password, and says HELLO in the clear; what it is told from then on."""
    socket = await target.raw(key, max_size=None)
    told: list[str] = []

    async def listen() -> None:
        try:
            async for frame in socket:
                told.append(frame if isinstance(frame, str) else frame.hex())
        except ConnectionClosed:
            pass

    task = asyncio.create_task(listen())
    await soon(lambda: len(told) >= 2, SOON_S)
    assert told, "the hub said nothing at all"
    try:
        await socket.send(clear("hello", HELLO))
    except ConnectionClosed:
        pass
    await asyncio.sleep(QUIET_S)
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)
    return told


async def w01_unauthenticated_registration(target: Target) -> str:
    kitchen, hall = await target.session(target.key()), await target.session(target.key())
    await target.registered(kitchen, hall)
    told = await stranger_with_a_key(target, target.key())
    await kitchen.travel(HiveMessageType.PROPAGATE, "the code of the door is 4711")
    assert await soon(lambda: hall.heard("4711")), "no bystander got it either"
    await asyncio.sleep(QUIET_S)
    await hall.close()
    await kitchen.close()
    return "a stranger with the access key alone reads PROPAGATE in the clear" if "4711" in "".join(told) else ""


async def w02_foreign_intercom_pin(target: Target) -> str:
    key = target.key()
    await stranger_with_a_key(target, key)
    row = target.row(key)
    assert row["api_key"] == key
    return "the stranger's INTERCOM key is stored for the client" if STRANGERS_PEM.split("\n")[1] in str(row) else ""


async def w03_deleted_client_stays(target: Target) -> str:
    key = target.key()
    victim, hall = await target.session(key), await target.session(target.key())
    await target.registered(victim, hall)
    await asyncio.to_thread(target.hub.command, "delete-client", target.client_id(key), "--yes")
    if await closed(victim.socket, target.within(2)) is not None:
        return ""
    await victim.travel(HiveMessageType.PROPAGATE, "said after the end")
    return (
        "a deleted client is still heard by the others" if await soon(lambda: hall.heard("said after the end")) else ""
    )


async def w04_deleted_client_comes_back(target: Target) -> str:
    """A client is deleted while the hub makes the first key of it; the moment is not always met."""
    await (await target.session(target.key())).close()  # so that the attack itself has no key to make any more
    keys = [target.key() for _ in range(TRIES)]
    for key in keys:
        joining = Session(await target.raw(key), {"session": {"session_id": "w04"}}, generate_static_key())
        target.delete(key)
        with suppress(asyncio.TimeoutError, ConnectionClosed):
            await asyncio.wait_for(joining.open(), 3)
        await joining.close()
    await asyncio.sleep(QUIET_S)
    back = [key for key in keys if target.row(key).get("password")]
    return "a deleted client is back with key and password" if back else ""


async def w05_bomb_before_the_session(target: Target) -> str:
    bomb = encode_frame(HiveMessage(HiveMessageType.HELLO, {"pad": "x" * BOMB_BYTES}), compressed=True)
    assert len(bomb) < BOMB_BYTES / 500
    before = target.memory_kb()
    target.forget_peak()
    socket = await target.raw(target.key())
    await first_text(socket)
    await socket.send(bomb)
    await closed(socket, 2)
    grown = target.memory_kb("VmHWM") - before
    return f"{len(bomb) // 1000} kB of a stranger take {grown // 1000} MB" if grown * 1000 > BOMB_BYTES / 2 else ""


async def w07_stalled_bus(target: Target) -> str:
    """The assistant's bus stands still, and somebody talks to it."""
    talker = await target.session(target.key())
    await target.registered(talker)
    os.kill(target.bus.pid, signal.SIGSTOP)

    async def chatter() -> None:
        for _ in range(80):
            await talker.say("x" * 100_000)

    talking = asyncio.create_task(chatter())
    try:
        await asyncio.sleep(1)
        greeted = await _greeting(target)
    finally:
        os.kill(target.bus.pid, signal.SIGCONT)
        talking.cancel()
    talker.socket.transport.abort()
    return "" if greeted else "nobody can connect while the agent bus hangs"


async def _greeting(target: Target) -> str:
    """What a new connection is told first; nothing where that takes too long."""
    within_s = target.within(FROZEN_S)
    try:
        socket = await asyncio.wait_for(target.raw(target.key()), within_s)
    except (asyncio.TimeoutError, OSError):
        return ""
    told = await first_text(socket, within_s)
    await socket.close()
    return told


async def w08_database_fault(target: Target) -> str:
    """Somebody's table is gone for a moment; a client that the hub does not know by heart comes."""
    with closing(sqlite3.connect(target.hub.database)) as database, database:
        database.execute("ALTER TABLE clients RENAME TO away")
    try:
        socket = await target.raw(target.key())
        await first_text(socket)
        code = await closed(socket, 1.5)
    finally:
        with closing(sqlite3.connect(target.hub.database)) as database, database:
            database.execute("ALTER TABLE away RENAME TO clients")
    return "a known client is told that its key is invalid (1008)" if code == 1008 else ""


async def w11_lock_anybody_can_hold(target: Target) -> str:
    path = target.hub.home.tmp / "server.json.lock"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        greeted = await _greeting(target)
    return "" if greeted else "who holds a file in the folder for temporary files stops the hub"


async def w12_what_travels_tells_on_its_sender(target: Target) -> str:
    kitchen = await target.session(target.key())
    hall = await target.session(target.key())
    await target.registered(kitchen, hall)
    await kitchen.travel(HiveMessageType.CASCADE, "who is there", metadata={"query_id": "w12"})
    [message] = await soon(lambda: hall.heard("who is there"))
    await kitchen.close()
    await hall.close()
    context = message.payload.payload.context
    return f"others are told the sender's {sorted(context)}" if {"peer", "session"} & set(context) else ""


async def w13_slow_reader(target: Target) -> str:
    kitchen, slow = await target.session(target.key()), await target.session(target.key())
    await target.registered(kitchen, slow)
    slow.pause()
    before = target.memory_kb()
    for _ in range(500):
        await kitchen.travel(HiveMessageType.PROPAGATE, "x" * 100_000)
    await kitchen.talk("still there")
    grown = (target.memory_kb() - before) // 1000
    await kitchen.close()
    slow.socket.transport.abort()
    return f"50 MB for one that does not read are kept, {grown} MB more" if grown > 40 else ""


async def w16_events_before_the_session(target: Target) -> str:
    await target.registered(await target.session(target.key()))  # who came before has been announced
    before = len(target.bus_frames("hive.client.connect"))
    socket = await target.raw(target.key())
    await first_text(socket)
    await asyncio.sleep(QUIET_S)
    await socket.close()
    strangers = len(target.bus_frames("hive.client.connect")) - before
    return "a connection without a session is announced on the agent bus" if strangers else ""


async def w18_denial_tells_the_list(target: Target) -> str:
    kitchen = await target.session(target.key())
    await target.registered(kitchen)
    await kitchen.emit("mycroft.stop.everything")
    [denied] = await soon(lambda: kitchen.heard("mycroft.stop.everything"))
    await kitchen.close()
    return "a denial lists everything that is allowed" if UTTERANCE in json.dumps(denied.payload.data) else ""


async def w21_connections_without_end(target: Target) -> str:
    """From one address, without a session; this hub's own machine is spared by none of its limits on silence."""
    sockets = []
    try:
        for _ in range(1100):
            sockets.append(await asyncio.wait_for(_bare(target), 60))
        dropped = await soon(lambda: any(reader.at_eof() for reader, _ in sockets), target.within(QUIET_S))
    finally:
        for _, writer in sockets:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for _, writer in sockets), return_exceptions=True)
    return "" if dropped else f"{len(sockets)} connections that say nothing are all kept"


async def _bare(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", target.hub.port)


async def w23_locked_database(target: Target) -> str:
    """Somebody holds the database locked; whoever is connected goes on talking."""
    kitchen = await target.session(target.key())
    await target.registered(kitchen)
    took: list[float] = []
    with closing(sqlite3.connect(target.hub.database, isolation_level=None)) as database:
        mode = database.execute("PRAGMA journal_mode").fetchone()[0]
        database.execute("PRAGMA locking_mode = EXCLUSIVE" if mode == "delete" else "SELECT 1")
        database.execute("BEGIN EXCLUSIVE")
        for number in range(3):
            begin = asyncio.get_running_loop().time()
            await kitchen.talk(f"am I heard {number}")
            took.append(asyncio.get_running_loop().time() - begin)
            await asyncio.sleep(0.5)
        database.execute("ROLLBACK")
    await kitchen.close()
    usual = sorted(took)[1]  # one may take longer for another reason
    return f"an answer takes {usual:.0f} s while the database is locked" if usual > 2 else ""


async def w25_questions_that_nobody_answers(target: Target) -> str:
    asker = await target.session(target.key())
    await target.registered(asker)
    for number in range(12):
        target.peer.on(f"mumble {number}", silence)
        await asker.send(_query(f"mumble {number}", f"w25-{number}"))
    asked = lambda: {f["data"]["utterances"][0] for f in target.peer.utterances() if "mumble" in str(f["data"])}  # noqa: E731
    await soon(lambda: len(asked()) == 12, target.within(3))
    await asker.close()
    return f"only {len(asked())} of 12 questions reach the agent while it thinks" if len(asked()) < 12 else ""


def _query(words: str, query_id: str) -> HiveMessage:
    bus = Message(UTTERANCE, {"utterances": [words], "lang": "en-us"})
    inner = HiveMessage(HiveMessageType.BUS, bus)
    return HiveMessage(HiveMessageType.QUERY, inner, metadata={"query_id": query_id})


async def w30_answer_after_a_reconnect(target: Target) -> str:
    """Of a device that keeps its session, as ours do."""
    key = target.key()
    first = await target.session(key)
    await target.registered(first)
    asked = target.peer.utterances()[-1]["context"]
    first.socket.transport.abort()
    again = await target.session(key, device=first.device)
    await target.registered(again)
    context = {**asked, "destination": asked["source"], "source": "skill"}
    target.peer.emit("speak", {"utterance": "your timer is over"}, context)
    came = await soon(lambda: again.heard("your timer is over"), target.within(3))
    await again.close()
    return "" if came else "an answer to one who reconnected reaches nobody"


async def w37_question_id_used_again(target: Target) -> str:
    asker = await target.session(target.key())
    await target.registered(asker)
    for number in range(2):
        await asker.send(_query(f"what is {number}", "w37"))
        if not await soon(lambda number=number: asker.heard(f"you said: what is {number}"), target.within(6)):
            await asker.close()
            return "" if number == 0 else "the second question with an id is not answered"
    await asker.close()
    return ""


async def w24_unknown_keys(target: Target) -> str:
    """Many at once: nobody is let in, who is connected is answered meanwhile, and who is known is greeted."""
    kitchen = await target.session(target.key())
    await target.registered(kitchen)
    knocking = asyncio.gather(*(_knock(target, f"no-such-key-{number}") for number in range(STRANGERS)))
    took: list[float] = []
    while not knocking.done():
        begin = asyncio.get_running_loop().time()
        await kitchen.talk(f"am I heard {len(took)}")
        took.append(asyncio.get_running_loop().time() - begin)
        await asyncio.sleep(0.02)
    assert set(await knocking) <= {1008, 1013}
    await kitchen.close()
    usual = sorted(took)[len(took) // 2]  # one may take longer for another reason
    if len(took) > 2 and usual > 2:
        return f"an answer takes {usual:.0f} s while others come with unknown keys"
    return "" if await _greeting(target) else "a flood of unknown keys keeps others out"


async def _knock(target: Target, key: str) -> int | None:
    """Come with an access key that nobody has; the code with which the connection ends."""
    try:
        return await closed(await target.raw(key))
    except InvalidStatus:
        return 1008


async def w27_ping_storm(target: Target) -> str:
    """What one PING costs when three times as many answer it."""
    few, many = await _survey(target, 2), await _survey(target, 8)
    assert few >= 4
    return f"one PING among 3 takes {few} messages, among 9 {many}" if many > 5 * few else ""


async def _survey(target: Target, others: int) -> int:
    asker = await target.session(target.key())
    crowd = [await target.session(target.key()) for _ in range(others)]
    await target.registered(asker, *crowd)
    before = sum(len(one.messages) for one in (asker, *crowd))
    flood = f"survey of {others}"
    await asker.send(_ping(flood, "asker"))
    for number, one in enumerate(crowd):
        assert await soon(lambda one=one: one.heard(flood)), "the PING reached nobody"
        await one.send(_ping(flood, f"number {number}"))
    assert await soon(lambda: len(asker.heard(flood)) >= others)
    await asyncio.sleep(QUIET_S)
    cost = sum(len(one.messages) for one in (asker, *crowd)) - before
    for one in (asker, *crowd):
        await one.close()
    return cost


def _ping(flood: str, node: str) -> HiveMessage:
    body = {"flood_id": flood, "peer": node, "site_id": None, "timestamp": 1.0}
    return HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.PING, body))


async def w17_sealed_for_somebody_else(target: Target) -> str:
    """A sealed message without an address, in a PROPAGATE, for another satellite."""
    kitchen, hall = await target.session(target.key()), await target.session(target.key())
    await target.registered(kitchen, hall)
    sealed = HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "00" * 256, "signature": "11" * 256})
    await kitchen.send(HiveMessage(HiveMessageType.PROPAGATE, sealed))
    kind = HiveMessageType.PROPAGATE
    came = await soon(lambda: [one for one in hall.messages if one.msg_type == kind], target.within(3))
    await kitchen.close()
    await hall.close()
    return "" if came else "what is sealed for another satellite is swallowed by the hub"


async def p09_access_keys_in_the_log(target: Target) -> str:
    """Of a client that comes, and of one that is turned away."""
    key, wrong = target.key(), "a-key-that-nobody-has"
    kitchen = await target.session(key)
    await target.registered(kitchen)
    await closed(await target.raw(wrong))
    assert target.hub.child is not None
    printed = target.hub.child.output()
    return "access keys stand in the log" if key in printed.replace(f"of-{key}", "") or wrong in printed else ""
