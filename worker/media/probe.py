"""What is in a file, by ffprobe."""

import math
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from elasticrecode import wire
from worker.errors import Hopeless, last_lines
from worker.media.plan import DEMUXERS, reading
from worker.sandbox.runner import Work

_SECONDS = 60
_SECONDS_A_FILE = 600
_SAID_BYTES = 1 << 22
_USUAL_RATE = 25.0
_HDR = ("smpte2084", "arib-std-b67")
_FIELDS = ("tt", "bb", "tb", "bt")
_FORMAT = "format_name,duration,bit_rate"
_STREAM = (
    "index,codec_type,codec_name,width,height,duration,nb_frames,nb_read_packets,avg_frame_rate,bit_rate,pix_fmt,"
    "bits_per_raw_sample,color_range,color_transfer,field_order,sample_aspect_ratio"
)
_SHOWN = f"format={_FORMAT}:stream={_STREAM}:stream_disposition=attached_pic:stream_side_data=rotation,displaymatrix"
"""What is asked of ffprobe: no more than is read, so that what people write into files is no part of it."""
_LARGEST = 2**53
_ASPECTS = (0.01, 100.0)


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
    streams: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a player shows it, in square pixels."""
        width, height = max(1, round(self.width * self.pixel_aspect)), self.height
        return (height, width) if self.rotation % 180 else (width, height)


def video(ffprobe: str, work: Work, path: Path, side: str = "input", *, count: bool = False) -> Video:
    """Probe a file of the job; `count` reads all packets to count frames.

    Hopeless when there is no video to be had, or more of it than may be, with a code that begins with `side`.
    """
    shown = ["-show_entries", _SHOWN, "-print_format", "json", *(("-count_packets",) if count else ())]
    try:
        said = path.with_name(f"{path.name}.probe")
        _ask(ffprobe, work, path, side, shown, _SECONDS_A_FILE if count else _SECONDS, output=said)
        found = read(wire.decode(said.read_bytes(), object), side)
    except msgspec.DecodeError as error:
        raise Hopeless(f"{side}-corrupt", f"What ffprobe says of the {side} is no JSON: {error}.") from error
    except Hopeless as error:
        raise work.limits.met(side, last_lines(_log(path), path.parent)) or error from None
    work.limits.refuse(side, duration=found.duration, width=found.width, height=found.height, streams=found.streams)
    return found


def times(ffprobe: str, work: Work, path: Path, video: Video, side: str) -> "array[float]":
    """When the frames of a stream are shown, in seconds, in order. Hopeless where there are too many to be scored.

    Left out is what an edit list leaves out, and what can't be decoded because the stream was cut into. A container
    that does not say when frames are shown, like avi, has them at equal distances.
    """
    shown = ["-select_streams", str(video.stream), "-show_entries", "packet=pts_time,flags", "-print_format", "csv=p=0"]
    packets = _Packets()

    def take(line: str, _: float) -> None:
        if packet := _packet(line):
            packets.add(*packet)
            work.limits.refuse_frames(side, len(packets.times))

    _ask(ffprobe, work, path, side, shown, _SECONDS_A_FILE, on_line=take)
    return packets.shown(video.rate or _USUAL_RATE)


def shown_at(packets: Iterable[tuple[float | None, str]], rate: float) -> "array[float]":
    """The times of frames from ffprobe's packets, a time and flags each, in the order of the file."""
    taken = _Packets()
    for packet in packets:
        taken.add(*packet)
    return taken.shown(rate)


class _Packets:
    """The packets of a stream that are shown, from the first on that can be decoded by itself, if there is one."""

    def __init__(self) -> None:
        self.times = array("d")
        self._begin = -math.inf
        self._are_timed = True
        self._is_first = True
        self._is_open = False

    def add(self, time: float | None, flags: str) -> None:
        """Take the next. Flag K is on what can be decoded by itself, D on what an edit list leaves out."""
        if "K" in flags and not self._is_open:
            self._is_open = True
            if not self._is_first:
                del self.times[:]
                self._are_timed = True
                self._begin = -math.inf if time is None else time
        self._is_first = False
        if "D" not in flags:
            self.times.append(time or 0.0)
            self._are_timed &= time is not None

    def shown(self, rate: float) -> "array[float]":
        """When they are shown, in order, or so many a second where one does not tell."""
        if not self._are_timed:
            return array("d", (n / rate for n in range(len(self.times))))
        return array("d", sorted(time for time in self.times if time >= self._begin))


def _packet(line: str) -> tuple[float | None, str] | None:
    """The time and flags in a line of ffprobe's."""
    time, comma, flags = line.strip().partition(",")
    return (_number(time), flags) if comma else None


def _ask(
    ffprobe: str,
    work: Work,
    path: Path,
    side: str,
    shown: list[str],
    seconds: int,
    *,
    output: Path | None = None,
    on_line: Callable[[str, float], None] = lambda *_: None,
) -> None:
    """Ask ffprobe, whose answer goes to a file or is taken line by line."""
    log = _log(path)
    arguments = [ffprobe, "-v", "error", *reading(work.limits), *shown, "-i", f"file:{path}"]
    status = work.run(
        arguments, path.parent, log, seconds=seconds, file_bytes=_SAID_BYTES, output=output, on_line=on_line
    )
    if status < 0:
        raise Hopeless(f"{side}-corrupt", f"The {side} crashed ffprobe, by signal {-status}.")
    if status:
        why = f"The {side} is no video in a container that is read ({', '.join(DEMUXERS)})."
        raise Hopeless(f"{side}-not-video", why, last_lines(log, path.parent))


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}.log")


def read(probed: object, side: str = "input") -> Video:
    """The video in ffprobe's JSON. Cover art is a picture, not a video.

    What a file says of itself is believed where it can be, and else taken for unknown. Hopeless when there is no video.
    """
    streams = [stream for stream in _list(_part(probed, "streams")) if isinstance(stream, dict)]
    format_ = _part(probed, "format")
    demuxer = _text(_part(format_, "format_name")).split(",")[0]
    pictures = [stream for stream in streams if stream.get("codec_type") == "video"]
    moving = [stream for stream in pictures if not _part(stream.get("disposition"), "attached_pic")]
    sizes = [_whole(moving[0].get(name)) for name in ("index", "width", "height")] if moving else [None]
    number, width, height = sizes if all(size is not None for size in sizes) else (None, None, None)
    if number is None or not width or not height:
        raise Hopeless(f"{side}-no-video", f"The {side} holds no video stream that can be decoded.")
    if demuxer not in DEMUXERS:
        raise Hopeless(f"{side}-not-video", f"The {side} is no video in a container that is read.")
    stream = moving[0]
    duration = _positive(stream.get("duration")) or _positive(_part(format_, "duration"))
    frames = _positive(stream.get("nb_read_packets")) or _positive(stream.get("nb_frames"))
    rate = _ratio(stream.get("avg_frame_rate"), "/")
    said = [data for data in _list(stream.get("side_data_list")) if isinstance(data, dict)]
    turned = [_number(data.get("rotation")) or 0.0 for data in said if "rotation" in data]
    return Video(
        demuxer=demuxer,
        stream=number,
        codec=_text(stream.get("codec_name")),
        width=width,
        height=height,
        duration=duration,
        bitrate=_whole(stream.get("bit_rate")) or _whole(_part(format_, "bit_rate")) or None,
        frames=_whole(frames or (duration or 0.0) * rate) or None,
        rate=rate,
        rotation=round(turned[0]) % 360 if turned else 0,
        mirrored=any(_mirrors(_text(data.get("displaymatrix"))) for data in said),
        bits=_bits(stream),
        full_range=stream.get("color_range") == "pc" or _text(stream.get("pix_fmt")).startswith("yuvj"),
        hdr=stream.get("color_transfer") in _HDR,
        interlaced=stream.get("field_order") in _FIELDS,
        pixel_aspect=_aspect(stream.get("sample_aspect_ratio")),
        streams=len(streams),
    )


def _part(whole: object, name: str) -> Any:
    return whole.get(name) if isinstance(whole, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mirrors(matrix: str) -> bool:
    """Whether ffprobe's print of a display matrix, three rows of three numbers, shows the picture in a mirror."""
    rows = [[_number(number) for number in row.split(":")[-1].split()] for row in matrix.strip().splitlines()]
    if len(rows) != 3 or any(len(row) != 3 or None in row for row in rows):
        return False
    (a, b, _), (c, d, _), _ = ([number or 0.0 for number in row] for row in rows)
    return a * d - b * c < 0


def _bits(stream: dict[str, Any]) -> int:
    """Bits of a sample: of the format's name, as in yuv420p10le, else what the stream says."""
    named = next((bits for bits in (16, 14, 12, 10, 9) if f"p{bits}" in _text(stream.get("pix_fmt"))), None)
    return named or min(32, _whole(stream.get("bits_per_raw_sample")) or 8)


def _aspect(text: object) -> float:
    """How wide pixels are for their height; square where that is unknown or absurd."""
    found = _ratio(text, ":")
    return found if _ASPECTS[0] <= found <= _ASPECTS[1] else 1.0


def _ratio(text: object, sign: str) -> float:
    """The value of a fraction such as `30000/1001`; 0 where it is unknown."""
    above, _, below = _text(text).partition(sign)
    top, bottom = _positive(above), _positive(below)
    return top / bottom if top and bottom else 0.0


def _positive(value: object) -> float | None:
    number = _number(value)
    return number if number and number > 0 else None


def _whole(value: object) -> int | None:
    """A whole number from 0."""
    number = _number(value)
    return round(number) if number is not None and number >= 0 else None


def _number(value: object) -> float | None:
    """A number, or one in a text; None for what is none, or none that a double holds exactly to its units."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= _LARGEST else None
