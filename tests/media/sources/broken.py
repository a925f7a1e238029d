"""Sources that are damaged, cut short, or not what they say."""

from collections.abc import Callable
from pathlib import Path

from tests.media.case import BUNNY, Case, Made, about, ffmpeg
from tests.media.measures import failure, frames, seconds, warnings
from tests.media.measures_times import frames_lost

SMALL = {"ffmpeg": {"codec": "h264", "scale": "360p", "bitrate": "1M", "speed": "fast"}}


def second_of_damage(made: Made) -> object:
    """The second of the damage that the warning names."""
    messages = [notice.message for notice in made.notices if notice.code == "picture-damaged"]
    return float(messages[0].rpartition(" at ")[2].removesuffix(" s.")) if messages else None


def _copied(folder: Path, name: str) -> bytearray:
    options = ("-movflags", "+faststart") if name.endswith("mp4") else ()
    return bytearray(ffmpeg(folder, name, "-i", BUNNY, "-c", "copy", *options).read_bytes())


def _cut(name: str, share: float) -> Callable[[Path], Path]:
    """The film up to this share of its bytes."""

    def make(folder: Path) -> Path:
        data = _copied(folder, name)
        (folder / name).write_bytes(data[: int(len(data) * share)])
        return folder / name

    return make


def _without_index(folder: Path) -> Path:
    """An MP4 whose index would stand at its end, which is missing."""
    data = ffmpeg(folder, "x.mp4", "-i", BUNNY, "-c", "copy").read_bytes()
    (folder / "x.mp4").write_bytes(data[: len(data) // 2])
    return folder / "x.mp4"


def _overwritten(name: str, begin: float, end: float) -> Callable[[Path], Path]:
    """The film with noise between these shares of its bytes."""

    def make(folder: Path) -> Path:
        data = _copied(folder, name)
        first, last = int(len(data) * begin), int(len(data) * end)
        data[first:last] = bytes((n * 7919 + n // 251) % 256 for n in range(last - first))
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _noise_after(folder: Path) -> Path:
    """A transport stream followed by bytes that are none."""
    data = _copied(folder, "x.ts")
    (folder / "x.ts").write_bytes(data + bytes((n * 7919) % 251 for n in range(20_000)))
    return folder / "x.ts"


def _middle(folder: Path) -> Path:
    """A capture that begins between two key frames."""
    part = ffmpeg(
        folder, "x.ts", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=6", "-c:v", "mpeg2video", "-bf", 2, "-g", 12
    )
    data = part.read_bytes()
    first = len(data) // 188 // 4
    part.write_bytes(data[: 188 * 3] + data[188 * first :])
    return part


CASES = (
    Case("MP4 cut before its index", _without_index, SMALL, {failure: "input-corrupt"}),
    Case("MP4 cut in its middle", _cut("x.mp4", 0.5), SMALL, {failure: "input-corrupt"}),
    Case("Matroska cut in its middle", _cut("x.mkv", 0.5), SMALL, {failure: "input-corrupt"}),
    Case("FLV cut in its middle", _cut("x.flv", 0.5), SMALL, {failure: "input-corrupt"}),
    Case(
        "MP4 that lacks its last 2 %",
        _cut("x.mp4", 0.98),
        SMALL,
        {failure: "", frames: about(129, 2), warnings: ["picture-damaged"], second_of_damage: about(5.1, 0.3)},
    ),
    Case(
        "Transport stream cut in its middle, which tells no length",
        _cut("x.ts", 0.5),
        SMALL,
        {failure: "", frames: about(55, 1), second_of_damage: about(2.1, 0.3)},
    ),
    Case(
        "MP4 with 1 % noise in its middle",
        _overwritten("x.mp4", 0.5, 0.51),
        SMALL,
        {failure: "", frames: about(131, 1), seconds: about(5.28, 0.05), second_of_damage: about(2.2, 0.4)},
    ),
    Case(
        "Transport stream with 1 % noise in its middle",
        _overwritten("x.ts", 0.5, 0.51),
        SMALL,
        {failure: "", seconds: about(5.26, 0.05), second_of_damage: about(2.2, 0.4)},
    ),
    Case("MP4 with 40 % noise", _overwritten("x.mp4", 0.3, 0.7), SMALL, {failure: "input-corrupt"}),
    Case("Transport stream with 40 % noise", _overwritten("x.ts", 0.3, 0.7), SMALL, {failure: "input-corrupt"}),
    Case("AVI with 40 % noise", _overwritten("x.avi", 0.3, 0.7), SMALL, {failure: "input-corrupt"}),
    Case("MP4 with nothing but noise for data", _overwritten("x.mp4", 0.02, 1), SMALL, {failure: "input-corrupt"}),
    Case("Transport stream followed by noise", _noise_after, SMALL, {failure: "", frames: about(132, 1)}),
    Case("Capture that begins between two key frames", _middle, SMALL, {failure: "", frames_lost: about(0, 1)}),
)
