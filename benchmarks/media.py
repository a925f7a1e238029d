"""The worker compared with ffmpeg by hand: the same filters and encoder settings on a minute of 1080p.

The worker also probes, looks for interlacing, keeps times and tags, runs in the sandbox and verifies. CPU time has the
limit, as the wall time of both swings with the machine's load.
"""

import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from elasticrecode.media.profiles import Profile, resolve
from local.place import TOOLS
from worker.media.encode import transcode
from worker.media.plan import make_plan
from worker.media.probe import probe_source
from worker.sandbox.runner import Runner
from worker.settings import Settings

SECONDS = 60
RUNS = 3
_PROBES = 9
_PROBE_MS = 150
_MOST = 1.03
_FFMPEG, _FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
_SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "n", "p", _FFMPEG, _FFPROBE)
_HD = "scale=1920:1080"
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-maxrate", "3M", "-bufsize", "6M", "-g", "50")
_SVT = ("-c:v", "libsvtav1", "-preset", "9", "-b:v", "2M", "-g", "50")


class Kind(NamedTuple):
    """A source and its transcode: how ffmpeg makes the source of `BUNNY`, the profile, and the encoder by hand."""

    name: str
    source: tuple[str, ...]
    profile: dict[str, Any]
    by_hand: tuple[str, ...]


def _fast(codec: str, scale: str, bitrate: str) -> dict[str, Any]:
    return {"ffmpeg": {"codec": codec, "scale": scale, "bitrate": bitrate, "speed": "fast"}}


_PQ = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=error"
_KINDS = (
    Kind("SDR", ("-vf", _HD, *_X264, "-b:v", "8M", "-maxrate", "8M"), _fast("h264", "720p", "3M"), _X264),
    Kind(
        "HDR to SDR",
        ("-vf", f"{_HD},format=yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", _PQ),
        _fast("h264", "720p", "3M"),
        _X264,
    ),
    Kind(
        "interlaced",
        ("-vf", f"fps=50,{_HD},tinterlace=interleave_top,setfield=tff", *_X264, "-flags", "+ildct+ilme"),
        _fast("h264", "720p", "3M"),
        _X264,
    ),
    Kind("AV1", ("-vf", _HD, *_X264, "-b:v", "8M", "-maxrate", "8M"), _fast("av1", "720p", "2M"), _SVT),
)


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """The medians of the ratios of CPU and of wall time, the two sides in turn; and the time of a probe."""
    for kind in _KINDS:
        with tempfile.TemporaryDirectory() as folder:
            yield from _compared(kind, Path(folder))


def _compared(kind: Kind, folder: Path) -> Iterator[tuple[str, str, str, float, float]]:
    clip, profile = _clip(kind, folder), resolve(msgspec.convert(kind.profile, Profile))
    encode = profile.ffmpeg
    assert encode
    plan = make_plan(probe_source(_FFPROBE, Runner(), clip), profile, encode, "mp4")
    plan.picture.write_files(folder)
    filters = ["-filter_complex", f"[0:v]{','.join(plan.picture.filters)}[v]", "-map", "[v]", "-map", "0:a"]
    (track,) = plan.audio.tracks
    sound = ["-af", ",".join(track.filters), "-c:a", "aac", "-b:a", "384k"]
    by_hand = [_FFMPEG, "-v", "error", "-y", "-i", str(clip), *filters, *kind.by_hand, *sound, "raw.mp4"]

    def worker() -> None:
        target = folder / "output"
        transcode(
            clip, target, "s3://b/o", "mp4", profile, encode, _SETTINGS, Runner(), lambda _: None, then_score=False
        )

    def hand() -> None:
        subprocess.run(by_hand, check=True, capture_output=True, cwd=folder)

    pairs = [(_cost(worker), _cost(hand)) for _ in range(RUNS)]
    for number, unit, limit in ((0, "CPU", _MOST), (1, "wall", float("inf"))):
        ours, theirs = (statistics.median(side[number] for side in sides) for sides in zip(*pairs, strict=True))
        ratio = statistics.median(mine[number] / other[number] for mine, other in pairs)
        label = f"worker, {SECONDS} s of 1080p, {kind.name}: {unit}"
        yield label, f"{ours:.1f} s", f"ffmpeg by hand {theirs:.1f} s", ratio, limit
    probes = [_cost(lambda: probe_source(_FFPROBE, Runner(), clip) and None)[0] * 1000 for _ in range(_PROBES)]
    probe = statistics.median(probes)
    yield f"probe, {SECONDS} s of 1080p, {kind.name}: CPU ms", f"{probe:.0f} ms", "", probe, _PROBE_MS


def _clip(kind: Kind, folder: Path) -> Path:
    """The source: a few seconds that are encoded once, and repeated."""
    once, clip = folder / "once.mp4", folder / "input"
    bunny = ["-i", str(TOOLS / "media" / "bigbuckbunny.mp4"), "-c:a", "copy"]
    _run(*bunny, *kind.source, str(once))
    _run("-stream_loop", str(SECONDS // 5), "-i", str(once), "-c", "copy", "-t", str(SECONDS), "-f", "mp4", str(clip))
    return clip


def _run(*arguments: str) -> None:
    subprocess.run([_FFMPEG, "-v", "error", "-y", *arguments], check=True)


def _cost(run: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds of this process and of the programs it ran, and wall seconds."""
    before, started = _cpu(), time.monotonic()
    run()
    return _cpu() - before, time.monotonic() - started


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
