"""What is in a WAV file, as far as tests ask; and the engine that makes speech, without which they cannot run."""

from __future__ import annotations

import io
import shutil
import wave
from array import array
from typing import NamedTuple

from .pair import cannot_run

VOICED = 500
"""Mean level (of 32767) from which a piece of sound counts as voice."""
PIECE_S = 0.02


class Sound(NamedTuple):
    """A recording."""

    rate: int
    seconds: float
    loudest: int
    voiced_s: float
    """How much of it is not silence."""
    samples: bytes

    @property
    def is_speech(self) -> bool:
        """Tell whether it is as long, as loud and as uneven as words are: neither silence nor noise nor one tone."""
        return self.seconds > 0.3 and self.loudest > 3000 and 0.2 < self.voiced_s / self.seconds < 0.98


def sound(wav: bytes) -> Sound:
    """Read a WAV file, whose header must say how long it is."""
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        rate, frames = file.getframerate(), file.getnframes()
        samples = file.readframes(frames)
    assert len(samples) == 2 * frames == len(wav) - 44
    levels = array("h", samples)
    piece = int(rate * PIECE_S)
    pieces = [levels[start : start + piece] for start in range(0, len(levels), piece)]
    voiced = [part for part in pieces if sum(map(abs, part)) / len(part) > VOICED]
    return Sound(rate, frames / rate, max(map(abs, levels), default=0), len(voiced) * PIECE_S, samples)


def need_engine() -> None:
    """End the test where there is no engine."""
    if shutil.which("espeak-ng") is None:
        cannot_run("espeak-ng is not installed, which these tests make speech with: apt install espeak-ng")
