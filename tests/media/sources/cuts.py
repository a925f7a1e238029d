"""Parts of sources that cannot be entered anywhere, and parts that lie on damage."""

from collections.abc import Callable
from pathlib import Path

from tests.media.case import Case, Measure, about, ffmpeg
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


def _holed(name: str, begin: float, end: float) -> Callable[[Path], Path]:
    """A film of 10 s without what lies between these shares of its bytes."""

    def make(folder: Path) -> Path:
        film = ffmpeg(
            folder, name, "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=10", "-c:v", "libx264", "-preset",
            "ultrafast", "-g", 25,
        )  # fmt: skip
        data = film.read_bytes()
        film.write_bytes(data[: int(len(data) * begin)] + data[int(len(data) * end) :])
        return film

    return make


def _coarse(name: str, *codecs: object) -> Callable[[Path], Path]:
    """The flashes in a container whose clock ticks once a frame."""
    return lambda folder: _flashes(folder, name, *codecs, "-bf", 0, "-q:v", 4, seconds=28)


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
    Case(
        "A part of a transport stream that lacks a fifth of its bytes",
        _holed("x.ts", 0.4, 0.6),
        _part(start=1, end=9),
        {failure: "input-corrupt"},
    ),
    Case(
        "A part of an FLV that lacks a fifth of its bytes",
        _holed("x.flv", 0.4, 0.6),
        _part(start=1, end=9),
        {failure: "input-corrupt"},
    ),
    Case(
        "A part of a Matroska file that lacks its last 40 %",
        _holed("x.mkv", 0.6, 1),
        _part(start=1, end=9),
        {failure: "input-corrupt"},
    ),
    Case(
        "A damaged Matroska file, wanted at 30 frames a second, which fills gaps",
        _holed("x.mkv", 0.4, 0.6),
        _part(frameRate="30"),
        {failure: "input-corrupt"},
    ),
    Case(
        "A whole part of a transport stream before the bytes that it lacks",
        _holed("x.ts", 0.4, 0.6),
        _part(start=1, end=3),
        {**_WHOLE, frames: 50},
    ),
    Case(
        "A whole part of a transport stream behind the bytes that it lacks",
        _holed("x.ts", 0.4, 0.6),
        _part(start=7.5, end=9),
        {failure: "", frames: about(38, 1)},
    ),
    Case(
        "WebM that ends 0.3 s before the end that is wanted",
        lambda folder: ffmpeg(
            folder, "x.webm", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", "-deadline", "realtime"
        ),
        _part(end=2.3),
        {failure: "", frames: 50, warnings: ["end-beyond-source"]},
    ),
    Case(
        "A part of an AVI, whose start lies between two frames",
        _coarse("x.avi", "-c:v", "mpeg4", "-c:a", "pcm_s16le"),
        _part(start=24.5, end=27.5),
        {**_WHOLE, frames: 75, heard_after_seen: about(0, 10)},
    ),
    Case(
        "A part of an MXF, whose start lies between two frames",
        _coarse("x.mxf", "-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", 48000),
        _part(start=24.5, end=27.5),
        {failure: "", frames: 75, heard_after_seen: about(0, 10)},
    ),
)
