"""Meshes of both makes: our hub under a released one, a released one under ours, satellites of both side by side.

At every hub sit a satellite of ours and a released one, at ours the same two over HTTP besides; every story is told by
all of them at once. What a released peer cannot is asserted as it is, with the reason beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from helpers.mixed_mesh import SURVEYOR, THEIRS, UTTERANCE, WAIT_S, MixedMesh, Satellite, Seat
from helpers.pair import OURS
from helpers.processes import Child, ChildError, Children, wait_until

MESHES: Mapping[str, Mapping[str, str]] = {
    "ours below": {"top": THEIRS, "low": OURS},
    "theirs below": {"top": OURS, "low": THEIRS},
    "beside": {"top": OURS},
}
SITES = {"top": "tower", "low": "house"}
SLOW_SURVEY_S = 20
HALL = "hall"
"""Where those are that speak HTTP: at no hub's own site."""
ENDS = ("hive.query.complete", "hive.query.timeout")
LONG = " a long secret" * 500
"""Some 7 kB."""


def seats(makes: Mapping[str, str]) -> dict[str, Seat]:
    """Two satellites at each hub, and two more over HTTP at ours."""
    ways = [(level, http) for level, hub in makes.items() for http in (False, True) if hub == OURS or not http]
    return {
        f"{name}-{level}{'-http' * http}": Seat(make, level, HALL if http else SITES[level], http)
        for level, http in ways
        for name, make in (("ours", OURS), ("theirs", THEIRS))
    }


@pytest.fixture(scope="module", params=MESHES)
def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MixedMesh]:
    makes = MESHES[request.param]
    with Children(tmp_path_factory.mktemp("mesh")) as children:
        made = MixedMesh(children)
        try:
            made.grow(makes, SITES, seats(makes))
        except AssertionError:
            print(children.report())
            raise
        yield made


def is_lost_from_above(mesh: MixedMesh, sender: Satellite, level: str) -> bool:
    """A released hub shows its agent nothing of what comes from the hub above it, nor asks it anything (W26)."""
    return mesh.hubs[level].make != OURS and level not in mesh.up_from(sender.seat.hub)


def settles(mesh: MixedMesh, look: Callable[[], Any], expected: Any) -> None:
    """Wait for what comes, and for what may not come; then everything is as it should be."""
    with suppress(ChildError):
        wait_until(lambda: look() == expected, WAIT_S, "everything")
    mesh.quiet()
    assert look() == expected


def spoken(one: Satellite, about: str) -> list[str]:
    """What a satellite let through to its local bus of what was said about something."""
    said = [found["data"].get("utterance", "") for found in one.got("bus", type="speak")]
    return sorted(text for text in said if text.startswith(about))


def propagated(mesh: MixedMesh, about: str) -> dict[str, list[str]]:
    """What of that came to each satellite in a PROPAGATE, whether it let it through or not."""
    found = {
        one.name: [event["data"].get("utterance") or "" for event in one.got("envelope", type="propagate")]
        for one in mesh.all
    }
    return {name: sorted(text for text in texts if text.startswith(about)) for name, texts in found.items()}


def at_agents(mesh: MixedMesh, about: str) -> dict[str, list[str]]:
    """What of that came onto the buses of the hubs' agents."""
    return {
        level: sorted(text for found in hub.heard(about, "speak") for text in [found["data"]["utterance"]])
        for level, hub in mesh.hubs.items()
    }


def test_what_is_propagated_reaches_everybody_once_and_the_agent_of_its_site(mesh: MixedMesh) -> None:
    for sender in mesh.all:
        for site in mesh.sites:
            sender.tells("propagate", "speak", {"utterance": f"propagated by {sender.name} to {site}"}, site=site)

    expected = {
        one.name: sorted(
            f"propagated by {sender.name} to {site}" for sender in mesh.others(one.name) for site in mesh.sites
        )
        for one in mesh.all
    }
    expected_at_agents = {
        level: sorted(
            f"propagated by {sender.name} to {hub.site}"
            for sender in mesh.all
            if not is_lost_from_above(mesh, sender, level)
        )
        for level, hub in mesh.hubs.items()
    }
    about = "propagated by"
    settles(mesh, lambda: (propagated(mesh, about), at_agents(mesh, about)), (expected, expected_at_agents))


def test_what_is_broadcast_reaches_one_site_below(mesh: MixedMesh) -> None:
    for sender in mesh.all:
        for site in mesh.sites:
            sender.tells("broadcast", "speak", {"utterance": f"broadcast by {sender.name} to {site}"}, site=site)

    def below(sender: Satellite, level: str) -> bool:
        return sender.seat.hub in mesh.up_from(level)

    expected = {
        one.name: sorted(
            f"broadcast by {sender.name} to {one.seat.site}"
            for sender in mesh.others(one.name)
            if below(sender, one.seat.hub)
        )
        for one in mesh.all
    }
    expected_at_agents = {
        level: sorted(
            f"broadcast by {sender.name} to {hub.site}"
            for sender in mesh.all
            if below(sender, level) and not is_lost_from_above(mesh, sender, level)
        )
        for level, hub in mesh.hubs.items()
    }

    def arrived() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        return {one.name: spoken(one, "broadcast by") for one in mesh.all}, at_agents(mesh, "broadcast by")

    settles(mesh, arrived, (expected, expected_at_agents))


def test_what_is_escalated_reaches_the_agent_of_its_site_above_and_no_satellite(mesh: MixedMesh) -> None:
    for sender in mesh.all:
        for site in mesh.sites:
            sender.utters("escalate", f"escalated by {sender.name} to {site}", site=site)

    def heard() -> dict[str, list[str]]:
        found = {level: hub.heard("escalated by") for level, hub in mesh.hubs.items()}
        return {level: sorted(one["data"]["utterances"][0] for one in frames) for level, frames in found.items()}

    expected = {
        level: sorted(
            f"escalated by {sender.name} to {hub.site}" for sender in mesh.all if level in mesh.up_from(sender.seat.hub)
        )
        for level, hub in mesh.hubs.items()
    }
    settles(mesh, heard, expected)
    assert {one.name: one.got("envelope", type="escalate") for one in mesh.all} == {one.name: [] for one in mesh.all}


def test_a_question_is_answered_by_the_first_hub_above_that_knows(mesh: MixedMesh) -> None:
    """Whoever declines says so at once, of either make, and the next above is asked; if nobody knows, that is said."""
    asked = [(sender, level) for sender in mesh.all for level in ("nobody", *mesh.hubs)]
    for sender, level in asked:
        sender.utters("query", f"what {level} knows", metadata={"query_id": f"q-{sender.name}-{level}"})

    def answered() -> dict[str, list[tuple[str, str]]]:
        return {
            f"q-{sender.name}-{level}": answer_of(mesh, sender, f"q-{sender.name}-{level}") for sender, level in asked
        }

    expected = {}
    for sender, level in asked:
        query_id = f"q-{sender.name}-{level}"
        expected[query_id] = (
            [(level, f"{level} says: what {level} knows"), (level, "hive.query.complete")]
            if level in mesh.up_from(sender.seat.hub)
            else [("top", "hive.query.timeout no_answer")]
        )
    settles(mesh, answered, expected)
    for sender, level in asked:
        query_id = f"q-{sender.name}-{level}"
        assert [one.name for one in mesh.all if one.answers(query_id)] == [sender.name], "nobody else is told"


def answer_of(mesh: MixedMesh, sender: Satellite, query_id: str) -> list[tuple[str, str]]:
    """Who answered what to a question: hubs by their level, satellites by their name."""
    answers = sender.answers(query_id)
    return [(mesh.name_of(answer["metadata"]["responder_peer"]), said(answer)) for answer in answers]


def said(answer: dict[str, Any]) -> str:
    if answer["topic"] in ENDS:
        return " ".join([answer["topic"], *([answer["data"]["error"]] if answer["data"] else [])])
    return str(answer["data"]["utterance"])


def test_everybody_answers_a_cascade(mesh: MixedMesh) -> None:
    """All hubs and satellites, but for those below a released hub when the question comes from above: it passes the
    question down, asks nobody itself, and has forgotten whom the answers are for (W26)."""
    for sender in mesh.all:
        sender.utters("cascade", f"everybody hear {sender.name}", metadata={"query_id": f"c-{sender.name}"})

    def answerers() -> dict[str, list[str]]:
        found = {sender.name: answer_of(mesh, sender, f"c-{sender.name}") for sender in mesh.all}
        return {name: sorted(who for who, what in answers if what not in ENDS) for name, answers in found.items()}

    expected = {
        sender.name: sorted(
            [one.name for one in mesh.others(sender.name) if not is_lost_from_above(mesh, sender, one.seat.hub)]
            + [level for level in mesh.hubs if not is_lost_from_above(mesh, sender, level)]
        )
        for sender in mesh.all
    }
    settles(mesh, answerers, expected)
    for sender in mesh.all:
        assert [one.name for one in mesh.all if one.answers(f"c-{sender.name}")] == [sender.name], "only who asked"
    for level, hub in mesh.hubs.items():
        asked = [sender for sender in mesh.all if not is_lost_from_above(mesh, sender, level)]
        assert len(hub.heard("everybody hear")) == len(asked), "each agent is asked once"


def test_a_friend_is_let_in_and_a_stranger_is_not(mesh: MixedMesh) -> None:
    """What is sealed is opened by its addressee alone, with its author named. What is propagated to a site is let in at
    ours, which knows its friends by their PINGs, and at released satellites from nobody: what a PING calls its sender
    is not what a hub calls it in a route, and nothing feeds their map."""

    def speak(whose: str) -> None:
        for sender in mesh.all:
            for one in mesh.others(sender.name):
                sealed = {"utterance": f"sealed by {whose} {sender.name} for {one.name}" + LONG}
                sender.does("seal", topic="speak", data=sealed, pem=one.pem)
            for site in mesh.sites:
                said = {"utterance": f"said by {whose} {sender.name} at {site}"}
                sender.tells("propagate", "speak", said, site=site)

    def let_in() -> dict[str, list[str]]:
        return {one.name: spoken(one, "sealed by") + spoken(one, "said by") for one in mesh.all}

    expected = {}
    for one in mesh.all:
        friends = sorted(other.name for other in mesh.others(one.name))
        sealed = [f"sealed by friend {name} for {one.name}" + LONG for name in friends]
        said = [f"said by friend {name} at {one.seat.site}" for name in friends]
        expected[one.name] = sealed + (said if one.seat.make == OURS else [])
    speak("stranger")
    strange = {
        one.name: sorted(
            f"said by stranger {sender.name} at {site}" for sender in mesh.others(one.name) for site in mesh.sites
        )
        for one in mesh.all
    }
    settles(mesh, lambda: propagated(mesh, "said by stranger"), strange)
    with mesh.friends():
        speak("friend")
        settles(mesh, let_in, expected)
    for one in mesh.all:
        for found in one.got("bus", type="speak"):
            if found["data"]["utterance"].startswith("sealed by"):
                assert f"friend {mesh.name_of(found['author'])} for" in found["data"]["utterance"]


def test_a_sealed_message_for_a_hub_reaches_its_agent(mesh: MixedMesh) -> None:
    """Ours looks for whose signature it is. A released hub takes that of its own satellites only, since it checks the
    signature with the key of the connection (W17); what comes from above is opened but reaches no agent (W26)."""
    for sender in mesh.all:
        for level, hub in mesh.hubs.items():
            data = {"utterances": [f"for {level} by {sender.name}" + LONG]}
            sender.does("seal", topic=UTTERANCE, data=data, pem=hub.pem)

    def heard(level: str) -> list[tuple[str, str]]:
        frames = mesh.hubs[level].heard(f"for {level} by ")
        return sorted((frame["data"]["utterances"][0][: -len(LONG)], author(mesh, frame)) for frame in frames)

    def expected(level: str) -> list[tuple[str, str]]:
        ours = mesh.hubs[level].make == OURS
        return sorted(
            (f"for {level} by {sender.name}", sender.name if ours else "")
            for sender in mesh.all
            if ours or sender.seat.hub == level
        )

    settles(mesh, lambda: {level: heard(level) for level in mesh.hubs}, {level: expected(level) for level in mesh.hubs})


def author(mesh: MixedMesh, frame: Mapping[str, Any]) -> str:
    """Whom a hub names as the author of a sealed message on its agent's bus; released hubs name nobody."""
    pem = frame["context"].get("hivemind_verified_source_peer")
    return mesh.name_of(pem) if pem else ""


def test_a_survey_finds_every_node(mesh: MixedMesh) -> None:
    """With the command of either make at every hub, each hub and each satellite once. A released hub under ours answers
    as the client that it is to the hub above, and is known by its key."""
    surveys = {(make, level): mesh.ping(make, level) for make in (OURS, THEIRS) for level in mesh.hubs}
    everything = sorted(mesh.sites_of_all().items())
    for (make, level), survey in surveys.items():
        if found_by(mesh, make, survey) != everything:  # a slow machine may take longer
            assert found_by(mesh, make, mesh.ping(make, level, SLOW_SURVEY_S)) == everything, (make, level)


def found_by(mesh: MixedMesh, make: str, survey: Child) -> list[tuple[str, str]]:
    """Name and site of every node that a survey found, but for those who only ask."""
    assert survey.wait_exit() == 0, survey.tail()
    printed = survey.stdout.read_text("utf-8")
    document = json.loads(printed if make == OURS else printed[printed.index("{\n") :])
    found = [node for node in document["nodes"] if node["site_id"] != SURVEYOR]
    return sorted((mesh.name_of(node["public_key"]), node["site_id"]) for node in found)


@pytest.mark.parametrize("mesh", ["ours below", "theirs below"], indirect=True)
def test_a_hub_above_that_is_gone_harms_nobody_at_ours(mesh: MixedMesh) -> None:
    """A released hub ends the connection of whoever wants something to go up meanwhile (W6)."""
    low, below = mesh.hubs["low"], [one for one in mesh.all if one.seat.hub == "low"]
    mesh.hubs["top"].hub.kill()
    if low.make != OURS:
        for one in below:
            wait_until(partial(is_put_out, one), WAIT_S, f"the end of the connection of {one.name}")
        return
    wait_until(lambda: "has ended" in low.log(), WAIT_S, "the hub below to notice")
    for one in below:
        one.utters("propagate", "without a top")
        denied = one.wait("bus", type="hive.policy.denied")
        assert (denied["data"]["code"], denied["data"]["denied_type"]) == ("upstream_unavailable", "propagate")
        one.utters("query", "what top knows", metadata={"query_id": f"gone-{one.name}"})
        (answer,) = one.wait_answers(f"gone-{one.name}", 1)
        assert said(answer) == "hive.query.timeout upstream_unavailable"
    mesh.hubs["top"].hub.start()
    wait_until(lambda: low.log().count("joined the hub above") >= 2, 60, "the hub below to be back")
    for one in below:
        one.utters("query", "what top knows", metadata={"query_id": f"back-{one.name}"})
        assert said(one.wait_answers(f"back-{one.name}", 2)[0]) == "top says: what top knows"
        assert one.got("close") == []


def is_put_out(one: Satellite) -> bool:
    """Let a satellite send something that would go up, and tell whether it has lost its hub."""
    if one.got("close"):
        return True
    one.utters("propagate", "without a top")
    time.sleep(0.2)
    return False
