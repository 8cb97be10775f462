"""The deployment run by real engines: the documented command by podman, the hub alone by Docker with the real Compose.

Each engine is started once and its tests follow each other, as somebody would who deploys and then lives with it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from helpers.containers import DOCUMENTED, OURS, PODMAN, ROOT, Clone, composed, rendered
from helpers.engines import HUB_IMAGES, Docker, Network, Podman, composer, podman_with_images, settle
from helpers.processes import Home
from helpers.released import cache_folder, locked

pytestmark = pytest.mark.timeout(1500)

BIN = Path(sys.executable).parent
KEY, PASSWORD = "key-of-the-kitchen", "correct horse battery staple 42"
ROOM_KEY = "key-of-the-chatroom"
HELP = "exec --interactive --tty hivemind_cli hivemind-core --help"
HOURS = ["twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
TIME_ZONE = "Asia/Kathmandu"
UP_S, TRAINED_S, ANSWER_S = 240, 600, 240
QUIET_S = 20
OWNER = 1000


@dataclass
class Stack:
    """A deployment that runs."""

    program: str
    clone: Clone
    network: Network
    up: list[str | Path]
    """The command line that starts it."""
    environ: dict[str, str]
    home: Home

    def compose(self, *more: str) -> subprocess.CompletedProcess[str]:
        argv = [*self.network.prefix, *self.up, *more]
        return self.clone.run(argv, timeout_s=UP_S, **self.environ)

    def engine(self, *argv: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return self.clone.run([*self.network.prefix, self.program, *argv], timeout_s=timeout_s, **self.environ)

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(self.engine("inspect", "--type", "container", container).stdout)
        return dict(found)

    def state(self, container: str) -> dict[str, Any]:
        return dict(self.inspect(container)["State"])

    def exec(self, container: str, *argv: str) -> str:
        done = self.engine("exec", container, *argv)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def healthy(self, container: str) -> bool:
        """Ask the container's own health check, whatever runs it otherwise."""
        if self.program == "podman":
            return self.engine("healthcheck", "run", container).returncode == 0
        return bool(self.state(container)["Health"]["Status"] == "healthy")

    def logs(self, container: str) -> str:
        done = self.engine("logs", "--tail", "40", container)
        return done.stdout + done.stderr

    def wait_healthy(self, *containers: str) -> None:
        for name in containers:
            settle(lambda name=name: self.healthy(name), UP_S, lambda name=name: f"{name}: {self.logs(name)}")

    def names(self) -> set[str]:
        return set(self.engine("ps", "--format", "{{.Names}}").stdout.split())

    def clients(self, container: str) -> list[str]:
        listed = json.loads(self.exec(container, "hivemind-core", "list-clients", "--json"))
        return [client["name"] for client in listed]

    def by_hand(self, line: str) -> str:
        """What a person sees who types a line in a terminal."""
        done = self.clone.run(
            [*self.network.prefix, "script", "--quiet", "--return", "--command", line, "/dev/null"], **self.environ
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def satellite(self, *argv: str | Path) -> str:
        """Run a program of ours as a satellite on the machine the containers are on."""
        done = subprocess.run(
            [*self.network.prefix, *(str(part) for part in argv)],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.home.environ(),
            check=False,
        )
        return done.stdout + done.stderr

    def join(self) -> None:
        """Make a client in hivemind_cli and set a satellite up with what it prints."""
        made = ["--name", "kitchen", "--access-key", KEY, "--password", PASSWORD]
        printed = self.exec("hivemind_cli", "hivemind-core", "add-client", *made)
        (line,) = [line.strip() for line in printed.splitlines() if "set-identity" in line]
        assert "--host hub.example --port 5678" in line
        _, *arguments = shlex.split(line.replace("hub.example", "127.0.0.1"))
        self.satellite(BIN / "hivemind-client", *arguments)

    def ask(self, question: str) -> str:
        return self.satellite(sys.executable, ROOT / "examples" / "ask.py", *question.split())


def tells_the_time(answer: str) -> bool:
    now = datetime.now(ZoneInfo(TIME_ZONE))
    hours = {HOURS[moment.hour % 12] for moment in (now, now - timedelta(minutes=2))}
    return any(hour in answer.split() for hour in hours)


def is_trained(stack: Stack) -> bool:
    """Tell whether the core has stopped writing what it learns of the skills' sentences; questions would disturb it."""
    files = list((stack.clone.home / "ovos" / "share" / "intent_cache").glob("*/*"))
    return bool(files) and time.time() - max(file.stat().st_mtime for file in files) > QUIET_S


def make_folders(clone: Clone) -> None:
    """Run what `.env.example` says, as the owner it names."""
    for folder in clone.folders():
        folder.mkdir(parents=True, exist_ok=True)
    for path in (clone.home, *clone.home.rglob("*")):
        os.chown(path, OWNER, OWNER)
    for parent in (clone.home, *clone.home.parents):
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o711)


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
        up = composed(DOCUMENTED["linux"][0], composer(PODMAN))
        home = Home(tmp_path_factory.mktemp("satellite"))
        stack = Stack("podman", clone, network, up, podman.environ, home)
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
        version = rendered(clone, OURS["alone"][0])["services"]["hivemind_cli"]["image"].rpartition(":")[2]
        docker.load(podman, [f"localhost/{name}:{version}" for name in HUB_IMAGES])
        up = composed(OURS["everything"][0].replace("--profile redis ", ""), composer("docker-compose"))
        stack = Stack("docker", clone, network, up, docker.environ, Home(tmp_path_factory.mktemp("other")))
        yield stack
        stack.clone.run(
            [*network.prefix, *up[: up.index("up")], "down", "--volumes", "--timeout", "3"], **docker.environ
        )


# --- the documented deployment: podman ---------------------------------------------------------------------------


def test_every_documented_container_runs(ovos: Stack) -> None:
    assert set(rendered(ovos.clone, DOCUMENTED["linux"][0])["services"]) == ovos.names()


def test_the_documented_line_shows_the_commands(ovos: Stack) -> None:
    seen = ovos.by_hand(f"podman {HELP}")
    assert "Usage: hivemind-core" in seen
    assert "add-client" in seen


def test_bus_core_and_hub_become_healthy(ovos: Stack) -> None:
    ovos.wait_healthy("ovos_messagebus", "ovos_core", "hivemind_listener")


def test_a_client_added_in_the_cli_is_seen_by_the_listener_at_once(ovos: Stack) -> None:
    ovos.join()
    assert ovos.clients("hivemind_listener") == ["kitchen"]


def test_the_time_comes_from_the_date_time_skill_of_the_stack(ovos: Stack) -> None:
    settle(lambda: is_trained(ovos), TRAINED_S, lambda: ovos.logs("ovos_core"))
    answers: list[str] = []

    def told() -> bool:
        answers.append(ovos.ask("what time is it"))
        return tells_the_time(answers[-1])

    settle(told, ANSWER_S, lambda: f"{answers}\n{ovos.logs('ovos_core')}\n{ovos.logs('ovos_skill_date_time')}")
    assert "what time is it" in ovos.logs("ovos_core")
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
    assert tells_the_time(ovos.ask("what time is it")), ovos.logs("hivemind_listener")  # the same hub to the satellite


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
    alone.engine("stop", "--time", "20", "hivemind_listener")
    state = alone.state("hivemind_listener")
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False)
    alone.engine("start", "hivemind_listener")
    alone.wait_healthy("hivemind_listener")


def test_it_is_started_again_when_it_crashes(alone: Stack) -> None:
    before = alone.inspect("hivemind_listener")["RestartCount"]
    find = "import os\nfor p in os.listdir('/proc'):\n"
    find += " if p.isdigit() and b'listen' in open(f'/proc/{p}/cmdline','rb').read() and int(p) > 1: os.kill(int(p), 9)"
    alone.engine("exec", "hivemind_listener", "python3", "-c", find)
    settle(
        lambda: alone.inspect("hivemind_listener")["RestartCount"] == before + 1,
        60,
        lambda: alone.logs("hivemind_listener"),
    )
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
