"""Sources of which a poster and sprites are wanted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.media.case import BUNNY, Case, about, ffmpeg
from tests.media.measures import failure, frames, warnings
from tests.media.measures_subtitles import (
    poster_colours,
    poster_is_black,
    poster_size,
    sheets,
    thumbnail_times,
)

_ENCODE = {"codec": "h264", "scale": "360p", "bitrate": "1M", "speed": "fast"}
_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", 10)
_RAMP = "geq=lum='16+{step}*floor(T+0.001)':cb=128:cr=128"
"""Pictures whose luma tells the second that they are shown in."""


def profile(every: float, *, poster: bool = False, **encode: object) -> Mapping[str, Any]:
    """A small encode with a sprite that has a picture every so many seconds."""
    images = {"sprite": {"everySeconds": every, "width": 64}, **({"poster": True} if poster else {})}
    return {"ffmpeg": {**_ENCODE, **encode}, "images": images}


def _seconds(*options: object, name: str = "x.mp4", duration: float = 10, rate: float = 25) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        ramp = f"color=s=64x36:r={rate}:d={duration},format=yuv420p,{_RAMP.format(step=20)}"
        return ffmpeg(folder, name, "-f", "lavfi", "-i", ramp, *_X264, *options)

    return write


def _black_start(folder: Path) -> Path:
    parts = (
        "color=black:s=640x360:r=25:d=3,format=yuv420p[a];testsrc2=s=640x360:r=25:d=1,format=yuv420p[b];[a][b]concat"
    )
    return ffmpeg(folder, "x.mp4", "-f", "lavfi", "-i", parts, *_X264)


def _bunny(folder: Path) -> Path:
    return BUNNY


def _patches(folder: Path) -> Path:
    """Red, green, blue and grey quarters in BT.709."""
    quarters = ";".join(f"color={name}:s=320x180:r=25:d=1[{name}]" for name in ("red", "lime", "blue", "gray"))
    graph = f"{quarters};[red][lime][blue][gray]xstack=grid=2x2,format=gbrp,scale=out_color_matrix=bt709,format=yuv420p"
    tags = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
    return ffmpeg(folder, "x.mp4", "-f", "lavfi", "-i", graph, *_X264, *tags)


def _hdr(folder: Path) -> Path:
    """HDR10 whose pictures are of reference white, 203 nit."""
    white = "color=s=320x180:r=25:d=1,format=yuv420p10le,geq=lum='64+876*0.5806':cb=512:cr=512"
    x265 = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:log-level=error"
    tags = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-color_range", "tv")
    encode = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", x265, *tags)
    return ffmpeg(folder, "x.mp4", "-f", "lavfi", "-i", white, *encode)


def _portrait(folder: Path) -> Path:
    return ffmpeg(folder, "x.mp4", "-f", "lavfi", "-i", "testsrc2=s=360x640:r=25:d=2", *_X264)


_LATE = ("-vf", "select='lt(t,2)+gte(t,7)'", "-fps_mode", "passthrough")

CASES = (
    Case(
        "A film whose luma tells the second, with a picture for each second",
        _seconds(),
        profile(1),
        {failure: "", frames: 250, thumbnail_times: list(range(10)), sheets: "256x108", warnings: []},
    ),
    Case(
        "A film with a gap of 5 s between two frames",
        _seconds(*_LATE),
        profile(1),
        {failure: "", thumbnail_times: [0, 1, 1, 1, 1, 1, 1, 7, 8, 9]},
    ),
    Case(
        "A film of one frame in 4 s",
        _seconds(rate=0.25, duration=12),
        profile(1),
        {failure: "", frames: 3, thumbnail_times: [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8]},
    ),
    Case("A film of 1.5 s", _seconds(duration=1.5), profile(5), {failure: "", thumbnail_times: [0], sheets: "64x36"}),
    Case(
        "A film that begins black",
        _black_start,
        profile(1, poster=True),
        {failure: "", poster_size: "640x360", poster_is_black: False},
    ),
    Case(
        "A real film, with 3 pictures",
        _bunny,
        profile(2, poster=True),
        {failure: "", frames: 132, poster_size: "640x360", poster_is_black: False, sheets: "128x72", warnings: []},
    ),
    Case(
        "Patches of pure colours in BT.709",
        _patches,
        profile(1, poster=True),
        {
            failure: "",
            poster_colours: [
                [about(v, 6) for v in rgb] for rgb in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128))
            ],
        },
    ),
    Case(
        "A part of a film, with a picture every 2 s",
        _seconds(name="x.mkv"),
        profile(2, start=3.0, end=9.0),
        {failure: "", frames: 150, thumbnail_times: [3, 5, 7], warnings: []},
    ),
    Case(
        "A portrait film", _portrait, profile(1, poster=True), {failure: "", poster_size: "360x640", sheets: "128x114"}
    ),
    Case(
        "HDR10 that the output keeps: its poster is SDR, with reference white where SDR has it",
        _hdr,
        profile(1, poster=True, codec="h265"),
        {failure: "", poster_colours: [[about(228, 6)] * 3] * 4, warnings: []},
    ),
)
