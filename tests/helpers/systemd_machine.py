"""A real systemd as process 1 of namespaces of its own: what is installed, started and killed there harms nobody."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import site
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .pair import cannot_run
from .processes import POLL_S, ChildError

SCRIPT = Path(__file__).with_suffix(".sh")
SRC = Path(__file__).parents[2] / "src"
CGROUPS = Path("/sys/fs/cgroup")
SYSTEMD = Path("/lib/systemd/systemd")
BOOT_S = 60.0
OPT = "/opt/hivemind"
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
JOIN = 'for group; do shift; [ "$group" = -- ] && break; echo $$ > "$group/cgroup.procs"; done; exec "$@"'
INSTALL = """
set -e
echo /opt/python/lib > /etc/ld.so.conf.d/python.conf
ldconfig
mkdir -p {opt}/bin {opt}/lib/python{version}/site-packages
ln -s /opt/python/bin/python{version} {opt}/bin/python
printf 'home = /opt/python/bin\\n' > {opt}/pyvenv.cfg
printf '/opt/src\\n/opt/site\\n' > {opt}/lib/python{version}/site-packages/here.pth
script() {{
    printf '#!{opt}/bin/python\\nfrom %s.scripts import %s\\n%s()\\n' "$2" "$3" "$3" > {opt}/bin/$1
    chmod 755 {opt}/bin/$1
}}
script hivemind-core hivemind_core hmcore_cmds
script hivemind-client hivemind_bus_client hmclient_cmds
script hivemind-flask-chatroom hivemind_chatroom main
"""


class Machine:
    """The running machine; this installation is in /opt/hivemind."""

    def __init__(self, outer: subprocess.Popen[bytes]) -> None:
        self._outer = outer
        self.pid = 0

    def boot(self) -> bool:
        """Wait until it is up; False where it cannot be."""
        end = time.monotonic() + BOOT_S
        while time.monotonic() < end and self._outer.poll() is None:
            self.pid = self.pid or _child(self._outer.pid)
            if self.pid and "running" in self._enter("systemctl is-system-running").stdout:
                return True
            time.sleep(POLL_S)
        return False

    def run(self, command: str, account: str = "root", timeout_s: float = 60) -> str:
        """Run a shell command there, which must succeed; what it printed."""
        ran = self.try_to(command, account, timeout_s)
        if ran.returncode:
            raise ChildError(f"{command!r} as {account} ended with {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def try_to(self, command: str, account: str = "root", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command there, by `root` or as if somebody else had logged in."""
        if account != "root":
            inner = (
                f"export HOME=$(getent passwd {account} | cut -d: -f6) XDG_RUNTIME_DIR=/run/user/$(id -u); {command}"
            )
            command = f"runuser -u {account} -- sh -c {shlex.quote(inner)}"
        return self._enter(command, timeout_s)

    def wait(self, command: str, expected: str, account: str = "root", timeout_s: float = 60) -> None:
        """Until a command prints something."""
        end = time.monotonic() + timeout_s
        while expected not in (said := self.try_to(command, account).stdout):
            if time.monotonic() > end:
                raise ChildError(f"{command!r} did not print {expected!r} but\n{said}\n{self.journal()}")
            time.sleep(0.1)

    def journal(self) -> str:
        """The end of the journal."""
        return self._enter("journalctl --no-pager -n 60").stdout

    def _enter(self, command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        argv = ["nsenter", "--target", str(self.pid), "--all", "sh", "-c", command]
        return subprocess.run(argv, env=ENVIRON, capture_output=True, text=True, timeout=timeout_s, check=False)


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Boot one; end the test where that is not possible."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("unshare") is None:
        cannot_run("a systemd of its own needs root, systemd and unshare")
    folder.mkdir()
    groups = _cgroups(f"hivemind-test-{os.getpid()}")
    argv = [
        *("unshare", "--fork", "--pid", "--kill-child", "--mount", "--ipc", "--uts", "--net", "--cgroup"),
        *("bash", str(SCRIPT), str(folder), sys.base_prefix, str(SRC), site.getsitepackages()[0]),
    ]
    with contextlib.ExitStack() as stack, (folder.parent / "boot.log").open("w+b") as log:
        for group in groups:
            group.mkdir()
            stack.callback(_remove, group)
        outer = subprocess.Popen(
            ["sh", "-c", JOIN, "sh", *map(str, groups), "--", *argv],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(_end, outer)
        made = Machine(outer)
        if not made.boot():
            log.seek(0)
            cannot_run(f"systemd cannot be started here: {log.read().decode(errors='replace')[-300:]}")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        made.run(INSTALL.format(opt=OPT, version=version))
        yield made


def _child(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return child if Path(f"/proc/{child}/exe").resolve().name == "systemd" else 0
    return 0


def _cgroups(name: str) -> list[Path]:
    """Groups of this test's own, one in each hierarchy that systemd uses."""
    hierarchies = [CGROUPS / each for each in ("systemd", "unified") if (CGROUPS / each / "cgroup.procs").exists()]
    return [each / name for each in hierarchies or [CGROUPS]]


def _end(outer: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(outer.pid, signal.SIGKILL)  # and with it, by --kill-child, process 1 and all below
    outer.wait(60)


def _remove(group: Path) -> None:
    """Remove an empty cgroup and those below it, as soon as the kernel lets go of what ran there."""
    end = time.monotonic() + 60
    while group.exists() and time.monotonic() < end:
        for each in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                each.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
        time.sleep(POLL_S)
