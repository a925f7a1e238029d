"""Whatever clocks, tracks and sizes a container has, every frame comes out at its time, or a code says why."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.media.case import BUNNY, FFPROBE, ffmpeg, make
from tests.sizes import sized

FRAMES = 30
CODECS = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"),
    "mpeg4": ("-c:v", "mpeg4", "-bf", "0"),
    "mjpeg": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "mpeg2": ("-c:v", "mpeg2video", "-bf", "0"),
}
CONTAINERS = {"mp4": tuple(CODECS), "mov": tuple(CODECS), "mkv": tuple(CODECS), "ts": ("h264", "mpeg2")}
PROFILE = {"ffmpeg": {"codec": "h264", "scale": "160:90", "bitrate": "1M", "speed": "fast"}}


class Odd(NamedTuple):
    """A container: its clock in ticks of 1/90000 s, and its tracks."""

    container: str
    codec: str
    start: int
    step: int
    jitter: int
    gap_at: int
    gap: int
    sound: int
    sound_delay: float
    size: str
    second_size: str | None


@st.composite
def odd(draw: st.DrawFn) -> Odd:
    container = draw(st.sampled_from(sorted(CONTAINERS)))
    step = draw(st.sampled_from([375, 1500, 2700, 3003, 3600, 3750, 9000, 90000]))
    return Odd(
        container=container,
        codec=draw(st.sampled_from(CONTAINERS[container])),
        start=draw(st.sampled_from([0, 1, 900, 126_000, 90_000 * 3600])),
        step=step,
        jitter=draw(st.sampled_from([0, 90, step // 6])),
        gap_at=draw(st.integers(0, FRAMES - 1)),
        gap=draw(st.sampled_from([0, 0, 90 * 37, 90_000 * 4])),
        sound=draw(st.integers(0, 2)),
        sound_delay=draw(st.sampled_from([-0.5, 0.0, 0.25, 1.5])),
        size=draw(st.sampled_from(["160x90", "90x160", "162x122", "64x64", "320x50"])),
        second_size=draw(st.sampled_from([None, None, "80x90", "176x144"])),
    )


def build(folder: Path, source: Odd) -> Path:
    """Write the container: real frames by real encoders, with their times set anew."""
    parts = (
        [source.size] if source.second_size is None or source.container != "ts" else [source.size, source.second_size]
    )
    shares = [FRAMES] if len(parts) == 1 else [FRAMES // 2, FRAMES - FRAMES // 2]
    done, written = 0, []
    for number, (size, frames) in enumerate(zip(parts, shares, strict=True)):
        scale = f"scale={size.replace('x', ':')}"
        picture = ffmpeg(
            folder, f"p{number}.nut", "-i", BUNNY, "-an", "-vf", scale, "-frames:v", frames, *CODECS[source.codec]
        )
        n = f"(N+{done})"
        ticks = (
            f"{n}*{source.step}+{source.jitter}*mod({n}*7\\,5)+{source.gap}*gte({n}\\,{source.gap_at})+{source.start}"
        )
        start = ("-muxdelay", 0) if source.container == "ts" else ("-avoid_negative_ts", "disabled")
        timed = ffmpeg(
            folder, f"t{number}.{'ts' if source.container == 'ts' else 'mkv'}", "-i", picture, "-c", "copy",
            "-bsf:v", f"setts=ts=({ticks})/90000/TB", "-copyts", *start,
        )  # fmt: skip
        written.append(timed)
        done += frames
    whole = written[0]
    if len(written) > 1:
        whole = folder / "joined.ts"
        whole.write_bytes(b"".join(part.read_bytes() for part in written))
    delay = source.sound_delay + source.start / 90_000
    sounds = [
        ("-itsoffset", f"{delay:.6f}", "-f", "lavfi", "-i", f"sine=f={300 + 200 * n}:d=2") for n in range(source.sound)
    ]
    maps = [("-map", f"{n + 1}:a") for n in range(source.sound)]
    return ffmpeg(
        folder, f"source.{source.container}", "-copyts", "-i", whole, *(word for each in sounds for word in each),
        "-map", "0:v", *(word for each in maps for word in each), "-c:v", "copy", "-c:a", "aac",
        *(("-video_track_timescale", 90_000) if source.container in ("mp4", "mov") else ()),
    )  # fmt: skip


def shown(path: Path) -> list[float]:
    """Seconds at which a decoder shows the frames of the film, from the first."""
    entries = ["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time", "-of", "json"]
    report = subprocess.run([FFPROBE, "-v", "error", *entries, str(path)], capture_output=True, check=True).stdout
    times = sorted(float(frame["best_effort_timestamp_time"]) for frame in json.loads(report)["frames"])
    return [time - times[0] for time in times]


@settings(max_examples=sized(12, 150, 1500), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(odd())
def test_every_frame_of_an_odd_container_comes_out_at_its_time(source: Odd) -> None:
    note(str(source._asdict()))
    with TemporaryDirectory() as path:
        folder = Path(path)
        (folder / "job").mkdir()
        (folder / "source").mkdir()
        try:
            original = build(folder / "source", source)
        except subprocess.CalledProcessError as error:
            pytest.fail(f"ffmpeg could not write it: {error.stderr}")
        expected = shown(original)
        made = make(folder / "job", original, PROFILE)
        assert not made.failure, made.failure
        actual = shown(made.target)
        assert len(actual) == len(expected)
        assert all(a < b for a, b in pairwise(actual)), "no two frames at one time"
        late = max(abs(a - b) for a, b in zip(actual, expected, strict=True))
        assert late <= 0.0011, f"a frame is {late * 1000:.2f} ms off"
