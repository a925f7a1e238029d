"""Parts of sources that cannot be entered anywhere, and parts that lie on damage."""

from collections.abc import Callable
from pathlib import Path

from tests.media.case import Case, Measure, about
from tests.media.measures import failure, frames, seconds, sound_seconds, warnings
from tests.media.measures_times import heard_after_seen
from tests.media.sources.times import _flashes, _part

_WHOLE: dict[Measure, object] = {failure: "", warnings: []}


def _sparse(name: str, seconds: int, *codec: object, group: int = 1000) -> Callable[[Path], Path]:
    """The flashes with a key frame only every `group` frames."""
    video = codec or ("-c:v", "libx264", "-preset", "ultrafast", "-sc_threshold", 0)

    def make(folder: Path) -> Path:
        return _flashes(
            folder, name, *video, "-g", group, "-keyint_min", group, "-bf", 2, "-b:a", "128k", seconds=seconds
        )

    return make


def _twice(folder: Path) -> Path:
    """A transport stream of 24 s, two times over: its clock begins anew."""
    part = _sparse("x.ts", 24, group=50)(folder)
    part.write_bytes(2 * part.read_bytes())
    return part


CASES = (
    Case(
        "A part of a transport stream, whose one key frame is the first, 26 s before",
        _sparse("one.ts", 30),
        _part(start=26, end=28),
        {**_WHOLE, frames: 50, seconds: about(2, 0.001), heard_after_seen: about(0, 10)},
    ),
    Case(
        "A part of a transport stream with a key frame every 30 s",
        _sparse("sparse.ts", 64, group=750),
        _part(start=54, end=60),
        {**_WHOLE, frames: 150, heard_after_seen: about(0, 10)},
    ),
    Case(
        "A part of an MPEG program stream with a key frame every 24 s",
        _sparse("sparse.mpg", 50, "-c:v", "mpeg2video", "-c:a", "mp2", "-sc_threshold", 1000000000, group=600),
        _part(start=46, end=48),
        {failure: "", frames: 50, heard_after_seen: about(0, 10)},
    ),
    Case(
        "A part of a Matroska file with a key frame every 30 s",
        _sparse("sparse.mkv", 64, group=750),
        _part(start=54, end=56),
        {**_WHOLE, frames: 50, heard_after_seen: about(0, 10)},
    ),
    Case(
        "A part of a transport stream behind the place where its clock begins anew",
        _twice,
        _part(start=34, end=36),
        {**_WHOLE, frames: 50, seconds: about(2, 0.001), heard_after_seen: about(0, 10)},
    ),
    Case(
        "A part of a transport stream across the place where its clock begins anew",
        _twice,
        _part(start=22, end=26),
        {**_WHOLE, frames: about(100, 1), sound_seconds: about(4, 0.05)},
    ),
)
