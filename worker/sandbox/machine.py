"""What the machine, or the container on it, has."""

import math
import os
from pathlib import Path

_CONTROL = Path("/sys/fs/cgroup")


def cores(quota: Path = _CONTROL / "cpu.max") -> int:
    """The cores at hand: those this process may run on, or fewer where its container's quota says so."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if granted == "max" else max(1, min(allowed, math.ceil(int(granted) / int(period))))


def memory(quota: Path = _CONTROL / "memory.max") -> int:
    """The memory at hand, in bytes: all of the machine's, or less where its container's limit says so."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        granted = quota.read_text().strip()
    except OSError:
        return there
    return min(there, int(granted)) if granted.isdigit() else there
