"""CPU cores and memory that this process may use."""

import math
import os
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores(quota: Path = _CGROUP / "cpu.max") -> int:
    """Number of CPU cores, at least 1: the process's affinity, or the container's quota rounded up if that is lower."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if granted == "max" else max(1, min(allowed, math.ceil(int(granted) / int(period))))


def memory(quota: Path = _CGROUP / "memory.max") -> int:
    """Bytes of memory: the machine's, or the container's limit if that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        granted = quota.read_text().strip()
    except OSError:
        return total
    return min(total, int(granted)) if granted.isdigit() else total


def available_memory(folder: Path = _CGROUP, info: Path = Path("/proc/meminfo")) -> int:
    """Bytes of memory that a new process may get: of the machine, or of the container if it has less left."""
    free = memory(folder / "memory.max")
    with suppress(OSError, ValueError, KeyError):
        free = 1024 * int(_fields(info)["MemAvailable:"])
    with suppress(OSError, ValueError, KeyError):
        granted, used = ((folder / f"memory.{name}").read_text() for name in ("max", "current"))
        free = min(free, int(granted) - int(used) + int(_fields(folder / "memory.stat")["file"]))
    return free


def _fields(file: Path) -> dict[str, str]:
    """The first two words of each line."""
    return dict(line.split()[:2] for line in file.read_text().splitlines())
