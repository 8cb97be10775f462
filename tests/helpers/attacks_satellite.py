"""Attacks on satellites, by hubs and other nodes. As in `attacks_outside`: the harm done, or nothing.

They are in a process of their own, of either make (`Satellites`); the hub is one whose every word the attack chooses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from hivemind_bus_client.legacy import OlderOffer
from hivemind_bus_client.link import Link
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key

from .attacks_protocol import rsa_pair
from .http_link_hub import HttpLinkHub
from .link_hub import LinkHub, Peer
from .pair import DRIVERS, OURS, programs
from .processes import PATIENCE_S, Children
from .target import PASSWORD, soon

KEY = "an-access-key"
SITE = "kitchen"
LONG = 1_200_000
MOMENT_S = 6.0
"""In which a released one has connected, or has tried a second time."""


class Satellites:
    """All satellites of one make, in one process."""

    def __init__(self, children: Children, make: str = OURS, environ: dict[str, str] | None = None) -> None:
        self.make = make
        self.children = children
        self.home = children.home("satellites")
        argv = [programs(make) / "python", DRIVERS / "many_satellites.py"]
        self.child = children.spawn("satellites", argv, self.home, environ)
        self._events: list[dict[str, Any]] = []
        self._lines = 0

    def within(self, seconds: float) -> float:
        """How long to wait for what comes unless harm was done; as `Target.within`."""
        return seconds if self.make != OURS else PATIENCE_S

    def do(self, command: str, name: str, **fields: Any) -> None:
        self.child.send(command, name=name, **fields)

    def events(self) -> list[dict[str, Any]]:
        """All that they have told; what they logged is passed over."""
        new = self.child.lines()[self._lines :]
        self._lines += len(new)
        self._events += [json.loads(line) for line in new if line.startswith('{"event"')]
        return self._events

    def told(self, event: str, name: str) -> list[dict[str, Any]]:
        """What a satellite has told of one kind."""
        return [one for one in self.events() if (one["event"], one["name"]) == (event, name)]

    async def open(self, name: str, hub: LinkHub, *, within_s: float = PATIENCE_S, **more: Any) -> str:
        """Have one connect: what came of it, or nothing where that takes too long."""
        before = len(self.events())
        self.do("open", name, port=hub.port, key=KEY, **{"password": PASSWORD, **more})

        def ended() -> list[str]:
            events = [x for x in self.events()[before:] if x["name"] == name]
            return [x["event"] for x in events if x["event"] in ("connected", "failed")]

        found = await soon(ended, within_s)
        return found[0] if found else ""

    async def close(self, name: str) -> None:
        closed = len(self.told("closed", name))
        self.do("close", name)
        assert await soon(lambda: len(self.told("closed", name)) > closed), self.child.tail()

    def utterances(self, name: str) -> list[Any]:
        return [one["utterance"] for one in self.told("speak", name)]


Attack = Callable[[Satellites], Awaitable[str]]


def speak(words: str) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": words}))


async def silence(peer: Peer, message: Message) -> None:
    """No answer."""


async def joined(satellites: Satellites, name: str, hub: LinkHub, **more: Any) -> Peer:
    """A satellite that has connected, as its hub sees it."""
    assert await satellites.open(name, hub, **more) == "connected", satellites.child.tail()
    return (await soon(lambda: [peer for peer in hub.peers if peer.hello is not None]))[-1]


class Overheard:
    """A link that notes what comes."""

    def __init__(self, link: Link, heard: list[str]) -> None:
        self._link = link
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def receive(self, frame: bytes | str, now: float) -> Any:
        self._heard.append(str(frame))
        return self._link.receive(frame, now)


class Stripping(LinkHub):
    """Somebody between hub and satellite who takes the newest protocol out of the offer."""

    strips = False

    def __init__(self, clients: dict[str, str]) -> None:
        super().__init__(clients)
        self.begun: list[str] = []
        """What satellites said to an offer without it."""

    def _link(self, key: str) -> Link:
        link = super()._link(key)
        if self.strips:
            link._out[:] = [self._stripped(frame) for frame in link._out]
            return Overheard(link, self.begun)  # type: ignore[return-value]
        return link

    def _stripped(self, frame: bytes | str) -> str:
        message = json.loads(frame)
        if message["payload"].pop("noise", None):
            message["payload"].update(
                {**OlderOffer(0, password=True, crypto_key=False).fields(binarize=False), "max_protocol_version": 2}
            )
        return json.dumps(message)


class Mute(LinkHub):
    """A hub that says its greeting and then nothing any more."""

    async def _handle(self, peer: Any, event: Any) -> None:
        return None


async def p02_older_protocol_after_the_newest(satellites: Satellites) -> str:
    """The hub it has met with version 3 seems to speak version 2 all of a sudden."""
    async with Stripping({KEY: PASSWORD}) as hub:
        await joined(satellites, "p02", hub)
        await satellites.close("p02")
        hub.strips = True
        satellites.do("open", "p02", port=hub.port, key=KEY, password=PASSWORD)
        assert await soon(lambda: hub.begun or satellites.told("failed", "p02"))
        await satellites.close("p02")
        return "it speaks version 2 with a hub of version 3" if "envelope" in str(hub.begun) else ""


async def p03_another_hub_with_the_password(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        await joined(satellites, "p03", hub)
        await satellites.close("p03")
        hub.static_key = generate_static_key()
        came = await satellites.open("p03", hub, within_s=satellites.within(MOMENT_S))
        await satellites.close("p03")
        return "another hub is taken for the one it has met" if came == "connected" or hub.received else ""


async def p12_message_over_http_without_its_source(satellites: Satellites) -> str:
    async with HttpLinkHub({KEY: PASSWORD}) as hub:
        await joined(satellites, "p12", hub, kind="http")
        hub.answer = silence
        satellites.do("say", "p12", text="hello")
        await soon(lambda: hub.utterances)
        context = hub.utterances[0].body["context"]
        await satellites.close("p12")
    missing = {"source", "platform", "destination", "session"} - set(context)
    return f"a message over HTTP lacks {sorted(missing)}" if missing else ""


async def p13_long_messages_by_asyncio(satellites: Satellites) -> str:
    """To an asyncio satellite, and from it."""
    async with LinkHub({KEY: PASSWORD}) as hub:
        hub.answer = silence
        peer = await joined(satellites, "p13", hub, kind="asyncio")
        await peer.send(speak("x" * LONG))
        came = await soon(lambda: satellites.utterances("p13") == [LONG], satellites.within(5))
        satellites.do("say", "p13", text="y" * LONG)
        went = await soon(lambda: hub.utterances, satellites.within(5))
        await satellites.close("p13")
    ways = [way for way, done in (("to", came), ("from", went)) if not done]
    return f"no long message {' or '.join(ways)} an asyncio satellite" if ways else ""


async def c09_device_that_is_not_the_pinned_one(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        await joined(satellites, "c09-first", hub)
        await satellites.close("c09-first")
        came = await satellites.open("c09-other", hub, within_s=satellites.within(MOMENT_S))
        await satellites.close("c09-other")
    return "it is told that it is connected, and is not" if came != "failed" else ""


async def c10_wrong_password(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        wrong = "not the password of this one 7"
        came = await satellites.open("c10", hub, password=wrong, within_s=satellites.within(MOMENT_S))
        times = hub.connections
        await satellites.close("c10")
    return "" if came == "failed" else f"it is told nothing, and has tried {times} times"


async def c12_handler_that_fails(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        peer = await joined(satellites, "c12", hub)
        satellites.do("fail", "c12")
        satellites.do("say", "c12", text="after that the handler is there")
        assert await soon(lambda: hub.utterances)
        with suppress(ConnectionError):
            for words in ("one", "two"):
                await peer.send(speak(words))
                await soon(lambda: satellites.told("handled", "c12"))
        came = await soon(lambda: "two" in satellites.utterances("c12"), satellites.within(3))
        is_there = peer in hub.peers
        await satellites.close("c12")
    return "" if came and is_there else "a handler that fails ends the connection"


async def c15_word_of_somebody_trusted(satellites: Satellites) -> str:
    """And of a stranger, which must do nothing."""
    friend, stranger = rsa_pair()[0], rsa_pair()[0]
    async with LinkHub({KEY: PASSWORD}) as hub:
        satellites.do("trust", "c15", key=friend)
        peer = await joined(satellites, "c15", hub)
        for words, author in (("from a stranger", stranger), ("from a friend", friend)):
            route = [{"source": author, "targets": []}]
            await peer.send(HiveMessage(HiveMessageType.PROPAGATE, speak(words), target_site_id=SITE, route=route))
        await peer.send(speak("the end"))
        assert await soon(lambda: "the end" in satellites.utterances("c15"))
        heard = satellites.utterances("c15")
        await satellites.close("c15")
    if "from a stranger" in heard:
        return "a stranger's word counts"
    return "" if "from a friend" in heard else "nobody's word counts, trusted or not"


async def c22_logging_of_the_program(satellites: Satellites) -> str:
    """What importing it does to the logging of a program that has set up nothing."""
    code = "import logging, sys, hivemind_bus_client; sys.exit(len(logging.getLogger().handlers))"
    argv = [programs(satellites.make) / "python", "-c", code]
    count = await asyncio.to_thread(satellites.children.spawn("import", argv).wait_exit)
    return f"importing it gives the program {count} log handlers" if count else ""


async def c23_readable_private_keys(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        await joined(satellites, "c23", hub)
        await satellites.close("c23")
    files = [path for path in satellites.home.config.rglob("*") if path.is_file()]
    private = [path for path in files if path.suffix in (".pem", ".key") or "psk" in path.name]
    assert private, "there is no key at all"
    return ", ".join(sorted({path.name for path in private if path.stat().st_mode & 0o077}))


IN_CLEAR = {
    "a message": json.dumps(speak("in the clear").as_dict),
    "another key": json.dumps({"msg_type": "shake", "payload": {"envelope": "00", "handshake": True}}),
    "another hub": json.dumps({"msg_type": "hello", "payload": {"pubkey": "another", "node_id": "x", "peer": "x"}}),
}


async def c23_clear_text_in_a_session(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        peer = await joined(satellites, "c23-clear", hub)
        for frame in IN_CLEAR.values():
            await peer.socket.send_str(frame)
        await peer.send(speak("sealed"))
        assert await soon(lambda: "sealed" in satellites.utterances("c23-clear")), satellites.child.tail()
        heard = satellites.utterances("c23-clear")
        await satellites.close("c23-clear")
    return "what comes in the clear is taken" if "in the clear" in heard else ""


async def c23_route_that_is_none(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        peer = await joined(satellites, "c23-route", hub)
        for route in ([1], [{"source": 1}], [{}], [{"source": "a", "targets": 7}], ["x"], [None]):
            document = {**HiveMessage(HiveMessageType.PROPAGATE, speak("x")).as_dict, "route": route}
            for frame in peer.link._session.seal(json.dumps(document).encode(), False):  # type: ignore[union-attr]
                await peer.socket.send_bytes(frame)
        await peer.send(speak("still here"))
        came = await soon(lambda: "still here" in satellites.utterances("c23-route"))
        await satellites.close("c23-route")
    return "" if came and hub.connections == 1 else "a route that is none ends the connection"


async def c23_secrets_in_the_log(satellites: Satellites) -> str:
    async with LinkHub({KEY: PASSWORD}) as hub:
        await joined(satellites, "c23-log", hub)
        await satellites.close("c23-log")
    folder = satellites.home.config / "hivemind" / "c23-log"
    keys = [path.read_text("utf-8").strip().splitlines()[-2:] for path in folder.iterdir() if path.suffix != ".json"]
    logs = [path.read_text("utf-8", "replace") for path in satellites.home.path.rglob("*.log")]
    printed = "\n".join([satellites.child.output(), *logs])
    secrets = [PASSWORD, KEY, *(key[0] for key in keys)]
    return ", ".join("a secret" for secret in secrets if secret in printed)
