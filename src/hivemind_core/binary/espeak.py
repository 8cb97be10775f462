"""Speech from espeak-ng, run as a process for each text: no shell, the text by standard input, everything bounded."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tempfile
import threading
import wave
from collections.abc import Sequence
from dataclasses import dataclass

LANG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,3}")
"""A language tag, and nothing that could be an option or a file."""
UNKNOWN_VOICE = "voice does not exist"
MAX_COMPLAINT = 200


class SpeechFailed(Exception):
    """There is no speech; the text says why, for a person, without a full stop."""


class Unspeakable(SpeechFailed):
    """There never will be for this text or language."""


@dataclass(frozen=True)
class Engine:
    """How espeak-ng is run."""

    program: str = "espeak-ng"
    """A name that is on the PATH, or a path."""
    words_per_minute: int = 175
    timeout_s: float = 10.0
    max_audio_s: float = 120.0


class Espeak:
    """Makes speech. Calls block; they may come from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def speech(self, text: str, lang: str) -> bytes:
        """Return a WAV file (PCM, 16 bit, mono) of a text. Raises SpeechFailed."""
        if not LANG.fullmatch(lang):
            raise Unspeakable(f"{lang[:20]!r} is not a language")
        spoken = "".join(char if char.isprintable() else " " for char in text).strip()
        argv = [self._engine.program, "-v", lang.replace("_", "-").lower(), "-b", "1"]
        argv += ["-s", str(self._engine.words_per_minute), "--stdin", "--stdout"]
        status, output, complaint = self._run(argv, spoken.encode())
        if UNKNOWN_VOICE in complaint:
            raise Unspeakable(f"there is no voice for {lang!r}")
        if status or not output:
            raise SpeechFailed(complaint or f"{self._engine.program} ended with status {status} and said nothing")
        return self._whole(output)

    def stop(self) -> None:
        """End what is running."""
        self._stopped = True
        for process in list(self._running):
            process.kill()

    def _run(self, argv: Sequence[str], text: bytes) -> tuple[int, bytes, str]:
        """Return exit status, output, and the end of what was complained about."""
        with tempfile.TemporaryFile() as complaints, tempfile.TemporaryFile() as source:
            source.write(text)
            source.seek(0)
            try:
                process = subprocess.Popen(
                    argv, stdin=source, stdout=subprocess.PIPE, stderr=complaints, env=_environment()
                )
            except OSError as error:
                raise SpeechFailed(f"{self._engine.program} cannot be run: {error.strerror}") from None
            output = self._read(process)
            complaints.seek(0)
            complaint = complaints.read(64 * 1024).decode(errors="replace").strip()[-MAX_COMPLAINT:]
        return process.returncode, output, complaint

    def _read(self, process: subprocess.Popen[bytes]) -> bytes:
        """Read what a process says, to its end. Raises SpeechFailed where that takes too long or is too much."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._engine.timeout_s, give_up)
        timer.daemon = True
        self._running.add(process)
        most = int(self._engine.max_audio_s * 48_000 * 2)
        try:
            timer.start()
            if self._stopped:
                process.kill()
            with process:
                assert process.stdout is not None
                output = process.stdout.read(most + 1)
                if len(output) > most:
                    process.kill()
                    raise self._too_long()
        finally:
            timer.cancel()
            self._running.discard(process)
        if late.is_set():
            raise SpeechFailed(f"it took longer than {self._engine.timeout_s:g} seconds")
        return output

    def _too_long(self) -> Unspeakable:
        return Unspeakable(f"the speech would be longer than {self._engine.max_audio_s:g} seconds")

    def _whole(self, output: bytes) -> bytes:
        """Return a WAV file whose header is right: the engine writes it before it knows how long the speech is."""
        try:
            with wave.open(io.BytesIO(output)) as streamed:
                rate, channels, width = streamed.getframerate(), streamed.getnchannels(), streamed.getsampwidth()
                frames = streamed.readframes(len(output))
        except (wave.Error, EOFError) as error:
            raise SpeechFailed(f"{self._engine.program} did not say a WAV file: {error}") from None
        if not any(frames):
            raise Unspeakable("there is nothing to hear in the text")
        if len(frames) > self._engine.max_audio_s * rate * channels * width:
            raise self._too_long()
        file = io.BytesIO()
        with wave.open(file, "wb") as whole:
            whole.setnchannels(channels)
            whole.setsampwidth(width)
            whole.setframerate(rate)
            whole.writeframes(frames)
        return file.getvalue()


def _environment() -> dict[str, str]:
    """Nothing of the hub's environment, where secrets may be, but where programs are.

    The engine's library looks for a sound server even where nothing is played, and would leave folders behind in the
    home and in /tmp for each text; what is not there it cannot use.
    """
    nowhere = os.devnull
    quiet = {"HOME": nowhere, "PULSE_RUNTIME_PATH": nowhere, "PULSE_SERVER": f"unix:{nowhere}"}
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **quiet}
