"""Files as cameras, phones, sites and editors wrote them, some of them cut off.

They come with the source distributions of three packages on PyPI, whose tests read them: `tests/media/real.txt`.
"""

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from local.place import TOOLS
from tests.media.case import Case, Made, Measure, about
from tests.media.measures import failure, frames, seconds, size, tracks, warnings
from tests.media.measures_times import frames_lost, time_error

LOCKED = Path(__file__).parents[1] / "real.txt"
FOLDER = TOOLS / "media" / "real"
_SMALL = {"ffmpeg": {"codec": "h264", "scale": "360p", "bitrate": "1M", "speed": "fast"}}
_HACHOIR, _PUREMAGIC = "hachoir-3.4.0/tests/files", "puremagic-1.30/test/resources/video"
_PHONE = "python_ffmpeg-2.0.12/tests/assets"


@cache
def fetched() -> Path:
    """The folder of the unpacked packages. The first call fetches them; where no package index answers, it skips."""
    if not FOLDER.exists():
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER.parent) as temporary:
            options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--requirement", str(LOCKED)]
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", temporary, *options]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"the packages of {LOCKED.name} could not be fetched: {done.stderr.strip()[-300:]}")
            unpacked = Path(temporary) / "unpacked"
            for package in Path(temporary).glob("*.tar.gz"):
                with tarfile.open(package) as files:
                    files.extractall(unpacked, filter="data")
            unpacked.rename(FOLDER)
    return FOLDER


def _file(name: str) -> Callable[[Path], Path]:
    def make(_: Path) -> Path:
        return fetched() / name

    return make


def missing(made: Made) -> object:
    """The seconds that the warning says the input declares."""
    messages = [notice.message for notice in made.notices if notice.code == "shorter-than-declared"]
    return float(messages[0].partition("declares ")[2].partition(" s")[0]) if messages else None


def _whole(name: str, path: str, count: int, shape: str, noticed: tuple[str, ...] = (), sound: bool = True) -> Case:
    """A file that comes out as it is: all frames that a decoder gives, at their times to a tick of the output."""
    right: dict[Measure, object] = {
        failure: "",
        warnings: sorted(noticed),
        frames: count,
        frames_lost: 0,
        time_error: about(0, 1),
        size: shape,
        tracks: "video audio" if sound else "video",
    }
    return Case(name, _file(path), _SMALL, right)


def _refused(name: str, path: str, code: str) -> Case:
    return Case(name, _file(path), _SMALL, {failure: code})


CASES = (
    _whole("TS of a phone, 1080p at 59.94 frames a second", f"{_PHONE}/pier-39.ts", 180, "640x360"),
    _whole("TS of a phone, upright, at a rate that varies", f"{_PHONE}/snow.ts", 61, "360x480"),
    _whole("MP4 of a phone of 2004: MPEG-4 part 2, 190x240", f"{_HACHOIR}/quicktime.mp4", 149, "190x240"),
    _whole("3GPP2", f"{_PUREMAGIC}/test.3g2", 14, "192x144"),
    _whole("AVI with Microsoft RLE and PCM", f"{_PUREMAGIC}/test.avi", 30, "320x214"),
    _whole("FLV with VP6 and MP3", f"{_PUREMAGIC}/test.flv", 30, "320x240", ("data-left-out",)),
    _whole("WMV 9", f"{_PUREMAGIC}/test.wmv", 15, "360x264"),
    _whole("Matroska with HEVC and pixels of 10:11", f"{_PUREMAGIC}/test.mkv", 29, "492x360", sound=False),
    _whole("Matroska of 600 frames, one a second", f"{_HACHOIR}/10min.mkv", 600, "384x288", sound=False),
    _whole(
        "Matroska of a 2005 editor, with a font and a cover",
        f"{_HACHOIR}/flashmob.mkv",
        446,
        "384x288",
        ("attachments-left-out", "pictures-left-out"),
    ),
    Case(
        "FLV of a video site of which 4 % has come: its length is told, though its bytes cannot hold it",
        _file(f"{_HACHOIR}/breakdance.flv"),
        _SMALL,
        {
            failure: "",
            warnings: ["shorter-than-declared"],
            missing: about(46.942, 0.001),
            frames: 44,
            seconds: about(1.88, 0.05),
        },
    ),
    Case(
        "WMV for three rates of a line, of which a server sent one",
        _file(f"{_HACHOIR}/matrix_ping_pong.wmv"),
        _SMALL,
        {failure: "", warnings: ["pictures-left-out", "sound-damaged"], frames: 44, size: "200x150"},
    ),
    Case(
        "MPEG program stream whose first two pictures are shown before the one that it begins with",
        _file(f"{_PUREMAGIC}/test.mpg"),
        _SMALL,
        {failure: "", warnings: ["pictures-hidden"], frames: 30, frames_lost: 2, size: "640x360"},
    ),
    _refused("AVI of which 10 KB have come", f"{_HACHOIR}/smallville.s03e02.avi", "input-corrupt"),
    _refused("MOV of a camera without its frames", f"{_HACHOIR}/pentax_320x240.mov", "input-corrupt"),
    _refused("TS of a broadcast, 15 KB, without a whole picture", f"{_HACHOIR}/sample.ts", "input-corrupt"),
    _refused("RealMedia", f"{_HACHOIR}/firstrun.rm", "input-not-video"),
)
