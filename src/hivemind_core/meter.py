"""What the hub counts of itself while it works. `hub_metrics` tells how it stands at a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hivemind_bus_client.link import Opened, Received
from hivemind_bus_client.message import HiveMessageType

from .metrics import OTHER, Counter, Family, Histogram

if TYPE_CHECKING:
    from .peers import Connection, Peer

WORK_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
QUESTION = "recognizer_loop:utterance"
ANSWERED_WITHIN_S = 60.0
"""What comes later is no answer to what was asked before."""
OPENED, LEFT = "opened", "left"
BUS = HiveMessageType.BUS.value
_TYPES: dict[str, str] = {kind.value: kind.value for kind in HiveMessageType}
Handle = Callable[["Peer", Any], None]


class Meter:
    """All counters of one hub. There is no lock: everything happens on the hub's loop."""

    __slots__ = (
        *("clock", "answers", "bytes_in", "bytes_out", "denials", "denied_so_far", "frames_in", "frames_out"),
        *("handling", "handshake_time", "handshakes", "messages", "refusals", "sessions"),
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.clock = clock
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = self.denied_so_far = 0
        self.messages = Counter(
            "hivemind_messages_received_total",
            "Messages of satellites: accepted, denied at once (the satellite is told) or refused (its connection ends)",
            ("type", "verdict"),
        )
        self.denials = Counter("hivemind_denials_total", "Messages denied, by code", ("code",))
        self.refusals = Counter("hivemind_refusals_total", "Connections the hub refused or ended, by code", ("code",))
        self.handshakes = Counter(
            "hivemind_handshakes_total",
            "Handshakes by what became of them: opened, left (the other end gave up), or the code of the refusal",
            ("outcome",),
        )
        self.sessions = Counter("hivemind_sessions_total", "Sessions opened", ("protocol", "pattern"))
        self.handshake_time = Histogram(
            "hivemind_handshake_seconds", "Time from the hub's greeting to the open session", WAIT_S
        )
        self.handling = Histogram("hivemind_message_handling_seconds", "Time the hub takes for one message", WORK_S)
        self.answers = Histogram(
            "hivemind_answer_seconds",
            "Time from an utterance to the first message of the assistant for its satellite",
            WAIT_S,
        )

    # frames

    def took(self, frame: bytes | str) -> None:
        """Count a frame that came."""
        self.frames_in += 1
        self.bytes_in += len(frame)

    def send(self, conn: Connection, frames: list[bytes | str]) -> None:
        """Hand frames to a connection, and count them."""
        self.frames_out += len(frames)
        for frame in frames:
            self.bytes_out += len(frame)
        conn.send(frames)

    # messages

    def receiving(self, handle: Handle) -> Handle:
        """Return a handler of received messages that is counted and timed."""
        clock, count, observe = self.clock, self.messages.count, self.handling.observe

        def received(peer: Peer, event: Received) -> None:
            message, before, began = event.message, self.denied_so_far, clock()
            kind = message.msg_type
            if kind == BUS and type(body := message.body) is dict and body.get("type") == QUESTION:
                peer.timed_from = began
            handle(peer, event)
            verdict = "accepted"
            if self.denied_so_far != before:
                verdict, peer.timed_from = "denied", 0.0
            elif peer.ended:
                verdict = "refused"
            count(_TYPES.get(kind, OTHER), verdict)
            observe(clock() - began)

        return received

    def answering(self, send: Handle) -> Handle:
        """Return a way to send the assistant's answers that sees how long the first of each took."""

        def answer(peer: Peer, message: Any) -> None:
            if peer.timed_from:
                taken, peer.timed_from = self.clock() - peer.timed_from, 0.0
                if taken <= ANSWERED_WITHIN_S:
                    self.answers.observe(taken)
            send(peer, message)

        return answer

    def denied(self, code: str) -> None:
        """Count a message that was denied."""
        self.denied_so_far += 1
        self.denials.count(code)

    # connections

    def entered(self, peer: Peer) -> None:
        """Note the beginning of a handshake."""
        peer.timed_from = self.clock()

    def accepted(self, peer: Peer, opened: Opened) -> None:
        """Count a handshake that led to a session."""
        self.handshake_time.observe(self.clock() - peer.timed_from)
        peer.timed_from = 0.0
        self.handshakes.count(OPENED)
        self.sessions.count(str(opened.version), opened.pattern)

    def failed(self, peer: Peer, why: str = LEFT) -> None:
        """Count a handshake that led to nothing, once."""
        if peer.timed_from:
            peer.timed_from = 0.0
            self.handshakes.count(why)

    def families(self) -> Iterable[Family]:
        """Return everything that was counted."""
        for each in (self.messages, self.denials, self.refusals, self.handshakes, self.sessions):
            yield each.family()
        for histogram in (self.handling, self.answers, self.handshake_time):
            yield histogram.family()
        for name, help in (
            ("frames_in", "Frames received from satellites"),
            ("frames_out", "Frames handed to connections"),
            ("bytes_in", "Bytes of the frames received"),
            ("bytes_out", "Bytes of the frames handed to connections"),
        ):
            what, _, way = name.partition("_")
            full = f"hivemind_{'received' if way == 'in' else 'sent'}_{what}_total"
            counter = Counter(full, help)
            counter.count(by=getattr(self, name))
            yield counter.family()


__all__ = ["Meter"]
