"""The images of the deployment, as its compose files say they are made, kept for what they are made of.

They are built without a package index, from wheels that are made once.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from .containers import CONTEXT, DOCUMENTED, OURS, ROOT, Clone, rendered
from .engines import BASE, BUILD_TIMEOUT_S, Podman, driver, must, need_podman, run
from .pair import cannot_run
from .released import cache_folder, locked

HUB_IMAGES = ("hivemind-listener", "hivemind-cli", "hivemind-chatroom")
HARDWARE = "sound,phal"
ROOM = ROOT / "tests" / "deploy" / "sound"
PYTHON = "/usr/bin/python3"
LAYERS_KEPT = "24h"
COMPILED_WITH = "swig libfann-dev libasound2-dev g++ python3-dev python3-venv"
WHEELS = {"BASE_IMAGE": BASE, "PIP_NO_INDEX": "1", "BUILD_PACKAGES": "", "EXTRA_BUILD_PACKAGES": ""}
"""Everything comes as a wheel, what has to be compiled, too."""


@contextmanager
def podman_with_images(clone_of: Callable[..., Clone]) -> Iterator[tuple[Podman, Clone]]:
    """Podman, alone with its storage, and a clone whose `.env` names images that it has."""
    need_podman()
    folder = cache_folder() / "podman"
    with locked(folder.with_name("podman.lock")):
        podman = Podman(folder, driver(folder))
        podman.clear()
        with ThreadPoolExecutor() as pool:
            base = pool.submit(podman.make_base)
            wheels = pool.submit(_wheels).result()
            base.result()
        ovos = _digest(_contents(ROOT / "deploy" / "ovos", ROOM), wheels.name.encode())
        hub = _digest(_contents(*(ROOT / name for name in CONTEXT if name != "deploy"), ROOT / "deploy" / "hub"))
        version = f"{hub}-{ovos}"
        clone = clone_of(VERSION=version, PULL_POLICY="never")
        _build(podman, clone, wheels, version, ovos)
        try:
            yield podman, clone
        finally:
            podman.clear()
            _forget_old(podman, version, ovos)


def room(version: str) -> str:
    """The image of the sound server beside the containers, which has their version."""
    return f"localhost/room:{version.partition('-')[2]}"


def _build(podman: Podman, clone: Clone, wheels: Path, version: str, ovos: str) -> None:
    """Build what is missing. Images that begin alike follow each other, so that a layer is built once."""
    builds = _builds(clone)

    def make(*images: str) -> None:
        for image in images:
            arguments = {**builds[image]["args"], **WHEELS, "target": builds[image].get("target", "")}
            kept = f"{image}:{version if image in hub else ovos}"
            podman.build(clone.path, builds[image]["dockerfile"], kept, wheels, **arguments)
            podman.run("tag", kept, f"{image}:{version}")

    hub = [image for image in builds if "target" in builds[image]]
    core, *skills = [image for image in builds if image not in hub and "LIBRARIES" not in builds[image]["args"]]
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(make, *hub)]
        make(core)
        begun += [pool.submit(make, *skills), pool.submit(make, *(set(builds) - {core, *skills, *hub}))]
    for done in begun:
        done.result()
    podman.build(ROOM, "Containerfile", room(version), wheels, BASE_IMAGE=f"localhost/ovos-audio:{ovos}")


def _builds(clone: Clone) -> dict[str, dict[str, Any]]:
    """How the compose files build each image."""
    services: dict[str, Mapping[str, Any]] = {
        **rendered(clone, DOCUMENTED["linux"][0], COMPOSE_PROFILES=HARDWARE)["services"],
        **rendered(clone, OURS["alone"][0], COMPOSE_PROFILES="chatroom")["services"],
    }
    return {service["image"].rpartition(":")[0]: dict(service["build"]) for service in services.values()}


def _wheels() -> Path:
    """Every wheel that the images are made of, for this machine's Python, which is the base image's, too."""
    deploy = ROOT / "deploy"
    sets = ([deploy / "hub" / "requirements.txt"], sorted((deploy / "ovos" / "requirements").glob("*.txt")))
    folder = cache_folder() / f"wheels-{_digest(*(_contents(*paths) for paths in sets))}"
    if (folder / "complete").exists():
        return folder
    version = must([PYTHON, "-V"]).split()[1]
    environment = {"python_full_version": version, "python_version": ".".join(version.split(".")[:2])}
    folder.mkdir(parents=True, exist_ok=True)
    must([PYTHON, "-m", "venv", folder / "pip"])
    pip = [folder / "pip" / "bin" / "pip", "wheel", "--quiet", "--use-pep517", "--wheel-dir", folder]
    for paths in sets:
        lines = {line for path in paths for line in path.read_text("utf-8").splitlines() if line.strip()}
        wanted = [requirement for requirement in map(Requirement, sorted(lines)) if _applies(requirement, environment)]
        _make([*pip, "--no-deps", *(f"{one.name}{one.specifier}" for one in wanted)])
    _make([*pip, "hatchling"])
    shutil.rmtree(folder / "pip")
    (folder / "complete").touch()
    return folder


def _make(argv: list[str | Path]) -> None:
    done = run(argv, BUILD_TIMEOUT_S)
    if done.returncode:
        cannot_run(f"no wheels (on Debian: apt install {COMPILED_WITH}): {done.stderr[-2000:]}")


def _applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def _forget_old(podman: Podman, version: str, ovos: str) -> None:
    """Remove images of other versions than these."""
    listed = podman.run("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    old = [name for name in listed if name != BASE and not name.endswith((f":{version}", f":{ovos}", ":<none>"))]
    if old:
        podman.run("rmi", *old)
        podman.run("image", "prune", "--force", "--filter", f"until={LAYERS_KEPT}")


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _contents(*paths: Path) -> bytes:
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    kept = [file for file in files if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".whl"]
    return b"\0".join(part for file in kept for part in (str(file.relative_to(ROOT)).encode(), file.read_bytes()))
