"""The deployment run by real engines: the documented command by podman, the hub alone by Docker with the real Compose.

Each engine is started once and its tests follow each other, as somebody would who deploys and then lives with it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from helpers.containers import DOCUMENTED, OURS, PODMAN, ROOT, Clone, rendered
from helpers.engines import Docker, Network, Podman, composer, settle
from helpers.images import HUB_IMAGES, podman_with_images, room
from helpers.processes import Children, Home
from helpers.released import cache_folder, locked
from helpers.room import Room, system_bus
from helpers.spoken_time import hour_names
from helpers.stack import OWNER, PASSWORD, Stack, make_folders

pytestmark = pytest.mark.timeout(1500)

ROOM_KEY = "key-of-the-chatroom"
HELP = "exec --interactive --tty hivemind_cli hivemind-core --help"
TIME_ZONE = "Asia/Kathmandu"
TRAINED_S, ANSWER_S, QUIET_S, READY_S, END_S = 600, 240, 20, 120, "60"
BY_SIGINT = 130
HUB_CONTAINERS = ("hivemind_listener", "hivemind_cli", "hivemind_chatroom")
READY = {
    "ovos_listener": "DinkumVoiceService is ready",
    "ovos_audio": "TTS service is ready",
    "ovos_phal": "PHAL is ready",
    "ovos_phal_admin": "PHAL Admin is ready",
}
SPEECH = {
    "stt": {"module": "ovos-stt-plugin-server", "ovos-stt-plugin-server": {"url": "http://speech:9000/stt"}},
    "tts": {"module": "ovos-tts-plugin-server", "ovos-tts-plugin-server": {"host": "http://speech:9000"}},
    "confirm_listening": False,
}
"""The services of `helpers.room` in place of the public ones, and nothing played but answers."""
SPOKEN = (
    "recognizer_loop:wakeword",
    "recognizer_loop:utterance",
    "speak",
    "recognizer_loop:audio_output_start",
    "recognizer_loop:audio_output_end",
)


def tells_the_time(answer: str) -> bool:
    return not hour_names(datetime.now(ZoneInfo(TIME_ZONE))).isdisjoint(answer.split())


def is_trained(stack: Stack) -> bool:
    """Tell whether the core has stopped writing what it learns of the skills' sentences; questions would disturb it."""
    written: list[float] = []
    with suppress(FileNotFoundError):  # it is being written
        for file in (stack.clone.home / "ovos" / "share" / "intent_cache").glob("*/*"):
            written.append(file.stat().st_mtime)
        return bool(written) and time.time() - max(written) > QUIET_S
    return False


def answers_with_the_time(stack: Stack) -> None:
    """Ask until the answer comes from the skill: the hub is ready a moment before its assistant may be."""
    answers: list[str] = []

    def told() -> bool:
        answers.append(stack.ask("what time is it"))
        return tells_the_time(answers[-1])

    said = ("hivemind_listener", "ovos_core", "ovos_skill_date_time")
    settle(told, ANSWER_S, lambda: "\n".join([str(answers), *map(stack.logs, said)]))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Podman, Clone]]:
    folder = tmp_path_factory.mktemp("deployment")

    def clone(**settings: str) -> Clone:
        own = {
            "TZ": TIME_ZONE,
            "HIVEMIND_ADVERTISED_HOST": "hub.example",
            "SAT_KEY": ROOM_KEY,
            "SAT_PASSWORD": PASSWORD,
            "HIVEMIND_HEALTH_INTERVAL": "3s",
        }
        return Clone.make(folder, **own, **settings)

    with podman_with_images(clone) as (podman, made):
        make_folders(made)
        yield podman, made


@pytest.fixture(scope="module")
def ovos(built: tuple[Podman, Clone], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The documented deployment, started by its documented line with podman-compose."""
    podman, clone = built
    trained = cache_folder() / "intents"
    intents = clone.home / "ovos" / "share" / "intent_cache"
    with Network("hivemind-podman") as network:
        home = Home(tmp_path_factory.mktemp("satellite"))
        stack = Stack("podman", clone, network, composer(PODMAN), DOCUMENTED["linux"][0], podman.environ, home)
        (clone.home / "ovos" / "config" / "mycroft.conf").write_text(json.dumps(SPEECH), "utf-8")
        with locked(trained.with_suffix(".lock")):
            if trained.exists():
                shutil.copytree(trained, intents)
                for path in (intents, *intents.rglob("*")):
                    os.chown(path, OWNER, OWNER)
        started = stack.compose()
        assert started.returncode == 0, started.stdout + started.stderr
        yield stack
        with locked(trained.with_suffix(".lock")):
            if intents.exists():
                shutil.rmtree(trained, ignore_errors=True)
                shutil.copytree(intents, trained)
        podman.clear()


@pytest.fixture(scope="module")
def alone(built: tuple[Podman, Clone], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The hub and the chatroom, started by the real Compose on a Docker engine."""
    podman, clone = built
    folder = Path(tempfile.mkdtemp(prefix="hivemind-docker-"))  # a socket's path is short
    with ExitStack() as ending:
        network = ending.enter_context(Network("hivemind-docker"))
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        docker = Docker(folder, network)
        ending.callback(docker.stop)
        docker.start()
        command = OURS["everything"][0].replace("--profile redis ", "")
        home = Home(tmp_path_factory.mktemp("other"))
        stack = Stack("docker", clone, network, composer("docker-compose"), command, docker.environ, home)
        docker.load(podman, [f"localhost/{name}:{stack.version}" for name in HUB_IMAGES])
        yield stack
        stack.engine("rm", "--force", "--volumes", *HUB_CONTAINERS)


# --- the documented deployment: podman ---------------------------------------------------------------------------


def test_every_documented_container_runs(ovos: Stack) -> None:
    wanted = set(rendered(ovos.clone, DOCUMENTED["linux"][0])["services"])
    settle(lambda: ovos.names() == wanted, READY_S, lambda: f"not {wanted} but {ovos.names()}")


def test_the_documented_line_shows_the_commands(ovos: Stack) -> None:
    seen = ovos.by_hand(f"podman {HELP}")
    assert "Usage: hivemind-core" in seen
    assert "add-client" in seen


def test_bus_core_and_hub_become_healthy(ovos: Stack) -> None:
    ovos.wait_healthy("ovos_messagebus", "ovos_core", "hivemind_listener")


def test_a_client_added_in_the_cli_is_seen_by_the_listener_at_once(ovos: Stack) -> None:
    ovos.join("kitchen")
    assert ovos.clients("hivemind_listener") == ["kitchen"]


def test_the_time_comes_from_the_date_time_skill_of_the_stack(ovos: Stack) -> None:
    settle(lambda: is_trained(ovos), TRAINED_S, lambda: ovos.logs("ovos_core"))
    answers_with_the_time(ovos)
    assert "what time is it" in ovos.logs("ovos_core", 2000)
    assert ovos.inspect("hivemind_listener")["Config"]["Env"].count("HIVEMIND_AGENT=hivemind-ovos-agent-plugin") == 1


def test_what_was_done_survives_new_containers(ovos: Stack) -> None:
    before = ovos.inspect("hivemind_listener")["Id"]
    removed = ovos.engine("rm", "--force", "--depend", "--time", "5", "hivemind_listener")
    assert removed.returncode == 0, removed.stderr
    again = ovos.compose()
    assert again.returncode == 0, again.stderr
    assert ovos.inspect("hivemind_listener")["Id"] != before
    ovos.wait_healthy("hivemind_listener")
    assert ovos.clients("hivemind_cli") == ["kitchen"]
    answers_with_the_time(ovos)  # it is the same hub to the satellite


def test_a_question_that_is_spoken_is_heard_and_answered_aloud(ovos: Stack) -> None:
    """Microphone, wake word, speech to text, core, skill, text to speech, loudspeaker: all but the room is real."""
    folder = Path(tempfile.mkdtemp(prefix="hivemind-room-", dir=ovos.clone.home))
    with Room(ovos, room(ovos.version), folder) as place, system_bus(folder) as socket:
        hardware = {"COMPOSE_PROFILES": "sound,phal", "XDG_RUNTIME_DIR": str(folder), "DBUS_SYSTEM_SOCKET": str(socket)}
        started = ovos.compose(*READY, files=[place.no_card], **hardware)
        assert started.returncode == 0, started.stderr
        for name, line in READY.items():
            settle(lambda n=name, t=line: t in ovos.logs(n, 400), READY_S, lambda n=name: f"{n}: {ovos.logs(n)}")
        assert not sum(map(ovos.restarts, READY))
        answers_with_the_time(ovos)
        assert place.seconds_played() == 0, "a satellite was answered, not this machine"
        settle(lambda: asked_aloud(place), ANSWER_S, lambda: f"{place.overheard()}\n{ovos.logs('ovos_listener', 200)}")
        settle(lambda: place.seconds_played() > 0.3, READY_S, lambda: f"{place.seconds_played()} s of sound")
        ovos.engine("stop", "--time", END_S, *READY)
        ended = {name: code for name, code in ovos.exit_codes().items() if name in READY}
        assert ended == {**dict.fromkeys(READY, 0), "ovos_listener": 143}
        ovos.engine("rm", *READY)


def asked_aloud(place: Room) -> bool:
    """Say the wake word and a question, and tell whether the answer was spoken."""
    before = len(place.overheard())
    place.say("hey my croft")
    time.sleep(0.8)
    place.say("what time is it")
    with suppress(AssertionError):
        settle(lambda: SPOKEN[-1] in place.overheard()[before:], 20, str)
    return {*SPOKEN} <= {*place.overheard()[before:]}


def test_an_assistant_with_foreign_folders_says_what_to_run(ovos: Stack) -> None:
    share = ovos.clone.home / "ovos" / "share"
    os.chown(share, 4242, 4242)
    share.chmod(0o755)
    try:
        ovos.engine("stop", "--time", "5", "ovos_cli")
        ovos.engine("start", "ovos_cli")
        line = f"Run on the host: sudo chown -R 1000:1000 '{share}'"
        settle(lambda: line in ovos.logs("ovos_cli"), 30, lambda: ovos.logs("ovos_cli"))
    finally:
        os.chown(share, OWNER, OWNER)


def test_the_hub_is_started_again_by_podman_when_it_crashes(ovos: Stack) -> None:
    before = ovos.restarts("hivemind_listener")
    ovos.crash("hivemind_listener", "listen")
    settle(lambda: ovos.restarts("hivemind_listener") == before + 1, 60, lambda: ovos.logs("hivemind_listener"))
    ovos.wait_healthy("hivemind_listener")


def test_skills_answer_again_after_the_core_was_restarted(ovos: Stack) -> None:
    """They are containers of their own, and a core that restarts has forgotten their intents."""
    before = ovos.restarts("ovos_skill_date_time")
    assert ovos.engine("restart", "--time", "10", "ovos_core").returncode == 0
    answers_with_the_time(ovos)
    assert ovos.restarts("ovos_skill_date_time") > before


def test_every_container_ends_in_order_when_it_is_told_to(ovos: Stack) -> None:
    ovos.engine("stop", "--time", END_S, "--all", timeout_s=300)
    ended = ovos.exit_codes()
    assert (ended["hivemind_listener"], ended["hivemind_cli"]) == (0, 0)
    assert {name: code for name, code in ended.items() if code not in (0, BY_SIGINT)} == {}


# --- the hub alone: Docker ---------------------------------------------------------------------------------------


def test_a_hub_with_foreign_folders_says_what_to_run(alone: Stack) -> None:
    share = alone.clone.home / "hivemind" / "share"
    kept = list(share.rglob("*"))
    for path in (share, *kept):
        os.chown(path, 4242, 4242)
    share.chmod(0o755)
    try:
        assert alone.compose().returncode != 0
        line = f"Run on the host: sudo chown -R 1000:1000 {share}"
        settle(lambda: line in alone.logs("hivemind_listener"), 30, lambda: alone.logs("hivemind_listener"))
    finally:
        alone.engine("rm", "--force", "hivemind_listener", "hivemind_cli", "hivemind_chatroom")
        for path in (share, *kept):
            os.chown(path, OWNER, OWNER)


def test_docker_starts_it_in_order_of_health(alone: Stack) -> None:
    started = alone.compose()
    assert started.returncode == 0, started.stderr
    assert alone.healthy("hivemind_listener"), "the command line starts after it"
    assert alone.names() == {"hivemind_listener", "hivemind_cli", "hivemind_chatroom"}
    listed = alone.by_hand("docker container list --all --filter 'name=hivemind'")
    assert "(healthy)" in listed
    assert "0.0.0.0:5678->5678/tcp" in listed
    assert "127.0.0.1:8985->8985/tcp" in listed
    assert '"hivemind-core listen"' in listed
    assert '"sleep infinity"' in listed


def test_the_documented_line_shows_the_commands_in_docker(alone: Stack) -> None:
    assert "Usage: hivemind-core" in alone.by_hand(f"docker {HELP}")


def test_it_runs_as_nobody_special_on_a_root_that_cannot_be_written(alone: Stack) -> None:
    assert alone.exec("hivemind_cli", "id", "-u").strip() == str(OWNER)
    assert alone.engine("exec", "hivemind_cli", "touch", "/home/hivemind/x").returncode != 0
    status = alone.exec("hivemind_cli", "cat", "/proc/self/status")
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_the_chatroom_joins_the_hub_and_keeps_its_keys(alone: Stack) -> None:
    made = ["--name", "chatroom", "--access-key", ROOM_KEY, "--password", PASSWORD]
    alone.exec("hivemind_cli", "hivemind-core", "add-client", *made)
    alone.engine("restart", "--time", "10", "hivemind_chatroom")  # the hub did not know it, for good
    settle(lambda: '"ready"' in _readiness(alone), 60, lambda: alone.logs("hivemind_chatroom"))
    again = alone.compose("--force-recreate", "--no-deps", "hivemind_chatroom")
    assert again.returncode == 0, again.stderr
    settle(lambda: '"ready"' in _readiness(alone), 60, lambda: alone.logs("hivemind_chatroom"))


def _readiness(stack: Stack) -> str:
    program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8985/readyz', timeout=5).read().decode())"
    return stack.satellite(sys.executable, "-c", program)


def test_it_ends_in_order_when_it_is_told_to(alone: Stack) -> None:
    alone.engine("stop", "--time", END_S, *sorted(alone.names()), timeout_s=300)
    assert alone.exit_codes() == dict.fromkeys(("hivemind_chatroom", "hivemind_cli", "hivemind_listener"), 0)
    assert not alone.state("hivemind_listener")["OOMKilled"]
    alone.engine("start", "hivemind_listener", "hivemind_cli", "hivemind_chatroom")
    alone.wait_healthy("hivemind_listener")


def test_it_is_started_again_when_it_crashes(alone: Stack) -> None:
    before = alone.restarts("hivemind_listener")
    alone.crash("hivemind_listener", "listen")
    settle(lambda: alone.restarts("hivemind_listener") == before + 1, 60, lambda: alone.logs("hivemind_listener"))
    alone.wait_healthy("hivemind_listener")


def test_clients_survive_new_containers_in_docker(alone: Stack) -> None:
    made = ["--name", "hall", "--access-key", "key-of-the-hall", "--password", PASSWORD]
    alone.exec("hivemind_cli", "hivemind-core", "add-client", *made)
    assert "hall" in alone.clients("hivemind_listener")
    before = alone.inspect("hivemind_listener")["Id"]
    again = alone.compose("--force-recreate")
    assert again.returncode == 0, again.stderr
    assert alone.inspect("hivemind_listener")["Id"] != before
    assert "hall" in alone.clients("hivemind_listener")


def test_a_hub_reaches_the_bus_of_an_installation_beside_it(alone: Stack, tmp_path: Path) -> None:
    """At 127.0.0.1, which is where ovos-docker has it: only the network of the machine leads there."""
    with Children(tmp_path) as children:
        program = ROOT / "tests" / "helpers" / "bus_stub.py"
        children.spawn("bus", [*alone.network.prefix, sys.executable, program, "--port", "8181"]).expect("ready")
        started = alone.compose("--force-recreate", command=OURS["beside"][0])
        assert started.returncode == 0, started.stderr
        alone.join("parlour")
        assert "you said: hello" in alone.ask("hello")
        assert alone.inspect("hivemind_listener")["HostConfig"]["NetworkMode"] == "host"
