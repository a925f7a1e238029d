"""Sources whose clocks, rates or lengths are odd."""

from collections.abc import Callable
from pathlib import Path

from tests.media.case import BUNNY, Case, Measure, about, ffmpeg
from tests.media.measures import failure, frames, seconds, sound_seconds, warnings
from tests.media.measures_times import (
    equal_times,
    frames_lost,
    heard_after_seen,
    last_percent,
    longest_step,
    sync_error,
    time_error,
    told_rate,
)

ENCODE = {"codec": "h264", "scale": "360p", "bitrate": "1M", "speed": "fast"}
SMALL = {"ffmpeg": ENCODE}
H265 = {"ffmpeg": {**ENCODE, "codec": "h265"}}
_WHOLE: dict[Measure, object] = {failure: "", warnings: []}


def _flashes(folder: Path, name: str, *options: object, seconds: int = 6) -> Path:
    """A film of 25 frames a second with a flash of one frame and a beep at each odd second."""
    light = "if(eq(mod(N\\,50)\\,25)\\,235\\,16)"
    beep = "aevalsrc='if(between(mod(t\\,2)\\,1\\,1.1)\\,0.8*sin(2*PI*1000*t)\\,0)'"
    picture = f"color=black:s=320x180:r=25:d={seconds},geq=lum='{light}':cb=128:cr=128"
    return ffmpeg(
        folder, name, "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"{beep}:s=48000:d={seconds}",
        *(options or ("-c:v", "libx264", "-preset", "ultrafast", "-g", 25, "-bf", 2, "-c:a", "aac", "-b:a", "128k")),
    )  # fmt: skip


def _copied(name: str, *options: object, before: tuple[object, ...] = ()) -> Callable[[Path], Path]:
    """The flashes, copied into another container by these options of ffmpeg."""

    def make(folder: Path) -> Path:
        film = _flashes(folder, "film.mp4")
        return ffmpeg(folder, name, *before, "-i", film, "-c", "copy", *options)

    return make


def _joined(*offsets: float) -> Callable[[Path], Path]:
    """Transport streams with these offsets of their clocks, one after the other."""

    def make(folder: Path) -> Path:
        film = _flashes(folder, "film.mp4")
        parts = [
            ffmpeg(folder, f"{n}.ts", "-i", film, "-c", "copy", "-output_ts_offset", offset)
            for n, offset in enumerate(offsets)
        ]
        (folder / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
        return folder / "joined.ts"

    return make


def _sound_outlasts(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        part = ffmpeg(
            folder, "x.mkv" if name.endswith("webm") else name,
            "-t", 2, "-i", BUNNY, "-i", BUNNY, "-map", "0:v", "-map", "1:a", "-c", "copy",
        )  # fmt: skip
        return part.rename(folder / name)

    return make


def _varied(ticks: str) -> Callable[[Path], Path]:
    """Frames at these ticks of 1/90000 s, an expression of N; the stream itself says 25 a second."""

    def make(folder: Path) -> Path:
        return ffmpeg(
            folder, "vfr.mp4", "-i", BUNNY, "-an", "-c", "copy", "-bsf:v", f"setts=ts=({ticks})/90000/TB",
            "-video_track_timescale", 90000,
        )  # fmt: skip

    return make


def _recorded(folder: Path) -> Path:
    """A browser's recording: neither a length nor a rate, times in jittering milliseconds."""
    film = ffmpeg(
        folder, "v0.webm", "-i", BUNNY, "-vf", "scale=320:180", "-c:v", "libvpx", "-b:v", "500k",
        "-deadline", "realtime", "-cpu-used", 8, "-an",
    )  # fmt: skip
    timed = ffmpeg(folder, "v1.webm", "-i", film, "-c", "copy", "-bsf:v", "setts=ts=floor(N*33.3)+mod(N*7\\,13)")
    data = bytearray(timed.read_bytes())
    head = data.index(b"\x1f\x43\xb6\x75")  # the first Cluster: pictures may have any bytes
    for name in (b"\x23\xe3\x83", b"\x44\x89"):  # DefaultDuration and Duration become Void elements
        while (at := data.find(name, 0, head)) >= 0:
            size = len(name) + 1 + (data[at + len(name)] & 0x7F) - 2
            data[at : at + size + 2] = bytes([0xEC, 0x80 | size]) + bytes(size)
    (folder / "recorded.webm").write_bytes(data)
    return folder / "recorded.webm"


def _late_picture(folder: Path) -> Path:
    """A transport stream that has only sound for 7 seconds."""
    return ffmpeg(
        folder, "late.ts", "-stream_loop", 2, "-i", BUNNY, "-itsoffset", 7, "-i", BUNNY, "-map", "0:a", "-map", "1:v",
        "-c", "copy",
    )  # fmt: skip


def _avi(codec: str) -> Callable[[Path], Path]:
    """An AVI written without a rate: 600 a second, with empty chunks between the frames."""

    def make(folder: Path) -> Path:
        film = ffmpeg(folder, "film.mp4", "-t", 2, "-i", BUNNY, "-c:v", codec, "-c:a", "copy")
        return ffmpeg(folder, "x.avi", "-i", film, "-c", "copy")

    return make


def _one_moment(folder: Path) -> Path:
    """Every fifth frame at the time of the one before."""
    film = ffmpeg(folder, "film.mkv", "-i", BUNNY, "-an", "-c:v", "mpeg4", "-bf", 0, "-t", 3)
    times = "setts=ts=(N-eq(mod(N\\,5)\\,2))*40"
    return ffmpeg(folder, "twice.mkv", "-i", film, "-c", "copy", "-bsf:v", times)


def _long_last(folder: Path) -> Path:
    """Pictures whose last lasts 5 seconds."""
    film = ffmpeg(folder, "film.mp4", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=3", "-c:v", "mpeg4", "-bf", 0)
    times = "setts=ts=N*512:duration=if(eq(NEXT_PTS\\,NOPTS)\\,5*12800\\,512)"
    return ffmpeg(folder, "last.mp4", "-i", film, "-c", "copy", "-bsf:v", times)


def _part(**fields: object) -> dict[str, dict[str, object]]:
    return {"ffmpeg": {**ENCODE, **fields}}


_IN_SYNC: dict[Measure, object] = {**_WHOLE, frames_lost: 0, sync_error: about(0, 10)}
_JOINED: dict[Measure, object] = {**_WHOLE, equal_times: 0, heard_after_seen: about(0, 10)}
CASES = (
    Case(
        "WebM without track lengths, whose sound lasts longer than the picture",
        _sound_outlasts("x.webm"),
        SMALL,
        {**_WHOLE, frames: 50, seconds: about(2.0, 0.001), sound_seconds: about(5.31, 0.05)},
    ),
    Case(
        "FLV whose sound lasts longer than the picture",
        _sound_outlasts("x.flv"),
        H265,
        {**_WHOLE, frames: 50, seconds: about(2.0, 0.001), sound_seconds: about(5.31, 0.05)},
    ),
    Case("Transport stream whose clock jumps by 10 h", _joined(0, 36000), SMALL, {**_JOINED, frames: 300}),
    Case("Transport stream whose clock jumps by 25 h", _joined(0, 90000), SMALL, {**_JOINED, frames: 300}),
    Case("Transport stream whose clock begins anew", _joined(0, 0), SMALL, {**_JOINED, frames: 300}),
    Case("Transport stream whose clock jumps back", _joined(36000, 0), SMALL, {**_JOINED, frames: 300}),
    Case("Transport stream whose clock passes 2^33", _joined(95440), SMALL, {**_JOINED, frames: 150}),
    Case(
        "30 frames a second with jitter, whose stream says 25",
        _varied("N*3000+90*mod(N*5\\,17)"),
        SMALL,
        {**_WHOLE, frames: 132, time_error: about(0, 1), equal_times: 0},
    ),
    Case(
        "30 frames a second with a part of 240",
        _varied("if(lt(N\\,50)\\,N*3000\\,150000+(N-50)*375)"),
        H265,
        {**_WHOLE, frames: 132, time_error: about(0, 1), equal_times: 0},
    ),
    Case(
        "A browser's recording, of 1000 frames a second by its container",
        _recorded,
        SMALL,
        {**_WHOLE, frames: 132, time_error: about(0, 1), told_rate: about(30, 1)},
    ),
    Case("Transport stream whose picture begins after 7 s", _late_picture, SMALL, {**_WHOLE, frames: 132}),
    Case(
        "AVI with 600 frames a second and empty chunks, H.264",
        _avi("copy"),
        SMALL,
        {**_WHOLE, frames: 50, seconds: about(2.0, 0.001), told_rate: about(25, 0.1), last_percent: about(99.9, 0.1)},
    ),
    Case(
        "AVI with 600 frames a second and empty chunks, MJPEG",
        _avi("mjpeg"),
        SMALL,
        {**_WHOLE, frames: 50, seconds: about(2.0, 0.05), told_rate: about(25, 0.6)},
    ),
    Case("Matroska with two frames at one time", _one_moment, SMALL, {**_WHOLE, frames: 75, equal_times: 0}),
    Case("MP4 whose last picture stays for 5 s", _long_last, SMALL, {**_WHOLE, frames: 75, seconds: about(7.96, 0.01)}),
    Case(
        "Matroska whose sound lacks 1.3 s in the middle",
        _copied("gap.mkv", "-bsf:a", "noise=drop=between(pts\\,1.4*48000\\,2.7*48000)"),
        SMALL,
        _IN_SYNC,
    ),
    Case(
        "Matroska that lacks every 20th packet of sound",
        _copied("drops.mkv", "-bsf:a", "noise=drop=eq(mod(n\\,20)\\,17)"),
        SMALL,
        _IN_SYNC,
    ),
    Case(
        "MP4 whose picture begins 0.7 s after the sound",
        lambda folder: ffmpeg(
            folder,
            "late.mp4",
            "-itsoffset",
            0.7,
            "-i",
            _flashes(folder, "f.mp4"),
            "-i",
            folder / "f.mp4",
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-c",
            "copy",
        ),
        SMALL,
        {**_WHOLE, frames: 150, heard_after_seen: about(-700, 10)},
    ),
    Case("MP4 that an edit list cuts", _copied("cut.mp4", before=("-ss", 1.5)), SMALL, _IN_SYNC),
    Case("FLV with its clock of milliseconds", _copied("ms.flv"), SMALL, {**_IN_SYNC, frames: 150}),
    Case(
        "A part of an MP4, of 25 frames a second",
        _copied("film.mov"),
        _part(start=1.48, end=4.2),
        {**_WHOLE, frames: 68, sync_error: about(0, 10), sound_seconds: about(2.72, 0.03)},
    ),
    Case(
        "A part of a transport stream whose clock starts at 1.4 s, beyond the seek's guard",
        lambda folder: ffmpeg(folder, "x.ts", "-i", _flashes(folder, "f.mp4", seconds=30), "-c", "copy"),
        _part(start=24.98, end=27.2),
        {**_WHOLE, frames: about(55, 1), sync_error: about(0, 10)},
    ),
    Case(
        "25 frames a second, wanted at 30000/1001",
        _copied("copy.mp4"),
        _part(frameRate="30000/1001"),
        {**_WHOLE, frames: about(180, 1), longest_step: about(1001 / 30, 0.02), heard_after_seen: about(0, 18)},
    ),
    Case(
        "30 frames a second with jitter, wanted at 24",
        _varied("N*3000+90*mod(N*5\\,17)"),
        _part(frameRate="24"),
        {**_WHOLE, frames: about(106, 1), longest_step: about(1000 / 24, 0.02)},
    ),
    Case("A start after the end", _copied("copy.mp4"), _part(start=60), {failure: "start-beyond-source"}),
)
