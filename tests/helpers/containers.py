"""A clone of the container deployment, the documented command lines, and the tools that read them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .pair import cannot_run
from .released import CALLER, EnvironmentFailed, cache_folder, environment, locked

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tests" / "deploy" / "tools.txt"
DCLINT = "dclint@3.1.0"
TIMEOUT_S = 180
CONTEXT = ("pyproject.toml", "README.md", "LICENSE", ".dockerignore", "src", "deploy")

_BASE = "docker compose --project-name ovos --file"
_REST = "--file docker-compose.skills.yml --file docker-compose.hivemind.yml"
DOCUMENTED = {
    "raspberrypi": (
        f"{_BASE} docker-compose.yml --file docker-compose.raspberrypi.yml {_REST} up --detach",
        ".env-raspberrypi",
    ),
    "linux": (f"{_BASE} docker-compose.yml {_REST} up --detach", ".env.example"),
    "macos": (f"{_BASE} docker-compose.macos.yml {_REST} --env-file .env up --detach", ".env.example"),
    "windows": (f"{_BASE} docker-compose.windows.yml {_REST} up --detach", ".env.example"),
}
"""What the documentation of Open Voice OS says to run, per platform, and the example that becomes `.env`."""
OURS = {
    "alone": ("docker compose --file compose.yml up --detach", ".env.example"),
    "everything": ("docker compose --file compose.yml --profile chatroom --profile redis up --detach", ".env.example"),
    "beside": ("docker compose --file compose.yml --file compose.host.yml up --detach", ".env.example"),
}
COMMANDS = {**DOCUMENTED, **OURS}
PODMAN = "podman-compose"
DOCKER = "docker compose"


def tools() -> Path:
    """The folder of Compose, podman-compose and the linters, in an environment of their own."""
    try:
        return environment("deploy-tools", ["-r", str(TOOLS)], TOOLS.read_bytes())
    except EnvironmentFailed as error:
        cannot_run(f"the tools of the deployment tests cannot be installed: {error}")


def dclint() -> Path:
    """The schema check, a program of Node's."""
    folder = cache_folder() / DCLINT
    program = folder / "node_modules" / ".bin" / "dclint"
    npm = shutil.which("npm")
    if npm is None:
        cannot_run("npm is not installed, which dclint comes from: apt install npm")
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not program.exists():
            argv = [npm, "install", "--silent", "--prefix", str(folder), DCLINT]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=300, env=CALLER, check=False)
            if done.returncode:
                cannot_run(f"dclint cannot be installed: {done.stdout}{done.stderr}")
    return program


@dataclass
class Clone:
    """The files that a user has: a copy of the clone, with a `.env` and the folders it names."""

    path: Path
    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    """Added to what programs get."""

    @classmethod
    def make(cls, path: Path, example: str = ".env.example", **settings: str) -> Clone:
        """Copy what a container is made of, and write `.env` from an example and some settings."""
        for name in CONTEXT:
            source, target = ROOT / name, path / "clone" / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.whl"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        made = cls(path / "clone", path / "user")
        made.home.mkdir()
        text = (made.deploy / example).read_text("utf-8")
        (made.deploy / ".env").write_text(text + "".join(f"{name}={settings[name]}\n" for name in settings), "utf-8")
        return made

    @property
    def deploy(self) -> Path:
        return self.path / "deploy"

    def folders(self) -> list[Path]:
        """The folders that `.env.example` says to make."""
        text = (self.deploy / ".env.example").read_text("utf-8")
        lines = [line.removeprefix("#").strip() for line in text.splitlines() if "mkdir -p" in line]
        shell = subprocess.run(
            ["bash", "-c", "printf '%s\\n' " + " ".join(line.removeprefix("mkdir -p") for line in lines)],
            capture_output=True,
            text=True,
            check=True,
            env={"HOME": str(self.home)},
        )
        return [Path(line) for line in shell.stdout.splitlines()]

    def run(
        self, argv: Sequence[str | Path], *, timeout_s: float = TIMEOUT_S, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder of the compose files, to its end."""
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.home), **self.environ, **environ}
        return subprocess.run(
            [str(part) for part in argv],
            cwd=self.deploy,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=env,
            check=False,
        )


def composed(command: str, composer: Sequence[str | Path]) -> list[str | Path]:
    """The words of a documented command line with another program in place of `docker compose`."""
    assert command.startswith(DOCKER)
    return [*composer, *shlex.split(command.removeprefix(DOCKER))]


@cache
def _rendered(deploy: Path, env_file: str, command: str, environ: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    clone = Clone(deploy.parent, deploy.parents[1] / "user")
    argv = composed(command.removesuffix("up --detach"), [tools() / "docker-compose"])
    done = clone.run([*argv, "config", "--format", "json"], **dict(environ))
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def rendered(clone: Clone, command: str, **environ: str) -> dict[str, Any]:
    """What the real Compose makes of a documented command line."""
    env_file = (clone.deploy / ".env").read_text("utf-8")
    return _rendered(clone.deploy, env_file, command, tuple(sorted(environ.items())))


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """What is mounted where, by the path in the container."""
    return {volume["target"]: volume["source"] for volume in service.get("volumes", [])}
