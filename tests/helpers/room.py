"""A room with a microphone and a loudspeaker, for containers of a machine that has neither."""

from __future__ import annotations

import array
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .containers import ROOT
from .engines import settle
from .pair import cannot_run
from .processes import wait_until
from .stack import OWNER, Stack

SOCKET_S, LOUD = 30, 1000
RATE_HZ = 16_000
WINDOW = RATE_HZ // 10
RUN = "/run/user/pulse"
DBUS = """<busconfig>
<listen>unix:path={socket}</listen>
<auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/></policy>
</busconfig>
"""


class Room:
    """A sound server in a container, at the address of the account's own, and the speech services `speech:9000`.

    What is said in here, the microphone hears. What the loudspeaker plays is written down, and so is what is said on
    OpenVoiceOS's message bus.
    """

    def __init__(self, stack: Stack, image: str, runtime: Path) -> None:
        self.no_card = ROOT / "tests" / "deploy" / "sound" / "no-card.yml"
        self._stack = stack
        self._image = image
        self._folder = runtime / "pulse"

    def __enter__(self) -> Room:
        self._folder.mkdir(parents=True)
        os.chown(self._folder, OWNER, OWNER)
        named = ("--name", "room", "--network-alias", "speech", "--network", "ovos_default")
        started = self._stack.engine("run", "--detach", *named, "--volume", f"{self._folder}:{RUN}", self._image)
        assert started.returncode == 0, started.stderr
        settle((self._folder / "native").exists, SOCKET_S, lambda: self._stack.logs("room"))
        self._begin("python3 /opt/room/speech.py")
        self._begin(f"parec --device=loudspeaker.monitor --format=s16le --channels=1 --rate={RATE_HZ} {RUN}/played.raw")
        self._begin(f"entrypoint python3 /opt/room/overhear.py {RUN}/bus.txt")
        settle(lambda: bool(self.overheard()), SOCKET_S, lambda: "nothing is on the bus")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.engine("rm", "--force", "--time", "1", "room")

    def _begin(self, line: str) -> None:
        server = f"PULSE_SERVER=unix:{RUN}/native"
        done = self._stack.engine("exec", "--detach", "--env", server, "room", "sh", "-c", f"exec {line}")
        assert done.returncode == 0, done.stderr

    def say(self, text: str) -> None:
        """Say something aloud, to its end."""
        line = f'espeak-ng -s 140 --stdout "$0" | PULSE_SERVER=unix:{RUN}/native paplay --device=room'
        done = self._stack.engine("exec", "room", "sh", "-c", line, text)
        assert done.returncode == 0, done.stderr

    def overheard(self) -> list[str]:
        """The types of what was said on the bus."""
        file = self._folder / "bus.txt"
        return file.read_text("utf-8").splitlines() if file.exists() else []

    def seconds_played(self) -> float:
        """For how long the loudspeaker has played anything but silence."""
        samples = array.array("h")
        data = (self._folder / "played.raw").read_bytes()
        samples.frombytes(data[: len(data) // 2 * 2])
        windows = (samples[start : start + WINDOW] for start in range(0, len(samples), WINDOW))
        return sum(max(map(abs, window)) > LOUD for window in windows) * WINDOW / RATE_HZ


@contextmanager
def system_bus(folder: Path) -> Iterator[Path]:
    """A D-Bus that stands for that of the system; the path of its socket."""
    if (program := shutil.which("dbus-daemon")) is None:
        cannot_run("dbus-daemon is not installed: apt install dbus-daemon")
    socket, configuration = folder / "system_bus_socket", folder / "dbus.conf"
    configuration.write_text(DBUS.format(socket=socket), "utf-8")
    daemon = subprocess.Popen([program, f"--config-file={configuration}", "--nofork", "--nopidfile"])
    try:
        wait_until(socket.exists, SOCKET_S, "a D-Bus")
        yield socket
    finally:
        daemon.terminate()
        daemon.wait(SOCKET_S)
