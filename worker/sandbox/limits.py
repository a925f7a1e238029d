"""Limits on a job's files and on the resources that its programs use.

    input-too-large, input-too-long, input-too-many-pixels, input-too-many-streams    properties of a file
    time-limit, memory-limit, disk-limit                                              resources of the work

Every attempt would exceed the same limit, so these are permanent errors.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from worker.errors import JobError, PermanentError
from worker.host_faults import disk_full
from worker.sandbox.isolation import ProcessLimits
from worker.sandbox.machine import cores, memory

_MIN_SIDE = 64
"""Pixels. A shorter side counts as this long, because decoders allocate pictures in blocks."""
_BASE_SECONDS = 600
_KERNEL_GRACE_SECONDS = 60
"""The kernel's CPU limit ends a program this long after the worker's own timeout should have."""
_FRAMES_PER_SECOND = 30
_BLOCK = 512
"""Bytes of the unit in which `stat` counts the blocks of a file, on every system."""
_SHARE_OF_MEMORY = 0.75


class JobLimits(NamedTuple):
    """The limits of a job. Each is set by an environment variable (docs/reference/workers.md).

    0 in the last three means the limit of the machine or container.
    """

    input_bytes: int = 1 << 40
    duration_seconds: int = 24 * 3600
    pixels: int = 8192 * 8192
    streams: int = 256
    job_seconds: int = 42_000
    slowness: int = 100
    cpu_seconds: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0

    @classmethod
    def read(cls, environ: Mapping[str, str], faults: list[str]) -> Self:
        """The limits in an environment. Appends a sentence to `faults` for each variable that is wrong."""
        limits = cls()
        for field, default in limits._asdict().items():
            name = f"MAX_{field.upper()}"
            text = environ.get(name) or str(default)
            if text.isascii() and text.isdigit() and len(text) < 19 and (int(text) or not default):
                limits = limits._replace(**{field: int(text)})
            else:
                faults.append(f"{name} must be a whole number{' above 0' if default else ''}, not {text!r}")
        return limits

    @property
    def frames(self) -> int:
        """The most frames that a scored video may have: 30 for each second of the longest duration."""
        return _FRAMES_PER_SECOND * self.duration_seconds

    def timeout_seconds(self, duration: float | None) -> float:
        """Wall-clock seconds that one program may run on a video of `duration` seconds; None means unknown."""
        if duration is None:
            return self.job_seconds
        return min(self.job_seconds, _BASE_SECONDS + self.slowness * max(0.0, duration))

    def for_process(self, folder: Path, seconds: float, file_bytes: int | None = None) -> ProcessLimits:
        """Limits for one program that runs up to `seconds` in the job's folder and writes files up to `file_bytes`."""
        cpu = math.ceil(seconds + _KERNEL_GRACE_SECONDS) * cores()
        return ProcessLimits(
            seconds=seconds,
            cpu_seconds=min(cpu, self.cpu_seconds or cpu),
            memory_bytes=self.memory_bytes or int(_SHARE_OF_MEMORY * memory()),
            file_bytes=max(1, min(self.free_bytes(folder), file_bytes or self.free_bytes(folder))),
        )

    def free_bytes(self, folder: Path) -> int:
        """Bytes that the job may still write to its folder. Negative when its files already exceed the limit."""
        return min(self._disk_bytes(folder) - used_bytes(folder), shutil.disk_usage(folder).free)

    def disk_error(self, folder: Path, more: int = 0) -> JobError:
        """The error of a job that needs `more` bytes than there are: permanent if its limit, else the host's."""
        limit, used = self._disk_bytes(folder), used_bytes(folder)
        if used + more >= limit:
            message = f"The job's files take {used + more} bytes or more; the limit is {limit}."
            return PermanentError("disk-limit", message)
        return disk_full()

    def check_size(self, side: str, size: int, folder: Path) -> None:
        """Raise if an object of `size` bytes is too large, or does not fit on the disk. See `disk_error`."""
        self.check_bytes(side, size)
        if size > self.free_bytes(folder):
            raise self.disk_error(folder, size)

    def check_bytes(self, side: str, size: int) -> None:
        """Raise PermanentError if an object of `size` bytes is too large, wherever it lies."""
        if size > self.input_bytes:
            message = f"The {side} has {size} bytes; the limit is {self.input_bytes}."
            raise PermanentError(f"{side}-too-large", message)

    def check_video(self, side: str, *, duration: float | None, width: int, height: int, streams: int) -> None:
        """Raise PermanentError if a video exceeds a limit. Duration in seconds, None if unknown; sides in pixels."""
        if streams > self.streams:
            message = f"The {side} has {streams} streams or more; the limit is {self.streams}."
            raise PermanentError(f"{side}-too-many-streams", message)
        if max(width, _MIN_SIDE) * max(height, _MIN_SIDE) > self.pixels:
            message = f"The {side} is {width}x{height}; the limit is {self.pixels} pixels."
            raise PermanentError(f"{side}-too-many-pixels", message)
        if duration and duration > self.duration_seconds:
            message = f"The {side} declares a duration of {duration:.0f} s; the limit is {self.duration_seconds} s."
            raise PermanentError(f"{side}-too-long", message)

    def check_frames(self, side: str, frames: int) -> None:
        """Raise PermanentError if a scored video has too many frames."""
        if frames > self.frames:
            message = f"The {side} has more than {self.frames} frames, the limit for scoring."
            raise PermanentError(f"{side}-too-long", message)

    def _disk_bytes(self, folder: Path) -> int:
        return self.disk_bytes or shutil.disk_usage(folder).total


def used_bytes(folder: Path) -> int:
    """Total bytes that the files directly in a folder take on the disk: the holes of sparse files take none."""
    sizes = []
    for path in folder.iterdir():
        try:
            sizes.append(_BLOCK * path.stat(follow_symlinks=False).st_blocks)
        except FileNotFoundError:  # removed since the listing
            continue
    return sum(sizes)
