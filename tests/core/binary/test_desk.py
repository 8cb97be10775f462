"""The desk: off the loop, in order for one satellite, bounded, and whatever a handler does is told, not felt."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from helpers.link_hub import eventually
from hivemind_bus_client.link import Link
from hivemind_bus_client.message import HiveMessage, Message
from hivemind_bus_client.message import HiveMindBinaryPayloadType as Kind
from hivemind_core.actions import Deny, ToAgent, ToBinary
from hivemind_core.binary import BinaryHandler, Declined, Limits
from hivemind_core.binary.default import DefaultHandler
from hivemind_core.binary.desk import TRACEBACKS_AT_ONCE, Back, Desk
from hivemind_core.binary.sender import Sender
from hivemind_core.clients import Client
from hivemind_core.peers import Peer, Registry

WAIT_S = 60.0


class Hub:
    """What a desk has of a hub, and what it did with it."""

    def __init__(self, handler: Any) -> None:
        self.sent: list[tuple[Peer, HiveMessage]] = []
        self.denials: list[tuple[Peer, Deny]] = []
        self.injected: list[tuple[Peer, ToAgent]] = []
        self.desk = Desk(handler, Back(self._send, self._deny, self._inject))
        self._registry = Registry("node")

    def _send(self, peer: Peer, message: HiveMessage) -> None:
        self.sent.append((peer, message))

    def _deny(self, peer: Peer, denial: Deny) -> None:
        assert not peer.ended
        self.denials.append((peer, denial))

    def _inject(self, peer: Peer, action: ToAgent) -> None:
        self.injected.append((peer, action))

    def peer(self, name: str = "kitchen", **session: Any) -> Peer:
        peer = self._registry.new_peer(cast(Any, Wire()), cast(Link, None), Client(1, "key", name), "ua")
        peer.session = {"session_id": name, **session}
        self._registry.register(peer)
        return peer

    @property
    def codes(self) -> list[str]:
        return [denial.code for _, denial in self.denials]


class Wire:
    remote = "here"


class Recorder(BinaryHandler):
    """Keeps what it gets; waits before each while it is held."""

    message_types = ("speak:synth",)

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__()
        self.limits = limits or Limits()
        self.calls: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.left: list[str] = []

    def _keep(self, *call: Any) -> None:
        self.begun.set()
        assert self.go.wait(WAIT_S)
        self.threads.add(threading.get_ident())
        self.calls.append(call)

    def handle_microphone_input(self, bin_data: bytes, sample_rate: int, sample_width: int, client: Sender) -> None:
        self._keep(bin_data, sample_rate, sample_width, client.peer)

    def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
        self._keep(bin_data, file_name, client.peer)

    def handle_stt_transcribe_request(
        self, bin_data: bytes, sample_rate: int, sample_width: int, lang: str, client: Sender
    ) -> None:
        self._keep(bin_data, sample_rate, sample_width, lang, client.peer)

    def handle_message(self, message: Message, client: Sender) -> None:
        self._keep(message, client.peer)

    def client_left(self, client: Sender) -> None:
        self.left.append(client.peer)


def sound(data: bytes = b"pcm", **metadata: Any) -> ToBinary:
    return ToBinary(data, Kind.RAW_AUDIO, metadata)


def file(data: bytes = b"data", name: str = "a.txt") -> ToBinary:
    return ToBinary(data, Kind.FILE, {"file_name": name})


async def test_what_comes_is_handled_off_the_loop_and_in_order() -> None:
    handler = Recorder()
    hub = Hub(handler)
    peer = hub.peer(lang="nl-NL")
    for number in range(20):
        hub.desk.take(peer, sound(bytes([number]), sample_rate=8000))
    hub.desk.take(peer, ToBinary(b"x", Kind.STT_AUDIO_TRANSCRIBE, {}))
    hub.desk.take(peer, file(name="../up/a.txt"))
    await eventually(lambda: len(handler.calls) == 22)
    assert handler.calls[:20] == [(bytes([number]), 8000, 2, peer.peer_id) for number in range(20)]
    assert handler.calls[20:] == [(b"x", 16000, 2, "nl-NL", peer.peer_id), (b"data", "a.txt", peer.peer_id)]
    assert threading.get_ident() not in handler.threads
    assert hub.denials == []
    hub.desk.stop()


async def test_one_satellite_waits_for_itself_and_no_other() -> None:
    class Slow(Recorder):
        def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
            if "slow" in client.peer:
                self._keep(file_name)
            else:
                self.calls.append((file_name,))

    handler = Slow(Limits(threads=2))
    hub = Hub(handler)
    handler.go.clear()
    slow, quick = hub.peer("slow"), hub.peer("quick")
    for name in ("1", "2", "3"):
        hub.desk.take(slow, file(name=name))
    hub.desk.take(quick, file(name="4"))
    await eventually(lambda: handler.calls == [("4",)])
    handler.go.set()
    await eventually(lambda: handler.calls == [("4",), ("1",), ("2",), ("3",)])
    hub.desk.stop()


@pytest.mark.parametrize("kind", [Kind.UNDEFINED, Kind.NUMPY_IMAGE, Kind.TTS_AUDIO, 15])
async def test_a_kind_the_handler_does_not_take_is_denied(kind: int) -> None:
    hub = Hub(Recorder())
    hub.desk.take(hub.peer(), ToBinary(b"", kind, {}))
    [(_, denial)] = hub.denials
    assert (denial.denied_type, denial.code, denial.data) == (
        "binary",
        "no_binary_handler",
        {"bin_type": str(int(kind))},
    )
    assert "it takes other kinds of data" in denial.reason
    hub.desk.stop()


async def test_metadata_that_is_wrong_is_denied() -> None:
    handler = Recorder()
    hub = Hub(handler)
    hub.desk.take(hub.peer(), sound(sample_rate="fast"))
    [(_, denial)] = hub.denials
    assert (denial.code, denial.data) == ("malformed_payload", {"bin_type": "1"})
    assert "sample_rate is not a whole number from 1 to 768000" in denial.reason
    assert handler.calls == []
    hub.desk.stop()


async def test_a_handler_that_declines_says_why() -> None:
    class Choosy(BinaryHandler):
        def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
            raise Declined("file_not_kept", "no files on Sundays")

    hub = Hub(Choosy())
    hub.desk.take(hub.peer(), file())
    await eventually(lambda: hub.codes == ["file_not_kept"])
    assert "no files on Sundays" in hub.denials[0][1].reason
    hub.desk.stop()


@pytest.mark.parametrize("error", [RuntimeError("a fault"), SystemExit(1)])
async def test_a_handler_that_fails_is_told_and_goes_on(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
            if file_name == "bad":
                raise error
            self._keep(file_name)

    handler = Failing(Limits(threads=1))
    hub = Hub(handler)
    for name in ("bad", "good"):
        hub.desk.take(hub.peer(name), file(name=name))
    await eventually(lambda: handler.calls == [("good",)])
    assert hub.codes == ["binary_handler_failed"]
    if isinstance(error, Exception):
        assert any(record.exc_info for record in caplog.records)
    hub.desk.stop()


async def test_a_stream_that_fails_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(BinaryHandler):
        def handle_microphone_input(self, bin_data: bytes, sample_rate: int, sample_width: int, client: Sender) -> None:
            raise RuntimeError("a fault")

    hub = Hub(Failing())
    peer = hub.peer()
    for _ in range(100):
        hub.desk.take(peer, sound())
    await eventually(lambda: len(hub.denials) == 100)
    assert len([record for record in caplog.records if record.exc_info]) == TRACEBACKS_AT_ONCE
    hub.desk.stop()


async def test_sound_that_is_too_much_loses_its_oldest_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    handler = Recorder(Limits(waiting=3))
    hub = Hub(handler)
    peer = hub.peer()
    handler.go.clear()
    hub.desk.take(peer, sound(b"0"))
    assert await asyncio.to_thread(handler.begun.wait, WAIT_S)
    for number in range(1, 10):
        hub.desk.take(peer, sound(str(number).encode()))
    assert hub.codes == ["binary_handler_busy"]
    assert "the oldest sound is dropped" in hub.denials[0][1].reason
    assert len([x for x in caplog.records if "does not keep up" in x.getMessage()]) == 1
    handler.go.set()
    await eventually(lambda: [call[0] for call in handler.calls] == [b"0", b"7", b"8", b"9"])
    hub.desk.stop()


async def test_each_file_that_is_too_much_is_denied() -> None:
    handler = Recorder(Limits(waiting=1))
    hub = Hub(handler)
    peer = hub.peer()
    handler.go.clear()
    hub.desk.take(peer, file(name="0"))
    for name in ("1", "2", "3"):
        hub.desk.take(peer, file(name=name))
    assert hub.codes == ["binary_handler_busy"] * 2
    handler.go.set()
    await eventually(lambda: [call[1] for call in handler.calls] == ["0", "1"])
    hub.desk.stop()


async def test_a_handler_that_hangs_costs_only_itself() -> None:
    """Every thread hangs; the loop is free, what waits is bounded, and what is too much is told."""
    handler = Recorder(Limits(threads=1, waiting=2))
    hub = Hub(handler)
    handler.go.clear()
    peers = [hub.peer(str(number)) for number in range(3)]
    for peer in peers:
        for _ in range(4):
            hub.desk.take(peer, file())
    # Of each peer one is with the pool, and two wait.
    assert hub.codes == ["binary_handler_busy"] * 3
    assert await asyncio.to_thread(handler.begun.wait, WAIT_S)
    hub.desk.stop()
    handler.go.set()


async def test_messages_of_its_types_are_the_handlers_and_no_others() -> None:
    handler = Recorder()
    hub = Hub(handler)
    peer, asked = hub.peer(), Message("speak:synth", {"utterance": "hello"})
    assert hub.desk.hears(peer, asked)
    assert not hub.desk.hears(peer, Message("recognizer_loop:utterance", {}))
    await eventually(lambda: handler.calls == [(asked, peer.peer_id)])
    hub.desk.stop()


async def test_a_message_that_is_declined_is_denied_by_its_type() -> None:
    class Mute(Recorder):
        def handle_message(self, message: Message, client: Sender) -> None:
            raise Declined("speech_unavailable", "it is a library")

    hub = Hub(Mute())
    hub.desk.hears(hub.peer(), Message("speak:synth", {}))
    await eventually(lambda: hub.denials)
    denial = hub.denials[0][1]
    assert (denial.denied_type, denial.code, denial.data) == ("speak:synth", "speech_unavailable", {})
    hub.desk.stop()


async def test_what_waits_for_one_that_left_is_dropped_and_the_handler_is_told() -> None:
    handler = Recorder()
    hub = Hub(handler)
    peer, other = hub.peer(), hub.peer("other")
    handler.go.clear()
    for _ in range(3):
        hub.desk.take(peer, file())
    assert await asyncio.to_thread(handler.begun.wait, WAIT_S)
    peer.ended = True
    hub.desk.left(peer)
    hub.desk.left(other)
    assert handler.left == []
    handler.go.set()
    await eventually(lambda: handler.left == [peer.peer_id])
    assert len(handler.calls) == 1
    hub.desk.stop()


async def test_what_the_policies_let_through_after_it_left_is_dropped() -> None:
    handler = Recorder()
    hub = Hub(handler)
    peer = hub.peer()
    peer.ended = True
    hub.desk.left(peer)
    hub.desk.take(peer, file())
    assert hub.desk.hears(peer, Message("speak:synth", {"utterance": "hello"}))
    hub.desk.take(hub.peer("other"), file())
    await eventually(lambda: handler.calls)
    assert (len(handler.calls), len(hub.desk._met)) == (1, 1)
    hub.desk.stop()


async def test_one_that_left_is_told_nothing() -> None:
    class Failing(Recorder):
        def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
            self._keep(file_name)
            raise RuntimeError

    handler = Failing()
    hub = Hub(handler)
    peer = hub.peer()
    handler.go.clear()
    hub.desk.take(peer, file())
    peer.ended = True
    hub.desk.left(peer)
    handler.go.set()
    await eventually(lambda: handler.left)
    assert hub.denials == []
    hub.desk.stop()


async def test_stopping_tells_the_handler_and_outlives_its_faults(caplog: pytest.LogCaptureFixture) -> None:
    stopped: list[int] = []

    class Faulty(BinaryHandler):
        def stop(self) -> None:
            stopped.append(1)
            raise RuntimeError("a fault")

    Hub(Faulty()).desk.stop()
    assert stopped == [1]
    assert "could not be stopped" in caplog.text


class Foreign:
    """As released plugins are: of no class of ours, with the methods it needs."""

    def __init__(self, done: Callable[..., None]) -> None:
        self._done = done

    def handle_microphone_input(self, bin_data: bytes, sample_rate: int, sample_width: int, client: Any) -> None:
        self._done(bin_data, sample_rate, sample_width)


async def test_a_handler_of_another_make_is_called_the_same() -> None:
    calls: list[tuple[Any, ...]] = []
    hub = Hub(Foreign(lambda *call: calls.append(call)))
    peer = hub.peer()
    hub.desk.take(peer, sound())
    hub.desk.take(peer, file())
    assert not hub.desk.hears(peer, Message("speak:synth", {}))
    await eventually(lambda: calls == [(b"pcm", 16000, 2)])
    assert hub.codes == ["no_binary_handler"]
    hub.desk.left(peer)
    hub.desk.stop()


async def test_without_a_handler_everything_is_denied_at_once() -> None:
    before = set(threading.enumerate())  # those of an earlier test may be ending
    hub = Hub(DefaultHandler())
    for kind in Kind:
        hub.desk.take(hub.peer(), ToBinary(b"", kind, {}))
    assert hub.codes == ["no_binary_handler"] * len(Kind)
    assert not hub.desk.hears(hub.peer(), Message("speak:synth", {}))
    assert not [x for x in set(threading.enumerate()) - before if x.name.startswith("hive-binary")]
