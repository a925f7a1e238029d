"""What a job may use, and what its files may be.

    input-too-large, input-too-long, input-too-many-pixels, input-too-many-streams    what a file is
    time-limit, memory-limit, disk-limit                                              what the work on it takes

A job that meets one of these would meet it again: it is hopeless.
"""

import math
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from worker.errors import Hopeless, JobError, Passing
from worker.sandbox.isolation import Bounds
from worker.sandbox.machine import cores, memory

_LEAST_SIDE = 64
"""A shorter side counts as so long: decoders hold pictures in blocks."""
_BASE_SECONDS = 600
_KERNELS_SECONDS = 60
"""How much later than the clock the kernel's own limit ends what nobody else has ended."""
_FRAMES_A_SECOND = 30
_SHARE_OF_MEMORY = 0.75
_LARGE = re.compile(r"size ([1-9]\d*x[1-9]\d*) (?:exceeds specified max pixel count|is invalid)")


class Limits(NamedTuple):
    """The limits of a job, each a variable (docs/reference/workers.md). 0 means as much as the machine has."""

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
        """The limits in an environment; what is wrong there is added to the faults."""
        limits = cls()
        for field, default in limits._asdict().items():
            name = f"MAX_{field.upper()}"
            text = environ.get(name) or str(default)
            if text.isascii() and text.isdigit() and len(text) < 19 and (int(text) or not default):
                limits = limits._replace(**{field: int(text)})
            else:
                faults.append(f"{name} must be a whole number{' above 0' if default else ''}, not {text!r}")
        return limits

    def seconds(self, duration: float | None) -> float:
        """How long one program may be at work on a film of so many seconds, by the clock."""
        if duration is None:
            return self.job_seconds
        return min(self.job_seconds, _BASE_SECONDS + self.slowness * max(0.0, duration))

    def bounds(self, folder: Path, seconds: float, file_bytes: int | None = None) -> Bounds:
        """For a program that works in the job's folder for so many seconds at most, each of its files so large."""
        cpu = math.ceil(seconds + _KERNELS_SECONDS) * cores()
        return Bounds(
            seconds=seconds,
            cpu_seconds=min(cpu, self.cpu_seconds or cpu),
            memory_bytes=self.memory_bytes or int(_SHARE_OF_MEMORY * memory()),
            file_bytes=max(1, min(self.room(folder), file_bytes or self.room(folder))),
        )

    def room(self, folder: Path) -> int:
        """How many bytes may still be written there."""
        return min(self._disk(folder) - used(folder), shutil.disk_usage(folder).free)

    def refuse_bytes(self, side: str, size: int, folder: Path) -> None:
        """Hopeless for an object that is too large, or for which the disk is; Passing where the disk is full."""
        if size > self.input_bytes:
            told = f"The {side} has {size} bytes; the limit is {self.input_bytes}."
            raise Hopeless(f"{side}-too-large", told)
        if size > self.room(folder):
            raise self.no_room(folder, size)

    def no_room(self, folder: Path, more: int = 0) -> JobError:
        """The error of a job that would take so many bytes more on the disk than it has."""
        most, taken = self._disk(folder), used(folder)
        if taken + more >= most:
            return Hopeless("disk-limit", f"The job's files take {taken + more} bytes or more; the limit is {most}.")
        return Passing("disk-full", "The worker's disk is full.")

    def refuse(self, side: str, *, duration: float | None, width: int, height: int, streams: int) -> None:
        """Hopeless, with a code that begins with the side, where a film is more than it may be."""
        if streams > self.streams:
            told = f"The {side} has {streams} streams or more; the limit is {self.streams}."
            raise Hopeless(f"{side}-too-many-streams", told)
        if max(width, _LEAST_SIDE) * max(height, _LEAST_SIDE) > self.pixels:
            told = f"The {side} is {width}x{height}; the limit is {self.pixels} pixels."
            raise Hopeless(f"{side}-too-many-pixels", told)
        if duration and duration > self.duration_seconds:
            told = f"The {side} says that it lasts {duration:.0f} s; the limit is {self.duration_seconds} s."
            raise Hopeless(f"{side}-too-long", told)

    @property
    def frames(self) -> int:
        """How many frames a film may have that is scored: 30 for each second that it may last."""
        return _FRAMES_A_SECOND * self.duration_seconds

    def refuse_frames(self, side: str, frames: int) -> None:
        """Hopeless where a film that is scored has more than it may."""
        if frames > self.frames:
            told = f"The {side} has more than {self.frames} frames, which is the limit of what is scored."
            raise Hopeless(f"{side}-too-long", told)

    def met(self, side: str, lines: Iterable[str]) -> Hopeless | None:
        """The limit that a program has met while it read a file, from what it says; None where it was none of these."""
        for line in lines:
            if size := _LARGE.search(line):
                told = f"The {side} has pictures of {size[1]}; the limit is {self.pixels} pixels."
                return Hopeless(f"{side}-too-many-pixels", told)
            if "exceeds max_streams" in line:
                told = f"The {side} has more than {self.streams} streams, which is the limit."
                return Hopeless(f"{side}-too-many-streams", told)
        return None

    def _disk(self, folder: Path) -> int:
        return self.disk_bytes or shutil.disk_usage(folder).total


def used(folder: Path) -> int:
    """Bytes of the files in a folder."""
    sizes = []
    for path in folder.iterdir():
        try:
            sizes.append(path.stat(follow_symlinks=False).st_size)
        except FileNotFoundError:  # it was removed meanwhile
            continue
    return sum(sizes)
