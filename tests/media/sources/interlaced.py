"""Sources of fields: interlaced, telecined, flagged wrongly, or not flagged."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.media.case import BUNNY, Between, Case, Measure, about, ffmpeg
from tests.media.measures import failure, frames, size, warnings
from tests.media.measures_geometry import (
    combed_frames,
    field_order,
    longest_step,
    shortest_step,
    similarity,
    similarity_to_bwdif,
    similarity_to_fields,
)

TOP = "tinterlace=interleave_top,setfield=tff"
BOTTOM = "tinterlace=interleave_bottom,setfield=bff"
CODED_TOP = ("-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ildct+ilme", "-x264-params", "tff=1")
CODED_BOTTOM = ("-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ildct+ilme", "-x264-params", "bff=1")
MPEG2 = ("-c:v", "mpeg2video", "-b:v", "8M", "-flags", "+ildct+ilme")
PROGRESSIVE = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", 16)
FILM = "24000/1001"


def encode(scale: str, **more: Any) -> dict[str, Any]:
    """A profile."""
    return {"ffmpeg": {"codec": "h264", "scale": scale, "bitrate": "4M", "speed": "fast", **more}}


def _moving(filters: str, *coded: object, name: str = "x.mp4", size: str = "720x576", rate: object = 50,
            seconds: float = 2) -> Callable[[Path], Path]:  # fmt: skip
    picture = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}")
    return lambda folder: ffmpeg(folder, name, *picture, "-vf", filters, *coded)


def _advert_in_film(folder: Path) -> Path:
    """Whole pictures, then pictures of two fields, all flagged as interlaced."""
    film = "testsrc2=s=720x576:r=25:d=1.2"
    live = "testsrc2=s=720x576:r=50:d=1.2,tinterlace=interleave_top"
    graph = f"{film}[a];{live}[b];[a][b]concat,setfield=tff"
    return ffmpeg(folder, "x.ts", "-f", "lavfi", "-i", graph, "-r", 25, *CODED_TOP)


def _bunny(folder: Path) -> Path:
    return ffmpeg(folder, "x.mp4", "-i", BUNNY, "-an", "-t", 2, "-c", "copy")


def whole(right: Mapping[Measure, object]) -> Mapping[Measure, object]:
    """The right outcome of a success that has whole pictures only."""
    return {failure: "", field_order: "progressive", combed_frames: 0, **right}


STEADY_50 = {longest_step: about(20, 0.1), shortest_step: about(20, 0.1)}
GOOD = Between(0.95, 1)

CASES = (
    Case("1080i25, top field first, H.264 in MPEG-TS", _moving(TOP, *CODED_TOP, name="x.ts", size="1920x1080"),
         encode("720p"),
         whole({size: "1280x720", frames: 50, similarity_to_bwdif: GOOD, warnings: ["interlacing-removed"]})),
    Case("576i25, bottom field first, MPEG-2, pixels of 16:15",
         _moving(f"{BOTTOM},setsar=16/15", *MPEG2, "-field_order", "bb", name="x.mpg"),
         encode("576:432", fit="contain"),
         whole({size: "576x432", frames: 50, similarity_to_bwdif: GOOD, warnings: ["interlacing-removed"]})),
    Case("576i25, pixels of 64:45, to its own size", _moving(f"{TOP},setsar=64/45", *CODED_TOP), encode("source"),
         whole({size: "1024x576", frames: 50, similarity_to_bwdif: GOOD, warnings: ["interlacing-removed"]})),
    Case("576i25 to 50 pictures a second, top field first", _moving(TOP, *CODED_TOP),
         encode("480p", deinterlace="double"),
         whole({frames: 100, similarity_to_fields: GOOD, **STEADY_50})),
    Case("576i25 to 50 pictures a second, bottom field first", _moving(BOTTOM, *CODED_BOTTOM),
         encode("480p", deinterlace="double"),
         whole({frames: 100, similarity_to_fields: GOOD, **STEADY_50})),
    Case("480i29.97 to 59.94 pictures a second", _moving(TOP, *MPEG2, name="x.ts", size="720x480", rate="60000/1001"),
         encode("480p", deinterlace="double"),
         whole({frames: 120, longest_step: about(1001 / 60, 0.1), shortest_step: about(1001 / 60, 0.1)})),
    Case("combed pictures coded as progressive", _moving(TOP, *PROGRESSIVE), encode("480p"),
         whole({frames: 50, similarity_to_bwdif: GOOD, warnings: ["interlacing-guessed"]})),
    Case("combed 1080 pictures coded as progressive", _moving(TOP, *PROGRESSIVE, size="1920x1080", seconds=1),
         encode("360p"), whole({frames: 25, warnings: ["interlacing-guessed"]})),
    Case("combed pictures coded as progressive, to 50 a second", _moving(BOTTOM, *PROGRESSIVE),
         encode("480p", deinterlace="double"),
         whole({frames: 100, longest_step: about(20, 0.1), warnings: ["interlacing-guessed"]})),
    Case("whole pictures flagged as interlaced", _moving("setfield=tff", *CODED_TOP, rate=25), encode("480p"),
         whole({frames: 50, similarity: Between(0.97, 1), warnings: ["interlacing-guessed"]})),
    Case("whole pictures flagged as interlaced, to 50 a second", _moving("setfield=tff", *CODED_TOP, rate=25),
         encode("480p", deinterlace="double"), whole({frames: 50, similarity: Between(0.97, 1)})),
    Case("film and live pictures in one recording", _advert_in_film, encode("480p"),
         whole({frames: 60, warnings: ["interlacing-guessed"]})),
    Case("film stretched by 3:2 pulldown, MPEG-2",
         _moving("telecine=first_field=top:pattern=23,setfield=tff", *MPEG2, name="x.mpg", size="720x480", rate=FILM,
                 seconds=4),
         encode("360p"), whole({frames: 96, longest_step: about(1001 / 24, 0.2), shortest_step: about(1001 / 24, 0.2),
                                  warnings: ["telecine-removed"]})),
    Case("film stretched by 3:2 pulldown, bottom field first, coded as progressive",
         _moving("telecine=first_field=bottom:pattern=23", *PROGRESSIVE, size="720x480", rate=FILM, seconds=4),
         encode("360p"), whole({frames: Between(94, 96), longest_step: about(1001 / 24, 0.2),
                                  warnings: ["telecine-removed"]})),
    Case("fields left as they are", _moving(TOP, *CODED_TOP), encode("source", deinterlace="off"),
         {failure: "", frames: 50, similarity: Between(0.95, 1), warnings: ["interlacing-kept"]}),
    Case("progressive film that is to be doubled", _bunny, encode("360p", deinterlace="double"),
         whole({frames: 50, warnings: ["not-interlaced"]})),
    Case("progressive film", _bunny, encode("360p"), whole({frames: 50, warnings: []})),
)  # fmt: skip
