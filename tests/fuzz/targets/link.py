"""A hub, a satellite, and a wire that loses, repeats, changes and adds what it likes; or one end that means no good."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator

from fuzz.courses import SCENARIOS, End, Frame, client_end, hub_end
from fuzz.inputs import Choices, as_frame
from helpers.link_pair import CLIENT_PUBLIC, HUB_PUBLIC
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

MAX_OPS = 64
MAX_ROUNDS = 50
HUB, CLIENT = 0, 1
MESSAGES = (
    HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "olá"})),
    HiveMessage(HiveMessageType.BUS, Message("x", {"pad": "long " * 20_000})),
    HiveMessage(HiveMessageType.BINARY, b"\0\1\2", bin_type=4, metadata={"a": 1}),
    HiveMessage(HiveMessageType.PING, {"flood_id": "f"}),
    HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.BUS, Message("y"))),
)

WORDS: tuple[str, ...] = ()


def seeds() -> Iterator[bytes]:
    for number in range(len(SCENARIOS)):
        yield bytes([number, 13])
        yield bytes([number, 13, 9, 0, 10, 1, 13, 9, 2, 10, 3, 13, 14, 9, 4, 13])
        yield bytes([number, *(0, 1) * 10])
        yield bytes([number, 13, 12, 0, 0, 2]) + b"{}"
        yield bytes([number, 13, 12, 1, 1, 3]) + b"\x82\0{"
        yield bytes([number, 13, 12, 1, 0, 36]) + b'{"msg_type": "shake", "payload": {}}' + bytes([13])
        yield bytes([number, 13, 9, 0, 4, 0, 13, 10, 0, 4, 1, 13])
        for at in range(8):
            yield bytes([number, *(0, 1) * (at // 2), 5, at % 2, at, at * 20, 3, 13])
            yield bytes([number, *(0, 1) * (at // 2), 7, at % 2, 4]) + b'"ab"' + bytes([13])
            yield bytes([number, *(0, 1) * (at // 2), 15, at % 2, 0, 40, 3, 4]) + b"null" + bytes([13])
        yield bytes([number, 2, 0, 13, 11])
    yield bytes([8, 0, 0, 7, 1, 5]) + b"{...}"


class Course:
    """One connection."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self.scenario = SCENARIOS[choices.below(len(SCENARIOS))]
        self.ends: tuple[End, End] = (hub_end(self.scenario), client_end(self.scenario))
        self.now = 0.0
        self.ways: tuple[deque[Frame], deque[Frame]] = (deque(), deque())
        """What each has sent and the other has not received."""
        self.sent: tuple[list[str], list[str]] = ([], [])
        self.forged = [False, False]
        """What this end sends need not be what its application said."""
        self.is_honest = True
        self._collect()

    def run(self) -> None:
        for _ in range(MAX_OPS):
            if self._choices.is_over:
                break
            OPS[self._choices.below(len(OPS))](self)
            self._collect()
        if self.is_honest:
            self.carry_all()
            assert all(end.link.is_open for end in self.ends), "a course that nobody disturbed did not open"
            self._say(HUB, 0), self._say(CLIENT, 0)
            self.carry_all()
        self._check()

    def _collect(self) -> None:
        for way, end in zip(self.ways, self.ends, strict=True):
            way.extend(end.drain())

    def _side(self) -> int:
        return self._choices.byte() % 2

    def deliver(self, side: int, *, keep: bool = False) -> None:
        """Carry the next frame of one end to the other."""
        if not self.ways[side]:
            return
        frame = self.ways[side][0] if keep else self.ways[side].popleft()
        self.is_honest &= not keep
        self.ends[1 - side].take(frame, self.now)
        self._collect()

    def carry_all(self) -> None:
        """Carry frames until there are none."""
        self._collect()
        for _ in range(MAX_ROUNDS):
            if not any(self.ways):
                return
            for side in (HUB, CLIENT):
                while self.ways[side]:
                    self.deliver(side)
        raise AssertionError("the two ends never come to rest")

    def drop(self) -> None:
        side = self._side()
        if self.ways[side]:
            self.ways[side].popleft()
            self.is_honest = False

    def repeat(self) -> None:
        self.deliver(self._side(), keep=True)

    def _change(self, side: int, change: Callable[[bytes], bytes]) -> None:
        if not self.ways[side]:
            return
        self.is_honest = False
        frame = self.ways[side].popleft()
        raw = change(frame.encode() if isinstance(frame, str) else frame)
        self.ways[side].appendleft(raw.decode("utf-8", "replace") if isinstance(frame, str) else raw)

    def flip(self) -> None:
        side, place, bit = self._side(), self._choices.below(65_536), self._choices.below(8)

        def change(raw: bytes) -> bytes:
            at = place % max(1, len(raw))
            return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :] if raw else raw

        self._change(side, change)

    def cut(self) -> None:
        side, place = self._side(), self._choices.below(65_536)
        self._change(side, lambda raw: raw[: place % max(1, len(raw))])

    def splice(self) -> None:
        """Put something else in the place of a piece."""
        side, place, size = self._side(), self._choices.below(65_536), self._choices.byte()
        piece = self._choices.take(self._choices.byte())
        self._change(side, lambda raw: raw[: place % (len(raw) + 1)] + piece + raw[place % (len(raw) + 1) + size :])

    def inject(self) -> None:
        side = self._side()
        self.is_honest = False
        self.ends[1 - side].take(as_frame(self._choices.take(self._choices.byte())), self.now)

    def swap(self) -> None:
        side = self._side()
        if len(self.ways[side]) > 1:
            self.is_honest = False
            self.ways[side].rotate(1)

    def _say(self, side: int, number: int) -> None:
        if self.ends[side].link.is_open:
            self.ends[side].link.send(MESSAGES[number])
            self.sent[side].append(_told(MESSAGES[number]))

    def hub_says(self) -> None:
        self._say(HUB, self._choices.below(len(MESSAGES)))

    def client_says(self) -> None:
        self._say(CLIENT, self._choices.below(len(MESSAGES)))

    def seal(self) -> None:
        """One end, which is who it says, sends what it likes."""
        side, binary = self._side(), self._side() == 1
        body, session = self._choices.take(self._choices.byte()), self.ends[side].link._session
        if session is None:
            return
        self.is_honest, self.forged[side] = False, True
        self.ways[side].extend(session.seal(body, binary))

    def wait(self) -> None:
        self.now += 40.0
        self.is_honest = False
        for end in self.ends:
            end.tick(self.now)

    def rest(self) -> None:
        for end in self.ends:
            end.link.rest()

    def _check(self) -> None:
        hub, client = self.ends
        for end, key in ((hub, CLIENT_PUBLIC), (client, HUB_PUBLIC)):
            if end.opened is not None and end.opened.version == 3:
                assert end.opened.remote_key == key, "a session with somebody else"
        for side in (HUB, CLIENT):
            if not self.forged[side]:
                self._check_received(self.sent[side], self.ends[1 - side])

    def _check_received(self, sent: list[str], end: End) -> None:
        came = [_told(message) for message in end.received if message.msg_type != HiveMessageType.HELLO]
        if end.opened is not None and end.opened.version == 3:
            assert came == sent[: len(came)], "what came is not what was sent"
            assert not self.is_honest or came == sent, "something was lost"
        else:  # nothing protects against repetition below version 3
            assert set(came) <= set(sent), "what came was never sent"


def _told(message: HiveMessage) -> str:
    return f"{HiveMessageType(message.msg_type).value} {json.dumps(message.body, default=bytes.hex)}"


OPS: tuple[Callable[[Course], None], ...] = (
    lambda course: course.deliver(HUB),
    lambda course: course.deliver(CLIENT),
    Course.drop,
    Course.cut,
    Course.repeat,
    Course.flip,
    Course.swap,
    Course.inject,
    Course.rest,
    Course.hub_says,
    Course.client_says,
    Course.wait,
    Course.seal,
    Course.carry_all,
    Course.rest,
    Course.splice,
)


def run(data: bytes) -> None:
    Course(Choices(data)).run()
