"""Sources whose pictures are turned, cropped, squeezed or of odd sizes."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.media.case import BUNNY, Case, Measure, about, ffmpeg
from tests.media.measures import failure, frames, pixel_aspect, size, tracks, warnings
from tests.media.measures_geometry import (
    bars,
    display_aspect,
    last_bars,
    last_quarters,
    quarters,
    roundness,
)

LIVELY = ("-c:v", "libx264", "-preset", "veryfast", "-crf", 18, "-pix_fmt", "yuv420p")


def encode(scale: str, codec: str = "h264", **more: Any) -> dict[str, Any]:
    """A profile."""
    return {"ffmpeg": {"codec": codec, "scale": scale, "bitrate": "1M", "speed": "fast", **more}}


def corners(width: int, height: int, seconds: float = 1.0) -> tuple[str, ...]:
    """Input options of a picture: red top left, green top right, blue bottom left, white bottom right."""
    w, h = width // 2, height // 2
    parts = [
        f"color={name}:s={side}x{high}:r=25:d={seconds}[{name}]"
        for name, side, high in (
            ("red", w, h), ("lime", width - w, h), ("blue", w, height - h), ("white", width - w, height - h),
        )
    ]  # fmt: skip
    return ("-f", "lavfi", "-i", ";".join((*parts, "[red][lime]hstack[a];[blue][white]hstack[b];[a][b]vstack")))


def disc(width: int, height: int, aspect: float) -> tuple[str, ...]:
    """Input options of a white disc on grey that is round where pixels have this aspect."""
    inside = f"lt(hypot((X-{width}/2)*{aspect},Y-{height}/2),{min(width * aspect, height) * 0.35})"
    return ("-f", "lavfi", "-i", f"color=black:s={width}x{height}:r=25:d=1,format=gray,geq=lum='if({inside},255,60)'")


def _turned(*flags: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        plain = ffmpeg(folder, "plain.mp4", *corners(320, 180), *LIVELY)
        return ffmpeg(folder, "x.mp4", *flags, "-i", plain, "-c", "copy")

    return make


def _squeezed(name: str, width: int, height: int, aspect: str, *codec: object) -> Callable[[Path], Path]:
    above, _, below = aspect.partition("/")
    shown = disc(width, height, int(above) / int(below))
    return lambda folder: ffmpeg(folder, name, *shown, "-vf", f"setsar={aspect}", *(codec or LIVELY))


def _plain(width: int, height: int, *codec: object, name: str = "x.mp4") -> Callable[[Path], Path]:
    return lambda folder: ffmpeg(folder, name, *corners(width, height), *(codec or LIVELY))


def _with_box(data: bytes, box: bytes) -> bytes:
    """A film in MP4 with one more box in the entry of its picture. Its media data must come before `moov`."""
    changed, start, end, sizes = bytearray(data), 0, len(data), list[int]()
    for name, fields in (
        (b"moov", 0),
        (b"trak", 0),
        (b"mdia", 0),
        (b"minf", 0),
        (b"stbl", 0),
        (b"stsd", 8),
        (b"avc1", 78),
    ):
        while changed[start + 4 : start + 8] != name:
            start += struct.unpack_from(">I", changed, start)[0]
        sizes.append(start)
        end = start + struct.unpack_from(">I", changed, start)[0]
        start += 8 + fields
    changed[end:end] = box
    for place in sizes:
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", changed, place)[0] + len(box))
    return bytes(changed)


def _clean_aperture(folder: Path) -> Path:
    """The lower right 120x68 of 320x180: the clean aperture's centre lies 100 pixels right and 56 below the middle."""
    plain = ffmpeg(folder, "plain.mov", *corners(320, 180), *LIVELY)
    clap = struct.pack(">I4s8i", 40, b"clap", 120, 1, 68, 1, 100, 1, 56, 1)
    plain.write_bytes(_with_box(plain.read_bytes(), clap))
    return plain


def _cropped_matroska(folder: Path) -> Path:
    return ffmpeg(folder, "x.mkv", "-i", _clean_aperture(folder), "-c", "copy")


def _size_changes(folder: Path, first: tuple[int, int], then: tuple[int, int]) -> Path:
    parts = [
        ffmpeg(folder, f"{number}.ts", *corners(*one), *LIVELY, "-output_ts_offset", number)
        for number, one in enumerate((first, then))
    ]
    whole = folder / "x.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    return whole


def _crop_changes(folder: Path) -> Path:
    """Half-way, another sequence parameter set crops the picture at the right and at the bottom."""
    plain = ffmpeg(folder, "a.ts", *corners(640, 360), *LIVELY)
    change = "h264_metadata=crop_right=160:crop_bottom=98"
    later = ffmpeg(folder, "b.ts", "-i", plain, "-c", "copy", "-bsf:v", change, "-output_ts_offset", 1)
    whole = folder / "x.ts"
    whole.write_bytes(plain.read_bytes() + later.read_bytes())
    return whole


def _cropped_stream(folder: Path) -> Path:
    plain = ffmpeg(folder, "plain.mp4", *corners(640, 360), *LIVELY)
    return ffmpeg(
        folder, "x.mp4", "-i", plain, "-c", "copy", "-bsf:v", "h264_metadata=crop_left=160:crop_top=90:crop_bottom=8"
    )


def _two_pictures(folder: Path) -> Path:
    small = ffmpeg(folder, "small.mp4", "-f", "lavfi", "-i", "color=blue:s=320x180:r=25:d=1", *LIVELY)
    large = ffmpeg(folder, "large.mp4", *corners(640, 360), *LIVELY)
    maps = ("-map", "0:v", "-map", "1:v", "-disposition:v:0", 0, "-disposition:v:1", "default")
    return ffmpeg(folder, "x.mp4", "-i", small, "-i", large, *maps, "-c", "copy")


def _two_pictures_default(folder: Path) -> Path:
    large = ffmpeg(folder, "large.mp4", "-f", "lavfi", "-i", "color=blue:s=640x360:r=25:d=1", *LIVELY)
    small = ffmpeg(folder, "small.mp4", *corners(320, 180), *LIVELY)
    maps = ("-map", "0:v", "-map", "1:v", "-disposition:v:0", 0, "-disposition:v:1", "default")
    return ffmpeg(folder, "x.mkv", "-i", large, "-i", small, *maps, "-c", "copy")


def _still_first(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        cover = ffmpeg(
            folder, "cover.mkv", "-f", "lavfi", "-i", "color=blue:s=1280x720", "-frames:v", 1, "-c:v", "mjpeg"
        )
        maps = ("-map", "0:v", "-map", "1:v", "-disposition:v", 0)
        large = ffmpeg(folder, "large.mp4", *corners(640, 360), *LIVELY)
        whole = ffmpeg(folder, name, "-i", cover, "-i", large, *maps, "-c", "copy")
        return whole.rename(folder / "x.webm") if name.endswith(".mkv") else whole

    return make


def _unknown_first(folder: Path) -> Path:
    large = ffmpeg(folder, "large.mp4", *corners(640, 360), *LIVELY)
    blue = ffmpeg(folder, "blue.mkv", "-f", "lavfi", "-i", "color=blue:s=1280x720:r=25:d=1", "-c:v", "mpeg2video")
    whole = ffmpeg(folder, "x.mkv", "-i", blue, "-i", large, "-map", "0:v", "-map", "1:v", "-c", "copy")
    data = whole.read_bytes()
    assert b"V_MPEG2" in data
    whole.write_bytes(data.replace(b"V_MPEG2", b"V_XYZZ2", 1))
    return whole


def _one_picture(folder: Path) -> Path:
    picture = (*corners(640, 360), "-i", BUNNY, "-map", "0:v", "-map", "1:a", "-frames:v", 1, "-t", 1)
    return ffmpeg(folder, "x.mp4", *picture, *LIVELY, "-c:a", "copy")


UPRIGHT = "red lime blue white".replace("lime", "green")


def square(right: Mapping[Measure, object]) -> Mapping[Measure, object]:
    """The right outcome of a success with square pixels."""
    return {failure: "", pixel_aspect: "1:1", **right}


CASES = (
    Case("phone film, turned 90° by its display matrix", _turned("-display_rotation", 90), encode("240p"),
         square({size: "180x320", quarters: "green white red blue", frames: 25, warnings: []})),
    Case("phone film, turned 180°", _turned("-display_rotation", 180), encode("240p"),
         square({size: "320x180", quarters: "white blue green red"})),
    Case("phone film, turned 270°", _turned("-display_rotation", 270), encode("240p"),
         square({size: "180x320", quarters: "blue red white green"})),
    Case("selfie, mirrored by its display matrix", _turned("-display_hflip"), encode("240p"),
         square({size: "320x180", quarters: "green red white blue"})),
    Case("film upside down by a mirroring display matrix", _turned("-display_vflip"), encode("240p"),
         square({size: "320x180", quarters: "blue white red green"})),
    Case("selfie, turned 90° and mirrored", _turned("-display_rotation", 90, "-display_hflip"), encode("240p"),
         square({size: "180x320", quarters: "white green blue red"})),
    Case("film turned by 10°", _turned("-display_rotation", 10), encode("240p"),
         square({size: "320x180", quarters: UPRIGHT, warnings: ["rotation-rounded"]})),
    Case("clean aperture of a MOV", _clean_aperture, encode("240p"),
         square({size: "120x68", quarters: "white white white white", warnings: []})),
    Case("cropped MKV", _cropped_matroska, encode("240p"),
         square({size: "120x68", quarters: "white white white white", warnings: []})),
    Case("H.264 cropped by its sequence parameter set", _cropped_stream, encode("source"),
         square({size: "480x270", warnings: []})),
    Case("crop that changes half-way", _crop_changes, encode("360p"),
         square({size: "640x360", frames: 50, last_bars: "0 0 0 0", warnings: ["size-changes"]})),
    Case("size that changes from wide to high", lambda folder: _size_changes(folder, (320, 180), (180, 320)),
         encode("360p"), square({size: "320x180", frames: 50, last_quarters: UPRIGHT, last_bars: "108 110 0 0",
                                   warnings: ["size-changes"]})),
    Case("size that changes from high to wide", lambda folder: _size_changes(folder, (180, 320), (320, 180)),
         encode("360p"), square({size: "180x320", frames: 50, last_bars: "0 0 108 110", warnings: ["size-changes"]})),
    Case("size that changes to an anamorphic one", lambda folder: _size_changes(folder, (640, 360), (480, 576)),
         encode("360p"), square({size: "640x360", frames: 50, last_bars: "0 0 0 0", warnings: ["size-changes"]})),
    Case("wide PAL: 720x576 with pixels of 64:45", _squeezed("x.mp4", 720, 576, "64/45"), encode("source"),
         square({size: "1024x576", roundness: about(1, 0.02)})),
    Case("PAL MPEG-2: 720x576 with pixels of 16:15", _squeezed("x.mpg", 720, 576, "16/15", "-c:v", "mpeg2video"),
         encode("480p"), square({size: "640x480", roundness: about(1, 0.02)})),
    Case("NTSC: 720x480 with pixels of 8:9", _squeezed("x.mkv", 720, 480, "8/9"), encode("720p"),
         square({size: "640x480", roundness: about(1, 0.02)})),
    Case("HDV: 1440x1080 with pixels of 4:3", _squeezed("x.mov", 1440, 1080, "4/3"), encode("720p"),
         square({size: "1280x720", roundness: about(1, 0.02)})),
    Case("wide PAL as a raster of W:H keeps its shape by its pixels", _squeezed("x.mp4", 720, 576, "64/45"),
         encode("720:576"), {failure: "", size: "720x576", pixel_aspect: "64:45", roundness: about(1, 0.02)}),
    Case("pixels of 200:1", _squeezed("x.mp4", 320, 180, "200/1"), encode("240p"),
         square({size: "320x180", warnings: ["pixel-aspect-ignored"]})),
    Case("odd sides in 4:4:4", _plain(427, 241, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv444p"),
         encode("240p"), square({size: "426x240", quarters: UPRIGHT, display_aspect: about(427 / 241, 0.008)})),
    Case("odd width in FFV1 4:2:2", _plain(427, 240, "-c:v", "ffv1", "-pix_fmt", "yuv422p", name="x.mkv"),
         encode("360p"), square({size: "426x240", quarters: UPRIGHT, display_aspect: about(427 / 240, 0.008)})),
    Case("panorama of 4:1", _plain(1280, 320), encode("360p"), square({size: "640x160", bars: "0 0 0 0"})),
    Case("high picture of 9:21", _plain(270, 630), encode("240p"),
         square({size: "206x480", display_aspect: about(270 / 630, 0.002)})),
    Case("screen of 1366x768", _plain(1366, 768), encode("360p"),
         square({size: "640x360", display_aspect: about(1366 / 768, 0.008)})),
    Case("480p of a wide film", _plain(1280, 720), encode("480p"), square({size: "800x450"})),
    Case("16x16", _plain(16, 16), encode("720p"), square({size: "16x16", quarters: UPRIGHT})),
    Case("16x16 as H.265", _plain(16, 16), encode("720p", "h265"),
         square({size: "34x34", quarters: UPRIGHT, warnings: ["picture-padded"]})),
    Case("16x16 as AV1", _plain(16, 16), encode("720p", "av1"),
         square({size: "64x64", quarters: UPRIGHT, warnings: ["picture-padded"]})),
    Case("high film in a padded square", _plain(180, 320), encode("360:360", fit="pad"),
         square({size: "360x360", quarters: UPRIGHT, bars: "78 80 0 0"})),
    Case("high film padded to 360p, which is not turned", _plain(180, 320), encode("360p", fit="pad"),
         square({size: "640x360", quarters: UPRIGHT, bars: "218 220 0 0"})),
    Case("wide film cropped to a high one", _plain(640, 360), encode("180:320", fit="crop"),
         square({size: "180x320", quarters: UPRIGHT, bars: "0 0 0 0"})),
    Case("wide PAL cropped to a square", _squeezed("x.mp4", 720, 576, "64/45"), encode("360:360", fit="crop"),
         square({size: "360x360", roundness: about(1, 0.02)})),
    Case("two pictures, the small one first, the large one default", _two_pictures, encode("360p"),
         square({size: "640x360", quarters: UPRIGHT, tracks: "video", warnings: ["pictures-left-out"]})),
    Case("two pictures, the large one first, the small one default", _two_pictures_default, encode("360p"),
         square({size: "320x180", quarters: UPRIGHT, warnings: ["pictures-left-out"]})),
    Case("WebM with a cover before the film, not marked as one", _still_first("x.mkv"), encode("360p"),
         square({size: "640x360", quarters: UPRIGHT, frames: 25, warnings: ["pictures-left-out"]})),
    Case("MOV with a cover before the film, not marked as one", _still_first("x.mov"), encode("360p"),
         square({size: "640x360", quarters: UPRIGHT, frames: 25, warnings: ["pictures-left-out"]})),
    Case("picture that nobody decodes before the film", _unknown_first, encode("360p"),
         square({size: "640x360", quarters: UPRIGHT, warnings: ["pictures-left-out"]})),
    Case("sound with one still picture", _one_picture, encode("360p"),
         square({size: "640x360", frames: 1, tracks: "video audio", warnings: ["still-picture"]})),
)  # fmt: skip
