"""Real container engines for tests: podman with buildah, and a Docker engine unpacked from Debian's packages.

Both run as root in network namespaces of their own, with their own storage in the cache, so that nothing of the machine
is touched. The base image is bootstrapped from Debian's archive.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .containers import tools
from .pair import cannot_run
from .processes import wait_until
from .released import CALLER, TRIES, cache_folder, locked

BASE = "localhost/debian-base:bookworm"
PACKAGES = "ca-certificates,python3-minimal,python3-venv,tzdata"
BUILD_TIMEOUT_S, RUN_TIMEOUT_S = 900, 180
PROGRAMS = ("podman", "buildah", "runc", "debootstrap", "nsenter", "ip", "catatonit", "script", "iptables")
DOCKER_PACKAGES = ("docker.io", "containerd", "tini")
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
STORAGE_CONF = """
[storage]
driver = "{driver}"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""


def run(
    argv: Sequence[str | Path], timeout_s: float = RUN_TIMEOUT_S, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in argv],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**CALLER, **environ},
        check=False,
    )


def must(argv: Sequence[str | Path], timeout_s: float = RUN_TIMEOUT_S, **environ: str) -> str:
    done = run(argv, timeout_s, **environ)
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return done.stdout


class Network:
    """A network namespace with nothing but its loopback."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}-{os.getpid()}"

    @property
    def prefix(self) -> list[str]:
        """Put before a command line, runs it in there; `ip netns exec` would hide the control groups from runc."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def __enter__(self) -> Network:
        must(["ip", "netns", "add", self.name])
        must([*self.prefix, "ip", "link", "set", "lo", "up"])
        return self

    def __exit__(self, *_: object) -> None:
        run(["ip", "netns", "delete", self.name])


class Podman:
    """podman and buildah over a storage of their own. Used by one process at a time."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(CONTAINERS_CONF, "utf-8")
        (folder / "storage.conf").write_text(STORAGE_CONF.format(driver=driver, folder=folder), "utf-8")
        self.environ = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def run(self, *argv: str | Path, timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        return run(["podman", *argv], timeout_s, **self.environ)

    def has(self, image: str) -> bool:
        return self.run("image", "exists", image).returncode == 0

    def make_base(self) -> None:
        """Bootstrap a small Debian; its archive is kept."""
        if self.has(BASE):
            return
        archive = self.folder.parent / "rootfs-bookworm.tar"
        if not archive.exists():
            self._bootstrap(archive)
        must(["podman", "import", archive, BASE], **self.environ)

    def _bootstrap(self, archive: Path) -> None:
        root = self.folder / "rootfs"
        for _ in range(TRIES):
            shutil.rmtree(root, ignore_errors=True)
            done = run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root], BUILD_TIMEOUT_S)
            if not done.returncode:
                break
        else:
            cannot_run(f"a base image cannot be made: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        without = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*")
        partial = archive.with_suffix(".partial")
        must(["tar", "-C", root, *(f"--exclude={name}" for name in without), "-cf", partial, "."])
        partial.rename(archive)
        shutil.rmtree(root, ignore_errors=True)

    def build(self, context: Path, file: str, image: str, wheels: Path, **build_arguments: str) -> None:
        """Build one image from a folder, unless it exists; `target` is a stage of the container file.

        The wheels are at /wheels during the build, where they would be copied to.
        """
        if self.has(image):
            return
        arguments = {"BASE_IMAGE": BASE, **build_arguments}
        target = arguments.pop("target", "")
        argv: list[str | Path] = ["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers"]
        argv += [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        argv += ["--target", target] if target else []
        argv += ["--volume", f"{wheels}:/wheels:ro"]
        must([*argv, "--file", context / file, "--tag", image, context], BUILD_TIMEOUT_S, **self.environ)

    def clear(self) -> None:
        """Remove every container and volume, and images that have lost their name; kept images stay."""
        self.run("pod", "rm", "--all", "--force", "--time", "1")
        self.run("rm", "--all", "--force", "--time", "1")
        self.run("volume", "prune", "--force")
        self.run("network", "prune", "--force")


def need_podman() -> None:
    """End the test where podman cannot run, and say why."""
    if os.geteuid():
        cannot_run("containers are run as root in these tests")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        cannot_run(f"not installed, which these tests run containers with: {' '.join(missing)}")


def driver(folder: Path) -> str:
    """`overlay` where the machine can, else `vfs`, which copies whole layers."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / f"try-{name}" for name in ("lower", "upper", "work", "merged")]
    for part in parts:
        part.mkdir(exist_ok=True)
    lower, upper, work, merged = parts
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    works = run(["mount", "-t", "overlay", "overlay", "-o", options, merged]).returncode == 0
    if works:
        must(["umount", merged])
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
    return "overlay" if works else "vfs"


class Docker:
    """A Docker engine of its own, from Debian's packages, which are unpacked and not installed."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder = folder
        self.network = network
        self.socket = f"unix://{folder / 'docker.sock'}"
        self._daemon: subprocess.Popen[bytes] | None = None

    @staticmethod
    def unpacked() -> Path:
        """The folder of its programs, kept in the cache."""
        folder = cache_folder() / "docker-engine"
        with locked(folder.with_name("docker-engine.lock")):
            if not (folder / "complete").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                done = subprocess.run(
                    ["apt-get", "download", "--quiet", "--option", "Acquire::Retries=3", *DOCKER_PACKAGES],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=BUILD_TIMEOUT_S,
                    env=CALLER,
                    check=False,
                )
                if done.returncode:
                    cannot_run(f"the Docker engine's packages are not to be had: {done.stderr}")
                for package in folder.glob("*.deb"):
                    must(["dpkg", "-x", package, folder])
                    package.unlink()
                (folder / "complete").touch()
        return folder / "usr"

    def start(self) -> None:
        usr = self.unpacked()
        path = f"{usr / 'bin'}:{usr / 'sbin'}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        self.environ = {"DOCKER_HOST": self.socket, "PATH": path}
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "--host": self.socket,
            "--data-root": self.folder / "data",
            "--exec-root": self.folder / "exec",
            "--pidfile": self.folder / "pid",
            "--oom-score-adjust": "0",
            "--default-ulimit": "nofile=4096:4096",
            "--init-path": usr / "bin" / "tini-static",
        }
        argv = [*self.network.prefix, "dockerd", *(str(part) for pair in options.items() for part in pair)]
        with (self.folder / "log").open("wb") as log:
            self._daemon = subprocess.Popen(
                argv, stdout=log, stderr=log, env={**CALLER, "PATH": path}, start_new_session=True
            )
        wait_until(lambda: self.run("version").returncode == 0, 60, f"dockerd: {self.log()}")

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")[-3000:]

    def run(self, *argv: str | Path, timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        return run(["docker", *argv], timeout_s, **self.environ)

    def load(self, podman: Podman, images: Sequence[str]) -> None:
        """Take images over from podman."""
        archive = self.folder / "images.tar"
        archive.unlink(missing_ok=True)
        must(
            ["podman", "save", "--quiet", "--format", "docker-archive", "-m", "--output", archive, *images],
            BUILD_TIMEOUT_S,
            **podman.environ,
        )
        must(["docker", "load", "--quiet", "--input", archive], BUILD_TIMEOUT_S, **self.environ)
        archive.unlink()

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._daemon.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(self._daemon.pid, signal.SIGKILL)  # and what it started
            self._daemon.wait()
            run(["umount", "--lazy", self.folder / "exec" / "netns" / "default"])


def composer(kind: str) -> list[str | Path]:
    """The words that stand for `docker compose`: the real one, or podman-compose."""
    return [tools() / kind]


def settle(condition: Callable[[], bool], timeout_s: float, what: Callable[[], str]) -> None:
    """Wait for a condition that takes a while to ask."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(1)
