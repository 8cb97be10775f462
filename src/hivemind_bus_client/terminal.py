"""`hivemind-client terminal`: a conversation by keyboard."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .client import HiveMessageBusClient
from .denials import DENIED, read_denial
from .exceptions import NotConnected
from .identity_file import make_private
from .message import Message

PROMPT = "Utterance:"
UTTERANCE = "recognizer_loop:utterance"
HANDLED = "ovos.utterance.handled"
HISTORY_LINES = 1_000
QUIET_S = 10.0
"""How long, after input from a pipe has ended, to go on waiting for answers once nothing more comes."""

_REPLY, _NOTE, _WARNING = "36", "2", "33"  # ANSI: cyan, faint, yellow


def printable(text: str) -> str:
    """Return text from elsewhere without what would steer the terminal; line breaks stay."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


class Screen:
    """Writes lines without destroying what the user is typing."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._lock = threading.Lock()
        self._asking = False

    def reply(self, text: str) -> None:
        """Show what the assistant says."""
        self._write(f">  {printable(text)}", _REPLY, to_stdout=True)

    def note(self, text: str) -> None:
        """Show what goes on."""
        self._write(f"-- {text}", _NOTE, to_stdout=False)

    def warn(self, text: str) -> None:
        """Show what went wrong."""
        self._write(printable(text), _WARNING, to_stdout=False)

    def ask(self) -> str:
        """Return a line that the user types. Raises EOFError."""
        self._asking = True
        try:
            return input(PROMPT)
        finally:
            self._asking = False

    def _write(self, text: str, style: str, to_stdout: bool) -> None:
        stream = sys.stdout if to_stdout else sys.stderr
        with self._lock:
            if stream.isatty() and not os.environ.get("NO_COLOR"):
                text = f"\033[{style}m{text}\033[0m"
            redraw = self._asking and stream.isatty()
            if redraw:
                text = f"\r\033[K{text}"
            stream.write(f"{text}\n")
            stream.flush()
            if redraw:
                sys.stdout.write(PROMPT + _typed())
                sys.stdout.flush()


def _typed() -> str:
    """What stands on the input line so far."""
    with contextlib.suppress(ImportError):
        import readline

        return readline.get_line_buffer()
    return ""


def history_path() -> Path:
    """Return where the lines typed are kept."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return folder / "hivemind" / "terminal_history"


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Line editing with the lines of earlier conversations, where the system offers it."""
    try:
        import readline
    except ImportError:
        yield
        return
    path = history_path()
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            readline.write_history_file(path)
            make_private(path)


class Terminal:
    """One conversation over a connected client."""

    def __init__(self, client: HiveMessageBusClient, screen: Screen, timeout_s: float) -> None:
        self._client = client
        self._screen = screen
        self._timeout_s = timeout_s
        self._unanswered = 0
        self._heard_at = time.monotonic()
        self._settled = threading.Condition()
        self._refusal: str | None = None
        self._denied = False
        self._down = False
        client.on_mycroft("speak", self._on_speak)
        client.on_mycroft(HANDLED, self._on_handled)
        client.on_mycroft(DENIED, self._on_denied)
        client.on("reconnecting", self._on_reconnecting)
        client.on("open", self._on_open)
        client.on("auth_rejected", self._on_refused)

    def run(self) -> str | None:
        """Converse until the input ends or Ctrl-C; return why the hub refused us meanwhile, if it did."""
        try:
            if self._screen.interactive:
                with _history():
                    self._converse()
            else:
                self._pipe()
        except KeyboardInterrupt:
            if self._screen.interactive:
                print()
        return self._refusal

    @property
    def failed(self) -> bool:
        """A program that piped its lines in has not been served: the hub denied something."""
        return self._denied and not self._screen.interactive

    def _converse(self) -> None:
        while True:
            try:
                line = self._screen.ask()
            except EOFError:
                print()
                return
            try:
                self._say(line, 0.0)
            except NotConnected as error:
                self._screen.warn(f"not sent: {error}")

    def _pipe(self) -> None:
        for line in sys.stdin:
            self._say(line, self._timeout_s)
        self._await_answers()

    def _say(self, line: str, wait_s: float) -> None:
        text = line.strip()
        if not text:
            return
        with self._settled:
            self._unanswered += 1
            self._heard_at = time.monotonic()
        try:
            self._client.emit_mycroft(
                Message(UTTERANCE, {"utterances": [text]}, {"destination": "skills"}), timeout=wait_s
            )
        except NotConnected:
            self._answered()
            raise

    def _await_answers(self) -> None:
        """Wait until each utterance is said to have been handled, or nothing has come for a while."""
        with self._settled:
            while self._unanswered > 0 and self._refusal is None:
                left_s = self._heard_at + QUIET_S - time.monotonic()
                if left_s <= 0:
                    return
                self._settled.wait(left_s)

    def _answered(self) -> None:
        with self._settled:
            self._unanswered -= 1
            self._heard_at = time.monotonic()
            self._settled.notify_all()

    def _on_speak(self, message: Any) -> None:
        self._heard_at = time.monotonic()
        self._screen.reply(str(message.data.get("utterance", "")))

    def _on_handled(self, message: Any) -> None:
        session = message.context.get("session") or {}
        if session.get("session_id") == self._client.session_id:
            self._answered()

    def _on_denied(self, message: Any) -> None:
        denial = read_denial(message.data, message.context)
        self._denied = True
        self._screen.warn(str(denial))
        if denial.denied_type == UTTERANCE:
            self._answered()

    def _on_reconnecting(self) -> None:
        if not self._down:
            self._down = True
            self._screen.note("the connection to the hub was lost; reconnecting…")

    def _on_open(self) -> None:
        if self._down:
            self._down = False
            self._screen.note("connected again")

    def _on_refused(self, reason: str) -> None:
        with self._settled:
            self._refusal = reason
            self._settled.notify_all()
        if self._screen.interactive:
            _interrupt_input()


def _interrupt_input() -> None:
    """Let the main thread stop waiting for a line."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
