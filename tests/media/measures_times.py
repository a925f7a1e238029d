"""Measures of time, from decoded pictures and sound: when each frame is shown, and when flashes and beeps come."""

import re
import subprocess
from array import array
from functools import cache
from itertools import pairwise
from pathlib import Path

from tests.media.case import FFMPEG, Made

_PICTURE = re.compile(r"pts:(-?\d+) +pts_time:.*\nlavfi\.signalstats\.YAVG=(\d+)")
_SOUND = re.compile(r"pts:(-?\d+) .*nb_samples:(\d+)")
_RATE = 48000
_TICKS = 360000
_QUIET_SECONDS = 0.2


def _decoded(path: Path, *options: str) -> "subprocess.CompletedProcess[bytes]":
    command = [FFMPEG, "-nostdin", "-nostats", "-copyts", "-i", str(path), *options, "pipe:1"]
    return subprocess.run(command, capture_output=True, check=False)


@cache
def _pictures(path: Path, _changed: int) -> list[tuple[float, int]]:
    # not `showinfo`: it writes a frame's line to the log in pieces, between which other threads write theirs
    printed = "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-"
    filters = f"settb=1/{_TICKS},scale=2:2:flags=area,format=gray,{printed}"
    text = _decoded(path, "-map", "0:v:0", "-vf", filters, "-fps_mode", "passthrough", "-f", "null").stdout.decode()
    return [(int(match[1]) / _TICKS, int(match[2])) for match in _PICTURE.finditer(text)]


def frame_seconds(path: Path) -> list[float]:
    """When each picture of a file is shown, in seconds of its own clock."""
    return [time for time, _ in _pictures(path, path.stat().st_mtime_ns)]


def flashes(path: Path) -> list[float]:
    """When the picture turns from dark to bright, in seconds of the file's clock."""
    pictures = _pictures(path, path.stat().st_mtime_ns)
    return [time for (_, before), (time, now) in pairwise([(0.0, 0), *pictures]) if before < 90 <= now]


def beeps(path: Path) -> list[float]:
    """When a sound begins after silence, in seconds of the file's clock."""
    options = ["-map", "0:a:0", "-af", f"aresample={_RATE},aformat=s16:channel_layouts=mono,ashowinfo", "-f", "s16le"]
    decoded = _decoded(path, *options)
    samples = array("h", decoded.stdout)
    onsets, last, position = list[float](), -1.0, 0
    for match in _SOUND.finditer(decoded.stderr.decode()):
        start, count = int(match[1]) / _RATE, int(match[2])
        for index in range(position, min(position + count, len(samples))):
            if abs(samples[index]) > 3000:
                time = start + (index - position) / _RATE
                if time - last > _QUIET_SECONDS:
                    onsets.append(time)
                last = time
        position += count
    return onsets


def heard_after_seen(made: Made) -> object:
    """Milliseconds from each flash of the output to the nearest beep, the one that differs most."""
    return _offset(made.target)


def sync_error(made: Made) -> object:
    """Milliseconds by which sound and picture of the output are further apart than those of the source, the worst."""
    before, after = _offsets(made.source), _offsets(made.target)
    usual = before[0] if before else 0.0
    return max((offset - usual for offset in after), key=abs, default=None)


def frames_lost(made: Made) -> object:
    """Frames that a decoder gives of the source and not of the output."""
    return len(frame_seconds(made.source)) - len(frame_seconds(made.target))


def time_error(made: Made) -> object:
    """Milliseconds by which the time of a frame differs from the source's, counted from the first, the worst."""
    source, target = frame_seconds(made.source), frame_seconds(made.target)
    pairs = zip(source, target, strict=True)
    return max((abs((b - target[0]) - (a - source[0])) * 1000 for a, b in pairs), default=None)


def equal_times(made: Made) -> object:
    """Frames of the output that are not later than the one before."""
    return sum(b <= a for a, b in pairwise(frame_seconds(made.target)))


def longest_step(made: Made) -> object:
    """Milliseconds from a frame of the output to the next, at most."""
    return max(b - a for a, b in pairwise(frame_seconds(made.target))) * 1000


def told_rate(made: Made) -> object:
    """Frames per second in the record of the output."""
    return made.output.frameRate if made.output else None


def last_percent(made: Made) -> object:
    """The last percentage that was reported."""
    return next((progress.percent for progress in reversed(made.progress) if progress.percent is not None), None)


def _offsets(path: Path) -> list[float]:
    heard = beeps(path)
    return [min((beep - flash for beep in heard), key=abs) * 1000 for flash in flashes(path)] if heard else []


def _offset(path: Path) -> float | None:
    return max(_offsets(path), key=abs, default=None)
