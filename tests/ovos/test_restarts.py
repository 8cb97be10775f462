"""Parts of OVOS, and the hub, go away under live satellites and come back."""

from __future__ import annotations

from functools import partial

import pytest

from helpers.ovos_scene import Scene, Voice, at_once
from helpers.pair import OURS
from helpers.processes import wait_until

from .conftest import BESIDE, EMBEDDED

pytestmark = pytest.mark.timeout(600)

MAKES = (OURS, "released-client")
CLOCK = "ovos-skill-date-time.openvoiceos"
only_beside = pytest.mark.parametrize("scene", [BESIDE], ids=["beside"], indirect=True)
both = pytest.mark.parametrize("scene", [BESIDE, EMBEDDED], ids=["beside", "embedded"], indirect=True)


def hear_the_clock(scene: Scene) -> None:
    voices = voices_of(scene)
    answers = at_once(*(partial(voice.until_answered, "what time is it") for voice in voices))
    assert [scene.speaker_of(spoken[0]) for spoken in answers] == [CLOCK] * len(voices)


def voices_of(scene: Scene) -> list[Voice]:
    return [scene.voice(make) for make in MAKES]


def closed(voices: list[Voice]) -> int:
    """How often the satellites lost the hub."""
    return sum(len(voice.events("close")) for voice in voices)


def restart_hub(scene: Scene, voices: list[Voice]) -> None:
    opened = [len(voice.events("open")) for voice in voices]
    scene.hub.kill()
    scene.hub.start()
    for voice, before in zip(voices, opened, strict=True):
        wait_until(lambda v=voice, n=before: len(v.events("open")) > n, 60, f"back again\n{voice.child.tail()}")


@both
def test_the_core_is_restarted(scene: Scene) -> None:
    voices = voices_of(scene)
    before = closed(voices)
    scene.ovos.stop_core()
    for voice in voices:
        voice.say("what time is it")
    scene.ovos.start_core()
    hear_the_clock(scene)
    assert closed(voices) == before


@both
def test_the_hub_is_restarted(scene: Scene) -> None:
    """Where it serves the bus, that goes with it."""
    voices = voices_of(scene)
    restart_hub(scene, voices)
    hear_the_clock(scene)
    for voice in voices:
        assert len({session["session_id"] for session in scene.sessions_of(voice)}) == 1


@only_beside
def test_what_a_skill_asked_is_answered_over_another_hub(scene: Scene) -> None:
    voice = scene.voice(OURS)
    before = len(voice.events())
    voice.say("knock knock")
    wait_until(lambda: voice.spoken(before) == ["who is there"], 60, f"a question\n{voice.child.tail()}")
    voice.settle()
    restart_hub(scene, [voice])
    voice.say("bob")
    wait_until(lambda: voice.spoken(before)[1:] == ["welcome bob"], 60, f"an answer\n{voice.child.tail()}")


@only_beside
def test_the_bus_is_restarted(scene: Scene) -> None:
    voices = voices_of(scene)
    hear_the_clock(scene)
    before = closed(voices)
    hub = scene.hub.child
    assert hub is not None
    noticed = hub.output().count(" is away ")
    scene.ovos.stop_bus()
    wait_until(lambda: hub.output().count(" is away ") > noticed, 60, "the hub to notice")
    for voice in voices:
        heard = len(voice.events())
        voice.say("what time is it")
        assert voice.wait_event("denied", heard)["code"] == "backend_unavailable"
        assert voice.spoken(heard) == []
    scene.ovos.start_bus()
    hear_the_clock(scene)
    assert closed(voices) == before
