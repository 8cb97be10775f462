"""The distributions as a user meets them: built, installed by pip and by uv in fresh environments, and started.

Other distributions come from wherever pip and uv of this machine take theirs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
PROJECTS = {
    "hivemind_mesh": ROOT,
    "hivemind_bus_client": ROOT / "packages" / "hivemind_bus_client",
    "hivemind_core": ROOT / "packages" / "hivemind-core",
    "hivemind_flask_chatroom": ROOT / "packages" / "hivemind-flask-chatroom",
}
REQUIRED = {
    "hivemind_bus_client": {"hivemind-mesh[ovos]"},
    "hivemind_core": {"hivemind-mesh[hub,ovos]"},
    "hivemind_flask_chatroom": {"hivemind-mesh[chatroom,ovos]"},
}
COMMANDS = ("hivemind-client", "hivemind-core", "hivemind-flask-chatroom")
MOST_PACKAGES_OF_A_SATELLITE = 10
INSTALLERS = {"pip", "setuptools", "wheel", "uv"}


@dataclass(frozen=True)
class Built:
    """The folder everything was built into."""

    folder: Path

    def wheel(self, name: str) -> Path:
        (found,) = self.folder.glob(f"{name}-*.whl")
        return found

    def sdist(self, name: str) -> Path:
        (found,) = self.folder.glob(f"{name}-*.tar.gz")
        return found

    def metadata(self, name: str) -> str:
        with zipfile.ZipFile(self.wheel(name)) as wheel:
            (path,) = (path for path in wheel.namelist() if path.endswith(".dist-info/METADATA"))
            return wheel.read(path).decode()


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment, used as a user would."""

    folder: Path

    def command(self, *argv: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        program = self.folder / "bin" / argv[0]
        done = run(str(program), *argv[1:], cwd=self.folder, environ=outside(os.environ))
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    def packages(self) -> set[str]:
        listed = self.command("python", "-m", "pip", "list", "--format=freeze").stdout
        names = {re.split("==| @ ", line)[0] for line in listed.splitlines()}
        return {name.lower().replace("_", "-") for name in names} - INSTALLERS


def run(*argv: str, cwd: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=400, check=False, env=environ)


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to the one the tests run in."""
    return {key: value for key, value in environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}


# Installers use the settings and the cache of the user; what is installed runs in the test's own home.
USER = outside(os.environ)


def must(*argv: str, cwd: Path = ROOT) -> None:
    done = run(*argv, cwd=cwd, environ=USER)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    for project in PROJECTS.values():
        must(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(project))
    return Built(folder)


def install(installer: str, folder: Path, *what: str) -> Environment:
    """Install into a fresh environment, by "pip" or by "uv"."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    if installer == "pip":
        must(python, "-m", "pip", "install", "--disable-pip-version-check", *what)
    else:
        must(sys.executable, "-m", "uv", "pip", "install", "--python", python, *what)
    return Environment(folder)


@pytest.fixture(scope="module")
def satellite(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install hivemind-mesh`."""
    folder = tmp_path_factory.mktemp("satellite")
    return install("pip", folder, "--find-links", str(built.folder), "hivemind-mesh")


@pytest.fixture(scope="module")
def everything(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`uv pip install` of the three names that people know, all at once."""
    wheels = (f"{name} @ {built.wheel(name).as_uri()}" for name in REQUIRED)
    folder = tmp_path_factory.mktemp("everything")
    return install("uv", folder, "--find-links", str(built.folder), *wheels)


# --- what is in them ----------------------------------------------------------------------------------------


def test_the_wheel_holds_every_module_and_its_data(built: Built) -> None:
    with zipfile.ZipFile(built.wheel("hivemind_mesh")) as wheel:
        inside = {path for path in wheel.namelist() if ".dist-info/" not in path}
    source = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == source
    assert {"hivemind_bus_client/py.typed", "hivemind_core/py.typed"} <= inside
    assert {"hivemind_chatroom/py.typed", "hivemind_chatroom/schema.sql"} <= inside
    assert {"hivemind_chatroom/templates/room.html", "hivemind_chatroom/static/logo.png"} <= inside


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    unpacked = tmp_path / "sdist"
    unpacked.mkdir()
    must("tar", "-xzf", str(built.sdist("hivemind_mesh")), "-C", str(unpacked))
    (project,) = unpacked.iterdir()
    files = {path.name for path in project.iterdir()} - {".gitignore"}
    assert files == {"src", "pyproject.toml", "PKG-INFO", "README.md", "LICENSE", "CHANGELOG.md"}
    must(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(project))
    (again,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(built.wheel("hivemind_mesh")) as other:
        assert one.namelist() == other.namelist()


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_the_known_names_hold_no_code(built: Built, name: str) -> None:
    with zipfile.ZipFile(built.wheel(name)) as wheel:
        assert [path for path in wheel.namelist() if ".dist-info/" not in path] == []
    required = re.findall(r"^Requires-Dist: (.*)$", built.metadata(name), re.MULTILINE)
    assert set(required) == REQUIRED[name]


def test_released_requirements_accept_ours(built: Built) -> None:
    """Satellites ask for `hivemind_bus_client<2`, some with an extra `async`."""
    metadata = built.metadata("hivemind_bus_client")
    assert re.search(r"^Version: 1\.", metadata, re.MULTILINE)
    assert "Provides-Extra: async" in metadata


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_sdists_install(built: Built, tmp_path: Path, installer: str) -> None:
    ours = (f"{name} @ {built.sdist(name).as_uri()}" for name in ("hivemind_mesh", "hivemind_bus_client"))
    there = install(installer, tmp_path / "venv", *ours)
    assert "Usage:" in there.command("hivemind-client", "--help").stdout
    there.command("python", "-c", "import hivemind_bus_client, hivemind_chatroom, hivemind_core, ovos_bus_client")


# --- installed by pip: a satellite --------------------------------------------------------------------------


def test_a_satellite_is_small(satellite: Environment) -> None:
    packages = satellite.packages()
    assert "hivemind-mesh" in packages
    assert len(packages) <= MOST_PACKAGES_OF_A_SATELLITE, packages


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_explain_themselves_in_a_bare_install(satellite: Environment, command: str) -> None:
    assert "Usage:" in satellite.command(command, "--help").stdout
    assert re.search(r"\d+\.\d+\.\d+", satellite.command(command, "--version").stdout)


def test_the_client_works_without_any_extra(satellite: Environment) -> None:
    code = (
        "from hivemind_bus_client import AsyncHiveMessageBusClient, HiveMessageBusClient\n"
        "from hivemind_bus_client import HiveMessage, HiveMessageType\n"
        "from hivemind_bus_client.message import Message\n"
        "print(HiveMessage(HiveMessageType.BUS, Message('speak', {'utterance': 'olá'})).serialize())"
    )
    assert "olá" in satellite.command("python", "-W", "error", "-c", code).stdout


@pytest.mark.parametrize("argv", [["listen", "--port", "0"], ["list-clients"]])
def test_a_missing_extra_is_named_with_the_line_that_installs_it(satellite: Environment, argv: list[str]) -> None:
    done = satellite.command("hivemind-core", *argv, ok=False)
    assert done.returncode == 1
    assert "pip install 'hivemind-mesh[hub]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_chatroom_names_the_line_that_installs_what_it_lacks(satellite: Environment) -> None:
    given = ["--key", "key", "--password", "password", "--hub-host", "ws://127.0.0.1"]
    done = satellite.command("hivemind-flask-chatroom", *given, ok=False)
    assert done.returncode == 1
    assert "pip install 'hivemind-mesh[chatroom]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_pip_finds_nothing_wrong(satellite: Environment, everything: Environment) -> None:
    satellite.command("python", "-m", "pip", "check")
    everything.command("python", "-m", "pip", "check")


# --- installed by uv: everything ----------------------------------------------------------------------------


def test_the_known_names_bring_the_extras(everything: Environment) -> None:
    packages = everything.packages()
    assert packages >= {"hivemind-mesh", "ovos-bus-client", "aiohttp", "flask"}
    assert packages >= {name.replace("_", "-") for name in REQUIRED}


def test_the_documented_import_works(everything: Environment) -> None:
    code = (
        "from ovos_bus_client.message import Message\n"
        "from hivemind_bus_client import HiveMessage, HiveMessageType\n"
        "message = HiveMessage(HiveMessageType.BUS, Message('speak', {'utterance': 'hi'}))\n"
        "assert type(message.payload) is Message, type(message.payload)"
    )
    everything.command("python", "-c", code)


def test_the_hub_can_be_managed_and_prints_what_to_run_next(everything: Environment) -> None:
    added = everything.command("hivemind-core", "add-client", "--name", "kitchen").stdout
    assert "hivemind-client set-identity" in added
    assert "kitchen" in everything.command("hivemind-core", "list-clients").stdout


def test_the_chatroom_says_what_to_run_first(everything: Environment) -> None:
    done = everything.command("hivemind-flask-chatroom", ok=False)
    assert done.returncode == 1
    assert "`hivemind-core add-client`" in done.stderr
    assert "`hivemind-client set-identity" in done.stderr


def test_the_released_names_of_the_chatroom_serve_its_page(everything: Environment) -> None:
    code = (
        "from hivemind_chatroom.__main__ import MessageHandler, app, main, platform\n"
        "from hivemind_chatroom.version import VERSION_ALPHA, VERSION_BUILD, VERSION_MAJOR, VERSION_MINOR\n"
        "visitor = app.test_client()\n"
        "for path in ('/chatroom/alice/kitchen/en', '/static/logo.png', '/messages'):\n"
        "    assert visitor.get(path).status_code == 200, path\n"
    )
    everything.command("python", "-W", "error", "-c", code)


def test_what_asks_for_the_released_chatroom_gets_ours(everything: Environment) -> None:
    code = (
        "from importlib.metadata import distribution, entry_points\n"
        "assert distribution('hivemind-flask-chatroom').version.startswith('2.')\n"
        "(entry,) = entry_points(group='console_scripts', name='hivemind-flask-chatroom')\n"
        "assert callable(entry.load())\n"
    )
    everything.command("python", "-c", code)
