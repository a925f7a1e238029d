"""The loudness of a packaged sound, measured and written into its file as a box (ISO/IEC 14496-12, 12.2.7).

Shaka Packager writes none. Apple's players take it to play films of different loudness alike.
"""

import re
import shutil
import struct
from pathlib import Path

from worker.errors import PermanentError
from worker.sandbox.runner import Runner, last_lines

_LOUDNESS = re.compile(r"^ +I: +(-?[\d.]+) LUFS", re.MULTILINE)
_PEAK = re.compile(r"^ +Peak: +(-?[\d.]+) dBFS", re.MULTILINE)
_SOFTEST, _STEPS = -57.75, 4
"""LUFS of the code 0, and codes for each LU above."""
_LOUDEST_PEAK, _PEAK_STEPS, _MOST_PEAK = 20, 32, 2047
"""dBTP of the code 0, codes for each dB below, and the largest code. The code 0 itself means an unknown peak."""
_PROGRAM = 1
_MEASURED = 2 << 4 | 3
"""By ITU-R BS.1770, measured and accurate."""


def write_loudness(path: Path, source: Path, ffmpeg: str, runner: Runner) -> tuple[float, float | None] | None:
    """Measure `source`, the clear file of a sound, and write its loudness into `path`, the packaged one.

    Returns it in LUFS, with the true peak in dBTP. Silence has no loudness, and gets no box. Both lie in the job's
    folder. Raises PermanentError `packaging-failed`; else as `Runner.run`.
    """
    log = source.with_name(f"{path.name}.loudness")
    measured = ["-map", "0:a", "-af", "ebur128=framelog=quiet:peak=true", "-f", "null", "-"]
    command = [ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-f", "mp4", "-i", f"file:{source}", *measured]
    status = runner.run(command, source.parent, log, seconds=runner.limits.timeout_seconds(None))
    lines = last_lines(log, source.parent)
    log.unlink()
    loudness, peak = (pattern.findall("\n".join(lines)) for pattern in (_LOUDNESS, _PEAK))
    if status or not loudness:
        raise PermanentError("packaging-failed", "ffmpeg cannot measure the loudness of a packaged sound.", lines)
    if float(loudness[-1]) < _SOFTEST:
        return None
    measured_levels = float(loudness[-1]), float(peak[-1]) if peak else None
    _insert(path, loudness_box(*measured_levels))
    return measured_levels


def loudness_box(loudness: float, peak: float | None) -> bytes:
    """A box `ludt` in a box `udta`, of a loudness in LUFS and a true peak in dBTP; None for unknown."""
    level = 0 if peak is None else min(_MOST_PEAK, max(1, round((_LOUDEST_PEAK - peak) * _PEAK_STEPS)))
    value = min(255, max(0, round((loudness - _SOFTEST) * _STEPS)))
    levels = level.to_bytes(3, "big")  # the sample peak, in the upper 12 bits, is unknown
    track = bytes(4 + 2) + levels + bytes((_MEASURED, 1, _PROGRAM, value, _MEASURED))
    return _box(b"udta", _box(b"ludt", _box(b"tlou", track)))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _insert(path: Path, box: bytes) -> None:
    """Put a box at the end of the track's box. Nothing in the file refers to a place by its distance from the start."""
    rewritten = path.with_name(f"{path.name}.new")
    with path.open("rb") as source:
        head = source.read(8)
        (first,) = struct.unpack(">I4s", head)[:1]
        head += source.read(first)
        size, kind = struct.unpack_from(">I4s", head, first)
        if kind != b"moov":
            raise ValueError("the file does not begin with ftyp and moov")
        moov = bytearray(head[first:] + source.read(size - 8))
        place = 8
        while moov[place + 4 : place + 8] != b"trak":
            place += struct.unpack_from(">I", moov, place)[0]
        (length,) = struct.unpack_from(">I", moov, place)
        struct.pack_into(">I", moov, place, length + len(box))
        struct.pack_into(">I", moov, 0, size + len(box))
        moov[place + length : place + length] = box
        with rewritten.open("wb") as sink:
            sink.write(head[:first] + moov)
            shutil.copyfileobj(source, sink)
    rewritten.replace(path)
