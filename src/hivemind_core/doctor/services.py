"""The systemd unit of the hub, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn

from .case import HubCase

UNIT = "hivemind-core.service"
ASK_S = 5.0
WHAT = "service"


def look(case: HubCase) -> Iterator[Finding]:
    """The unit of this account, and that of the machine; nothing is said without systemd or without a unit."""
    if shutil.which("systemctl") is None:
        return
    for option, journal in (("--user", "--user-unit"), ("--system", "-u")):
        state = _state(option)
        if state.get("LoadState") == "loaded":
            yield _told(state, f"systemctl {option}", f"journalctl {journal} {UNIT} -n 50")


def _state(option: str) -> dict[str, str]:
    wanted = "--property=LoadState,ActiveState,SubState,NRestarts,UnitFileState"
    try:
        command = ["systemctl", option, "show", wanted, UNIT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _told(state: dict[str, str], systemctl: str, journal: str) -> Finding:
    active = state.get("ActiveState", "")
    told = f"{UNIT} ({systemctl.split()[1].lstrip('-')}) is {active}"
    if active == "failed":
        return fail(WHAT, f"{told}.", f"See why: {journal}. Then: {systemctl} restart {UNIT}")
    if active != "active":
        return warn(WHAT, f"{told}.", f"Run: {systemctl} start {UNIT}")
    if state.get("UnitFileState") == "disabled":
        return warn(WHAT, f"{told}, but does not start with the machine.", f"Run: {systemctl} enable {UNIT}")
    restarts = state.get("NRestarts", "0")
    if restarts not in ("", "0"):
        return warn(WHAT, f"{told}; it was started again {restarts} times.", f"See why: {journal}")
    return ok(WHAT, f"{told}.")
