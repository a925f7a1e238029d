"""Sources whose rates or cuts mislead encoders, and every way to set an encoder."""

from functools import partial
from pathlib import Path
from typing import Any

from tests.media.case import BUNNY, Between, Case, about, ffmpeg
from tests.media.measures import codec, failure, frames, warnings
from tests.media.measures_encoders import (
    bitrate,
    buffered,
    coded_as,
    index_first,
    keyframe_seconds,
    keyframe_units,
    level,
    open_groups,
    reordered,
)

_SECONDS = "0.000 1.000 2.000"
_CLOSED = {failure: "", open_groups: 0}
_SMALL = ("-an", "-c:v", "libx264", "-preset", "ultrafast", "-crf", 20)


def _encode(name: str = "h264", **fields: Any) -> dict[str, Any]:
    rated = fields if "quality" in fields else {"bitrate": "1M", **fields}
    return {"ffmpeg": {"codec": name, "scale": "360p", "speed": "fast", **rated}}


def _bunny(folder: Path, extension: str = "mp4") -> Path:
    return ffmpeg(folder, f"x.{extension}", "-t", 3, "-i", BUNNY, "-vf", "scale=640:360", *_SMALL)


def _ntsc(folder: Path) -> Path:
    return ffmpeg(folder, "x.mp4", "-r", "30000/1001", "-i", BUNNY, "-vf", "scale=640:360", *_SMALL)


def _uneven(folder: Path) -> Path:
    """Jitter, and 1.2 s in which nothing changes."""
    pace = "settb=1/90000,setpts='3600*N+300*mod(3*N\\,7)+if(gte(N\\,60)\\,108000)'"
    return ffmpeg(
        folder,
        "x.mkv",
        "-i",
        BUNNY,
        "-vf",
        f"scale=640:360,{pace}",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1/90000",
        *_SMALL,
    )


def _cuts(folder: Path) -> Path:
    """A cut every 0.4 s."""
    turns = enumerate(("hflip", "vflip", "negate", "null") * 2)
    scenes = [f"-f lavfi -i testsrc2=s=640x360:r=25:d=0.4,hue=h={70 * n},{turn}" for n, turn in turns]
    inputs = [word for scene in scenes for word in scene.split()]
    return ffmpeg(folder, "x.mp4", *inputs, "-lavfi", f"concat=n={len(scenes)}", *_SMALL)


def _easy_then_hard(folder: Path) -> Path:
    noise = "testsrc2=s=640x360:r=25:d=3,noise=alls=40:allf=t"
    return ffmpeg(
        folder, "x.mp4", "-f", "lavfi", "-i", "color=gray:s=640x360:r=25:d=2", "-f", "lavfi", "-i", noise,
        "-lavfi", "concat", *_SMALL,
    )  # fmt: skip


def _browser(folder: Path) -> Path:
    """A recording of a browser: uneven times in milliseconds, and neither a rate nor a length."""
    vp8 = ("-an", "-vf", "scale=320:180", "-c:v", "libvpx", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", 8)
    whole = ffmpeg(folder, "a.webm", "-t", 2, "-i", BUNNY, *vp8)
    times = "setts=ts=floor(N*33.3)+mod(N*7\\,13)"
    data = bytearray(ffmpeg(folder, "b.webm", "-i", whole, "-c", "copy", "-bsf:v", times).read_bytes())
    for element in (b"\x23\xe3\x83", b"\x44\x89"):  # DefaultDuration, Duration
        if (at := data.find(element)) >= 0:
            length = len(element) + 1 + (data[at + len(element)] & 0x7F)
            data[at : at + length] = b"\xec" + bytes([0x80 | length - 2]) + bytes(length - 2)
    (folder / "x.webm").write_bytes(data)
    return folder / "x.webm"


def _avi_600(folder: Path) -> Path:
    return ffmpeg(folder, "x.avi", "-t", 2, "-i", BUNNY, "-i", BUNNY, "-map", "0:v", "-map", "1:a", "-c", "copy")


def _slides(folder: Path) -> Path:
    """A picture every two seconds."""
    return ffmpeg(folder, "x.mp4", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=1/2:d=12", *_SMALL)


CASES = (
    Case(
        "25 frames per second, a keyframe every second, H.264",
        _bunny,
        _encode(keyframeSeconds=1),
        {**_CLOSED, keyframe_seconds: _SECONDS, keyframe_units: "5", level: Between(30, 31),
         coded_as: "High yuv420p avc1", index_first: True, bitrate: about(1e6, 2e5),
         buffered(1_000_000): Between(0, 2)},
    ),
    Case(
        "25 frames per second, a keyframe every second, H.265",
        _bunny,
        _encode("h265", keyframeSeconds=1),
        {**_CLOSED, keyframe_seconds: _SECONDS, keyframe_units: "20", level: 63,
         coded_as: "Main yuv420p hvc1", index_first: True, bitrate: about(1e6, 2e5),
         buffered(1_000_000): Between(0, 2)},
    ),
    Case(
        "25 frames per second, a keyframe every second, AV1",
        _bunny,
        _encode("av1", keyframeSeconds=1),
        {**_CLOSED, keyframe_seconds: _SECONDS, coded_as: "Main yuv420p av01",
         index_first: True, bitrate: about(1e6, 4e5), codec: "av1"},
    ),
    Case(
        "30000/1001 frames per second: keyframes come at the first picture at or after each 2 s",
        _ntsc,
        _encode(),
        {**_CLOSED, frames: 132, keyframe_seconds: "0.000 2.002 4.004", keyframe_units: "5"},
    ),
    *(
        Case(
            f"uneven times and a gap: keyframes come at the first picture at or after each second, {name}",
            _uneven,
            _encode(name, keyframeSeconds=1),
            {**_CLOSED, frames: 132, keyframe_seconds: "0.000 1.017 2.010 3.617 4.000 5.017 6.010"},
        )
        for name in ("h264", "h265", "av1")
    ),
    *(
        Case(
            f"a cut every 0.4 s adds no keyframe, {name}",
            _cuts,
            _encode(name),
            {**_CLOSED, frames: 80, keyframe_seconds: "0.000 2.000"},
        )
        for name in ("h264", "h265", "av1")
    ),
    *(
        Case(
            f"a still picture and then noise stay below the cap of their quality, {name}",
            _easy_then_hard,
            _encode(name, quality={"crf": 20}, maxBitrate="1M"),
            {failure: "", bitrate: Between(0, 1.3e6), buffered(1_000_000): Between(0, most)},
        )
        for name, most in (("h264", 2.0), ("h265", 2.2), ("av1", 3.0))
    ),
    Case(
        "10 bits, H.265 of constant quality",
        _bunny,
        _encode("h265", quality={"crf": 26.5}, bitDepth=10),
        {**_CLOSED, coded_as: "Main 10 yuv420p10le hvc1", keyframe_units: "20"},
    ),
    Case(
        "10 bits, AV1 of constant quality",
        _bunny,
        _encode("av1", quality={"crf": 38}, bitDepth=10),
        {**_CLOSED, coded_as: "Main yuv420p10le av01", frames: 75},
    ),
    *(
        Case(
            f"low latency holds no picture back and needs a buffer of few pictures, {name}",
            _bunny,
            _encode(name, profile="latency"),
            {**_CLOSED, reordered: 0, buffered(1_000_000): Between(0, most), frames: 75},
        )
        for name, most in (("h264", 0.06), ("h265", 0.08), ("av1", 0.3))
    ),
    Case(
        "WebM of a browser that says 1000 frames per second, H.264",
        _browser,
        _encode(),
        {failure: "", frames: 50, level: Between(10, 21), bitrate: about(1e6, 3e5)},
    ),
    Case(
        "WebM of a browser that says 1000 frames per second, H.265",
        _browser,
        _encode("h265"),
        {failure: "", frames: 50, level: Between(30, 63), bitrate: about(1e6, 3e5)},
    ),
    Case(
        "WebM of a browser that says 1000 frames per second, AV1",
        _browser,
        _encode("av1"),
        {failure: "", frames: 50, bitrate: about(1e6, 4e5)},
    ),
    Case(
        "AVI of 25 frames per second that says 600, H.264",
        _avi_600,
        _encode(),
        {failure: "", frames: 50, level: Between(10, 31), warnings: []},
    ),
    Case(
        "a picture every two seconds, each a keyframe",
        _slides,
        _encode(quality={"crf": 30}),
        {**_CLOSED, frames: 6, keyframe_seconds: "0.000 2.000 4.000 6.000 8.000 10.000"},
    ),
    Case("AV1 of a transport stream goes to MP4", partial(_bunny, extension="ts"), _encode("av1"),
         {failure: "", frames: 75, coded_as: "Main yuv420p av01"}),
    Case("AV1 of a QuickTime file goes to MP4", partial(_bunny, extension="mov"), _encode("av1"),
         {failure: "", frames: 75, coded_as: "Main yuv420p av01"}),
    Case("H.265 of a QuickTime file", partial(_bunny, extension="mov"), _encode("h265"),
         {failure: "", frames: 75, coded_as: "Main yuv420p hvc1", index_first: True}),
    Case("H.265 of a transport stream", partial(_bunny, extension="ts"), _encode("h265"),
         {failure: "", frames: 75, keyframe_units: "20"}),
)  # fmt: skip
