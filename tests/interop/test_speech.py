"""A released satellite asks our hub for speech, and hears it."""

from __future__ import annotations

import hashlib

from helpers.pair import OURS, Pair, talk
from helpers.processes import Children
from helpers.sound import need_engine, sound
from hivemind_core.binary.espeak import Engine, Espeak

LONG = "there were bottles on the wall, and 12 of them fell; " * 18


def test_a_released_satellite_hears_speech(children: Children) -> None:
    need_engine()
    pair = Pair(children, "released-client", OURS)
    pair.hub.stop()
    pair.hub.configure({"binary_protocol": {"module": "speech"}})
    pair.hub.command("allow-msg", "speak:synth", "1")
    pair.hub.start()
    satellite = pair.satellite()
    satellite.expect("connected")
    talk(satellite)
    for text in ("hello world", LONG):
        satellite.send("message", type="speak:synth", data={"utterance": text})
        heard = satellite.expect("received", kind="TTS_AUDIO")
        speech = Espeak(Engine()).speech(text, "en-us")
        assert sound(speech).is_speech
        assert heard["digest"] == hashlib.sha256(speech).hexdigest()
        assert heard["name"].endswith(".wav")
    satellite.send("message", type="speak:synth", data={"utterance": "hello", "lang": "zz"})
    assert satellite.expect("denied")["code"] == "speech_unavailable"
    talk(satellite, "still there")
