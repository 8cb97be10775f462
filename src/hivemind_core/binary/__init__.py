"""Handlers for binary data: what a satellite sends that is no message, and speech for satellites that have no voice.

A handler is a `BinaryHandler`: override the callbacks for what it takes. To add one that ships with the hub: a module
here, and a line in `HANDLERS`; one of your own is a package with the entry point group ``hivemind.binary.protocol``,
and `binary_protocol.module` in server.json names it (docs/binary.md).

The hub calls a handler in threads: in order for one satellite, several satellites at once. It may take its time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from hivemind_bus_client.message import Message

from .lines import Limits

if TYPE_CHECKING:
    from ..config_values import Values
    from .sender import Sender

log = logging.getLogger(__name__)

BINARY_GROUP = "hivemind.binary.protocol"


class Declined(Exception):
    """Raised by a handler that does not take something: the satellite is told so (docs/protocol.md 11.2)."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        """Row of refusals.DENIALS."""
        self.detail = detail
        """For a person, without a full stop."""


def _not_taken(*_: object) -> None:
    raise Declined("no_binary_handler")


class BinaryHandler:
    """Takes nothing; override what yours takes. What is not overridden is answered with a denial.

    Every callback gets the bytes first and the satellite last. Raise `Declined` to answer with a denial of your own;
    any other exception is logged, and the satellite is told that the handler failed.
    """

    limits: Limits = Limits()
    message_types: Collection[str] = ()
    """Types of OVOS messages that `handle_message` answers; they do not reach the agent then."""

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        hm_protocol: Any = None,
        callbacks: Any = None,
        agent_protocol: Any = None,
    ) -> None:
        self.config = dict(config or {})
        """The object in `binary_protocol` that is named like the module."""
        self.hm_protocol, self.callbacks, self.agent_protocol = hm_protocol, callbacks, agent_protocol

    def handle_microphone_input(self, bin_data: bytes, sample_rate: int, sample_width: int, client: Sender) -> None:
        """Take a part of a stream of sound: PCM, signed, little-endian, mono; `sample_width` in bytes."""
        _not_taken()

    def handle_numpy_image(self, bin_data: bytes, camera_id: str | None, client: Sender) -> None:
        """Take a picture."""
        _not_taken()

    def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
        """Take a file; the name has no folders in it."""
        _not_taken()

    def handle_stt_transcribe_request(
        self, bin_data: bytes, sample_rate: int, sample_width: int, lang: str, client: Sender
    ) -> None:
        """Answer with what was said: a bus message ``recognizer_loop:transcribe.response``."""
        _not_taken()

    def handle_stt_handle_request(
        self, bin_data: bytes, sample_rate: int, sample_width: int, lang: str, client: Sender
    ) -> None:
        """Find out what was said, and `Sender.inject` it as an utterance of the satellite."""
        _not_taken()

    def handle_receive_tts(
        self, bin_data: bytes, utterance: str | None, lang: str, file_name: str | None, client: Sender
    ) -> None:
        """Take speech."""
        _not_taken()

    def handle_message(self, message: Message, client: Sender) -> None:
        """Answer an OVOS message of one of the `message_types`; the policies have let it through."""
        _not_taken()

    def client_left(self, client: Sender) -> None:
        """Forget a satellite; called after everything else of it, if there was anything."""

    def stop(self) -> None:
        """End what is under way; called once, on the event loop, so it must not block."""


def own_method(handler: Any, name: str) -> Callable[..., Any] | None:
    """Return a handler's method, and None if it has none of its own. It need not be a `BinaryHandler`."""
    method = getattr(handler, name, None)
    if method is None or getattr(method, "__func__", None) is getattr(BinaryHandler, name):
        return None
    found: Callable[..., Any] = method
    return found


def _speech(values: Values, block: tuple[str, ...]) -> BinaryHandler:
    from .speech import SpeechHandler, SpeechSettings

    return SpeechHandler(SpeechSettings.read(values, block))


def _files(values: Values, block: tuple[str, ...]) -> BinaryHandler:
    from .files import FileHandler, FileSettings

    return FileHandler(FileSettings.read(values, block))


Factory = Callable[["Values", tuple[str, ...]], BinaryHandler]
"""Makes a handler of the values in a block of server.json, named by its path. Raises ConfigError."""

HANDLERS: dict[str, Factory] = {
    "speech": _speech,
    "hivemind-speech-binary-protocol": _speech,
    "files": _files,
    "hivemind-files-binary-protocol": _files,
}


def create_binary(module: str | None, values: Values) -> Any:
    """Return the handler that `binary_protocol.module` names; None names the one that declines everything.

    Raises ConfigError for a name that nobody has and for settings that cannot be. A plugin that cannot be made is
    logged, and everything for it is declined: the hub has other work than this.
    """
    from .default import DefaultHandler

    if not module:
        return DefaultHandler()
    block = ("binary_protocol", module)
    if module in HANDLERS:
        return HANDLERS[module](values, block)
    found = {point.name: point for point in entry_points(group=BINARY_GROUP)}
    if module not in found:
        from ..config_values import ConfigError

        known = ", ".join([*HANDLERS, *sorted(found)])
        raise ConfigError(
            f"There is no handler for binary data named {module!r}: install the package that has it, or name another"
            f" in `binary_protocol.module`. The known ones are: {known}."
        )
    try:
        return found[module].load()(config=values.object(*block))
    except Exception:  # a plugin call
        log.exception("the handler for binary data %s cannot be used", module)
        return DefaultHandler("binary_handler_failed", "it could not be started")


__all__ = ["BINARY_GROUP", "HANDLERS", "BinaryHandler", "Declined", "Limits", "create_binary", "own_method"]
