"""What the kernel knows of a process and of the machine (Linux, /proc)."""

from __future__ import annotations

import os
import platform
import resource
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Memory of a process in kB."""

    rss: int
    pss: int
    anonymous: int


@dataclass(frozen=True)
class Spent:
    """Processor time of a process so far, in seconds, counted by the ticks of the machine's clock."""

    user: float
    system: float


def spent(pid: int) -> Spent:
    """Processor time of all threads of a process so far, in its own code and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return Spent(int(fields[11]) / ticks, int(fields[12]) / ticks)


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process so far, user and system, in seconds."""
    return time.clock_gettime((~pid << 3) | 2)  # the processor clock of another process, clock_getcpuclockid(3)


def memory(pid: int) -> Memory:
    values = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        values[name.rstrip(":")] = int(size)
    return Memory(values["Rss"], values["Pss"], values["Anonymous"])


def most_resident(pid: int) -> int:
    """The most memory that a process has had, in kB."""
    found = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1])


def threads(pid: int) -> int:
    """Threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def raise_file_limit() -> None:
    """Let this process and its children hold as many sockets as the system lets them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def machine() -> dict[str, str]:
    """The facts of this machine that figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    total = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(total) // 1024} MB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
