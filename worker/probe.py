"""What is in a file, by ffprobe."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from worker.failures import Hopeless
from worker.ffmpeg import DEMUXERS
from worker.work import environment

_SECONDS = 60
_SECONDS_A_FILE = 600
_USUAL_RATE = 25.0
_HDR = ("smpte2084", "arib-std-b67")
_FIELDS = ("tt", "bb", "tb", "bt")


class Video(NamedTuple):
    """The first moving picture of a file. Duration in seconds, bitrate in bits per second; None where unknown.

    Frames are counted where the file was read through, else told by the container or estimated. `rate` is the average
    in frames a second, 0 where unknown; `rotation` in degrees, as a player turns it.
    """

    demuxer: str
    stream: int
    codec: str
    width: int
    height: int
    duration: float | None
    bitrate: int | None
    frames: int | None
    rate: float = 0.0
    rotation: int = 0
    mirrored: bool = False
    bits: int = 8
    full_range: bool = False
    hdr: bool = False
    interlaced: bool = False
    pixel_aspect: float = 1.0

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a player shows it, in square pixels."""
        width, height = round(self.width * self.pixel_aspect), self.height
        return (height, width) if self.rotation % 180 else (width, height)


def video(ffprobe: str, path: Path, side: str = "input", *, count: bool = False) -> Video:
    """Probe a local file; `count` reads all packets to count frames.

    Hopeless when there is no video to be had, with a code that begins with `side`.
    """
    shown = ("-show_format", "-show_streams", *(("-count_packets",) if count else ()))
    said = _ask(ffprobe, path, side, ["-print_format", "json", *shown], _SECONDS)
    return read(msgspec.json.decode(said), side)


def times(ffprobe: str, path: Path, video: Video, side: str) -> list[float]:
    """When the frames of a stream are shown, in seconds, in order.

    Left out is what an edit list leaves out, and what can't be decoded because the stream was cut into. A container
    that does not say when frames are shown, like avi, has them at equal distances.
    """
    shown = ["-select_streams", str(video.stream), "-show_entries", "packet=pts_time,flags", "-print_format", "csv=p=0"]
    rows = [row.split(",") for row in _ask(ffprobe, path, side, shown, _SECONDS_A_FILE).decode().split()]
    return shown_at([(_number(row[0]), row[1]) for row in rows if len(row) > 1], video.rate or _USUAL_RATE)


def shown_at(packets: Sequence[tuple[float | None, str]], rate: float) -> list[float]:
    """The times of frames from ffprobe's packets, a time and flags each, in the order of the file."""
    first = next((n for n, (_, flags) in enumerate(packets) if "K" in flags), 0)
    begin = packets[first][0] if first else None
    kept = [time for time, flags in packets[first:] if "D" not in flags]
    times = [time for time in kept if time is not None]
    if len(times) < len(kept):
        return [n / rate for n in range(len(kept))]
    return sorted(time for time in times if begin is None or time >= begin)


def _ask(ffprobe: str, path: Path, side: str, shown: list[str], seconds: int) -> bytes:
    safely = ["-v", "error", "-protocol_whitelist", "file", "-format_whitelist", ",".join(DEMUXERS)]
    arguments = [ffprobe, *safely, *shown, "-i", f"file:{path}"]
    try:
        said = subprocess.run(
            arguments,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Hopeless(f"{side}-corrupt", f"The {side} could not be probed within {seconds} s.") from None
    if said.returncode < 0:
        raise Hopeless(f"{side}-corrupt", f"The {side} crashed ffprobe, by signal {-said.returncode}.")
    if said.returncode:
        log = said.stderr.decode(errors="replace").replace(str(path.parent), "").splitlines()
        why = f"The {side} is no video in a container that is read ({', '.join(DEMUXERS)})."
        raise Hopeless(f"{side}-not-video", why, log)
    return said.stdout


def read(probed: dict[str, Any], side: str = "input") -> Video:
    """The video in ffprobe's JSON. Cover art is a picture, not a video."""
    pictures = [stream for stream in probed.get("streams", ()) if stream.get("codec_type") == "video"]
    moving = [stream for stream in pictures if not stream.get("disposition", {}).get("attached_pic")]
    if not moving or not moving[0].get("width"):
        raise Hopeless(f"{side}-no-video", f"The {side} holds no video stream that can be decoded.")
    stream, format_ = moving[0], probed.get("format", {})
    duration = _number(stream.get("duration")) or _number(format_.get("duration"))
    frames = _number(stream.get("nb_read_packets")) or _number(stream.get("nb_frames"))
    rate = _ratio(stream.get("avg_frame_rate", ""), "/")
    turned = [_number(data.get("rotation")) or 0 for data in stream.get("side_data_list", ()) if "rotation" in data]
    return Video(
        demuxer=format_.get("format_name", "").split(",")[0],
        stream=stream["index"],
        codec=stream.get("codec_name", ""),
        width=stream["width"],
        height=stream["height"],
        duration=duration,
        bitrate=int(_number(stream.get("bit_rate")) or _number(format_.get("bit_rate")) or 0) or None,
        frames=round(frames or (duration or 0) * rate) or None,
        rate=rate,
        rotation=round(turned[0]) % 360 if turned else 0,
        mirrored=any(_mirrors(data.get("displaymatrix", "")) for data in stream.get("side_data_list", ())),
        bits=_bits(stream),
        full_range=stream.get("color_range") == "pc" or stream.get("pix_fmt", "").startswith("yuvj"),
        hdr=stream.get("color_transfer") in _HDR,
        interlaced=stream.get("field_order") in _FIELDS,
        pixel_aspect=_ratio(stream.get("sample_aspect_ratio", ""), ":") or 1.0,
    )


def _mirrors(matrix: str) -> bool:
    """Whether ffprobe's print of a display matrix, three rows of three numbers, shows the picture in a mirror."""
    rows = [[int(number) for number in row.split(":")[-1].split()] for row in matrix.strip().splitlines()]
    return len(rows) == 3 and rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0] < 0


def _bits(stream: dict[str, Any]) -> int:
    """Bits of a sample: of the format's name, as in yuv420p10le, else what the stream says."""
    said = _number(stream.get("bits_per_raw_sample"))
    named = next((bits for bits in (16, 14, 12, 10, 9) if f"p{bits}" in stream.get("pix_fmt", "")), None)
    return named or int(said or 8)


def _ratio(text: str, sign: str) -> float:
    """The value of a fraction such as `30000/1001`; 0 where it is unknown."""
    above, _, below = text.partition(sign)
    top, bottom = _number(above), _number(below)
    return top / bottom if top and bottom else 0.0


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
