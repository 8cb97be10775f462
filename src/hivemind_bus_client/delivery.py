"""Which handlers a message goes to, and in what order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .bus_context import Speaker, localise
from .dispatch import Call, Emitter, event_key
from .fakebus import FakeBus
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message, as_message, message_class
from .topics import TWIN_MARK, TWIN_OF, TwinFilter

LOG = logging.getLogger(__name__)

_BUS = HiveMessageType.BUS.value
_BINARY = HiveMessageType.BINARY.value


class BinaryDataCallbacks:
    """What to do with binary data from the hub; subclass it, or assign methods."""

    def handle_receive_tts(
        self, bin_data: bytes, utterance: str | None, lang: str | None, file_name: str | None
    ) -> Any:
        """Take speech to play, as a file's content."""
        LOG.warning("speech of %d bytes came in, and nothing handles it", len(bin_data))

    def handle_receive_file(self, bin_data: bytes, file_name: str | None) -> Any:
        """Take a file's content."""
        LOG.warning("a file of %d bytes came in, and nothing handles it", len(bin_data))


class Delivery:
    """Makes out the handlers of one client's messages; what may change meanwhile is asked for each time."""

    def __init__(
        self,
        emitter: Emitter,
        buses: Callable[[], list[Any]],
        speaker: Callable[[], Speaker],
        callbacks: Callable[[], BinaryDataCallbacks],
    ) -> None:
        self._emitter = emitter
        self._buses = buses
        self._speaker = speaker
        self._callbacks = callbacks
        self._twins = TwinFilter()

    def received(self, message: HiveMessage) -> Iterator[Call]:
        """The handlers of a message that came in."""
        kind = event_key(message.msg_type)
        if kind == _BINARY:
            yield partial(handle_binary, message, self._callbacks())
        else:
            everything = self._emitter.take("message")
            text = message.serialize() if everything else ""
            yield from (partial(handler, text) for handler in everything)
        yield from (partial(handler, message) for handler in self._emitter.take(kind))
        if kind == _BUS:
            yield from self.injected(localise(as_message(message.payload), self._speaker()))

    def injected(self, local: Message) -> Iterator[Call]:
        """The handlers of an OVOS message made local, under both of its names (see `topics`)."""
        if self._twins.is_repeat(local.msg_type, local.data, local.context):
            return
        twin = TWIN_OF.get(local.msg_type)
        for bus in self._buses():
            yield from bus_calls(bus, local)
            if twin is not None and not knows_both_names(bus):
                yield from bus_calls(bus, Message(twin, local.data, {**local.context, TWIN_MARK: True}))


def knows_both_names(bus: Any) -> bool:
    """Tell whether a bus brings a message to the listeners of its other name by itself: ours does, and the newer of
    OVOS do; given both names, they would call a handler twice.
    """
    return isinstance(bus, FakeBus) or hasattr(bus, "_translator")


def handle_binary(message: HiveMessage, callbacks: BinaryDataCallbacks) -> Any:
    """Hand binary data to the callback for its kind."""
    data, about = message.payload, message.metadata
    if message.bin_type == HiveMindBinaryPayloadType.TTS_AUDIO:
        return callbacks.handle_receive_tts(data, about.get("utterance"), about.get("lang"), about.get("file_name"))
    if message.bin_type == HiveMindBinaryPayloadType.FILE:
        return callbacks.handle_receive_file(data, about.get("file_name"))
    LOG.warning("binary data of type %s came in, and nothing handles that", message.bin_type)
    return None


def takes_speech(callbacks: BinaryDataCallbacks) -> bool:
    """Tell whether the program does something with speech that the hub sends."""
    handler = getattr(callbacks, "handle_receive_tts", None)
    return handler is not None and getattr(handler, "__func__", handler) is not BinaryDataCallbacks.handle_receive_tts


def bus_calls(bus: Any, message: Message) -> list[Call]:
    """The calls that bring a message onto a bus, as the class that the application knows."""
    cls = message_class()
    known = message if cls is Message else cls(message.msg_type, message.data, message.context)
    return bus.calls(known) if isinstance(bus, FakeBus) else [partial(bus.emit, known)]
