"""The released quick start, unchanged, from our wheels and against our hub: what a new user does first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import bus_stub
from helpers.default_port import DEFAULT_PORT, alone_with_default_port
from helpers.hub_process import HubProcess
from helpers.pair import DRIVERS, KEY, OUR_PROGRAMS, PASSWORD, cannot_run
from helpers.processes import ChildError, Children, Home, port_open, wait_until
from helpers.released import PINS, EnvironmentFailed, build_wheels, make_environment

ROOT = Path(__file__).parents[2]
QUICK_START = DRIVERS / "quick_start.txt"  # as it is printed, so no formatter may touch it
ANSWER = "you said: hello world"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install hivemind_bus_client` installs from our wheels."""
    folder = tmp_path_factory.mktemp("quick-start")
    wheels, pins = folder / "wheels", PINS / "quick-start.txt"
    try:
        build_wheels([ROOT, ROOT / "packages" / "hivemind_bus_client"], wheels)
        requirements = ["--find-links", str(wheels), "--constraint", str(pins), "hivemind_bus_client"]
        return make_environment(folder / "environment", requirements)
    except EnvironmentFailed as error:
        return cannot_run(f"no environment from our wheels: {error}")


@pytest.fixture
def hub(children: Children) -> Iterator[HubProcess]:
    """Our hub where the quick start looks for one: the default port of localhost."""
    with alone_with_default_port() as port:
        try:
            wait_until(lambda: not port_open(port), 60, f"port {port}, which the quick start names, is taken: free")
        except ChildError as error:
            cannot_run(str(error))
        bus = children.spawn("bus", [OUR_PROGRAMS / "python", bus_stub.__file__])
        hub = HubProcess(children, OUR_PROGRAMS / "hivemind-core", bus.expect("ready")["port"], port=port)
        hub.add_client(KEY, PASSWORD)
        hub.start()
        yield hub
        hub.kill()


@pytest.fixture
def home(children: Children, programs: Path) -> Home:
    """A device whose identity was set with the command the documentation gives."""
    home = children.home("device")
    options = ["--key", KEY, "--password", PASSWORD, "--siteid", "kitchen"]
    children.run("set-identity", [programs / "hivemind-client", "set-identity", *options], home)
    return home


def test_it_prints_its_answer_at_the_prompt(children: Children, programs: Path, hub: HubProcess, home: Home) -> None:
    typed = children.spawn("python", [programs / "python", "-i", QUICK_START], home)
    typed.wait_line(ANSWER)


def test_it_prints_its_answer_as_a_script(children: Children, programs: Path, hub: HubProcess, home: Home) -> None:
    script = children.spawn("python", [programs / "python", QUICK_START], home)
    script.wait_line(ANSWER)


def test_the_commands_of_the_documentation_work_after_it(
    children: Children, programs: Path, hub: HubProcess, home: Home
) -> None:
    command = [programs / "hivemind-client", "send-mycroft", "--msg", "recognizer_loop:utterance"]
    options = ["--payload", '{"utterances": ["hello"]}', "--host", "ws://localhost", "--port", str(DEFAULT_PORT)]
    assert "== connected to HiveMind" in children.run("send-mycroft", [*command, *options], home)
