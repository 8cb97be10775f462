"""espeak-ng as it is installed: what it says is speech, whatever it is given, and it never keeps anybody waiting."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path

import pytest

from helpers.sound import need_engine, sound
from hivemind_core.binary.espeak import Engine, Espeak, SpeechFailed, Unspeakable

WAIT_S = 60


@pytest.fixture
def espeak() -> Espeak:
    need_engine()
    return Espeak(Engine())


def program(folder: Path, script: str) -> str:
    """A program in the place of espeak-ng."""
    path = folder / "engine"
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_it_is_speech(espeak: Espeak) -> None:
    said = sound(espeak.speech("hello world", "en-US"))
    assert said.rate == 22050
    assert said.is_speech


def test_a_longer_text_takes_longer_and_another_one_is_another(espeak: Espeak) -> None:
    short, other = (sound(espeak.speech(text, "en-US")) for text in ("it is noon", "it is late"))
    long = sound(espeak.speech("it is noon, and the kettle has been on the stove for an hour", "en-US"))
    assert long.seconds > 2 * short.seconds
    assert short.samples != other.samples


def test_languages_differ(espeak: Espeak) -> None:
    said = {lang: espeak.speech("information", lang) for lang in ("en-US", "de-DE", "fr_FR", "pt")}
    assert len(set(said.values())) == len(said)


def test_faster_is_shorter() -> None:
    need_engine()
    slow, fast = (sound(Espeak(Engine(words_per_minute=pace)).speech("hello world", "en")) for pace in (90, 350))
    assert slow.seconds > 1.5 * fast.seconds


@pytest.mark.parametrize(
    "text",
    [
        "--voices",
        "-v en; touch stolen",
        "$(touch stolen) `touch stolen`",
        "[[ n@U ]] yes",
        "<speak>yes</speak>",
        "a\0b\x1b[31m c\nd",
        "Größe 3 μm, 12 €",
    ],
)
def test_whatever_the_text_is_it_is_only_spoken(
    espeak: Espeak, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert sound(espeak.speech(text, "en-US")).loudest > 3000
    assert sorted(tmp_path.rglob("*")) == before  # in the home neither


def test_text_after_a_nul_is_spoken_too(espeak: Espeak) -> None:
    assert (
        sound(espeak.speech("one\0two three four", "en")).samples
        == sound(espeak.speech("one two three four", "en")).samples
    )


@pytest.mark.parametrize("lang", ["", "../../x", "en+f3", "-h", "english language", "en\n", "e", "zz-yy", "xx"])
def test_a_language_it_does_not_have_is_told(espeak: Espeak, lang: str) -> None:
    with pytest.raises(Unspeakable, match=r"is not a language|there is no voice for"):
        espeak.speech("hello", lang)


@pytest.mark.parametrize("text", ["   ", "\n\n", "\0"])
def test_silence_is_no_speech(espeak: Espeak, text: str) -> None:
    with pytest.raises(SpeechFailed):
        espeak.speech(text, "en")


def test_a_missing_engine_is_told() -> None:
    with pytest.raises(SpeechFailed, match="no-such-engine cannot be run: No such file"):
        Espeak(Engine("no-such-engine")).speech("hello", "en")


def test_a_failing_engine_is_told_with_what_it_said(tmp_path: Path) -> None:
    engine = Engine(program(tmp_path, "echo 'the voices are gone' >&2; exit 3"))
    with pytest.raises(SpeechFailed, match="the voices are gone"):
        Espeak(engine).speech("hello", "en")


@pytest.mark.parametrize("script", ["exit 0", "exit 5", "echo no sound"])
def test_an_engine_that_makes_no_wav_is_told(tmp_path: Path, script: str) -> None:
    with pytest.raises(SpeechFailed, match=r"said nothing|did not say a WAV file"):
        Espeak(Engine(program(tmp_path, script))).speech("hello", "en")


def test_an_engine_that_hangs_is_ended(tmp_path: Path) -> None:
    engine = Engine(program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000"), timeout_s=3.0)
    with pytest.raises(SpeechFailed, match=r"it took longer than 3 seconds"):
        Espeak(engine).speech("hello", "en")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_an_engine_that_never_ends_speaking_is_ended(tmp_path: Path) -> None:
    engine = Engine(program(tmp_path, "exec cat /dev/zero"), timeout_s=WAIT_S, max_audio_s=1)
    with pytest.raises(Unspeakable, match="would be longer than 1 seconds"):
        Espeak(engine).speech("hello", "en")


def test_speech_that_is_too_long_is_not_made(espeak: Espeak) -> None:
    with pytest.raises(Unspeakable, match="would be longer than 1 seconds"):
        Espeak(Engine(max_audio_s=1)).speech("a text that takes more than a second to say", "en")


def test_stopping_ends_what_is_running(tmp_path: Path) -> None:
    espeak = Espeak(Engine(program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000"), timeout_s=WAIT_S))
    problems: list[SpeechFailed] = []

    def speak() -> None:
        try:
            espeak.speech("hello", "en")
        except SpeechFailed as problem:
            problems.append(problem)

    thread = threading.Thread(target=speak)
    thread.start()
    end = time.monotonic() + WAIT_S
    while not (tmp_path / "pid").exists() and time.monotonic() < end:
        time.sleep(0.01)
    espeak.stop()
    thread.join(WAIT_S / 2)
    assert not thread.is_alive()
    assert "took longer" not in str(problems[0])


def test_the_engine_gets_nothing_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVEMIND_SECRET", "hush")
    with pytest.raises(SpeechFailed, match="nothing to see"):
        Espeak(Engine(program(tmp_path, 'echo "${HIVEMIND_SECRET:-nothing to see}" >&2; exit 1'))).speech("a", "en")
