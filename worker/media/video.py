"""The video stream of a file, read from ffprobe's JSON report."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from worker.errors import PermanentError
from worker.media.clock import Clock, read_clock
from worker.media.demuxers import DEMUXERS
from worker.media.fields import Scan
from worker.media.hdr import HdrMetadata, hdr_metadata
from worker.media.numbers import number_of

HDR_CURVES = ("smpte2084", "arib-std-b67")
_INTERLACED = ("tt", "bb", "tb", "bt")
_FORMAT = "format_name,duration,bit_rate,start_time,size"
_STREAM = (
    "index,codec_type,codec_name,codec_tag_string,width,height,duration,nb_frames,nb_read_packets,avg_frame_rate,bit_rate,"
    "pix_fmt,bits_per_raw_sample,color_range,color_transfer,color_space,color_primaries,chroma_location,field_order,"
    "sample_aspect_ratio,r_frame_rate,time_base,start_time,profile,channels,channel_layout,sample_rate,sample_fmt"
)
BARE_ENTRIES = (
    f"format={_FORMAT}:stream={_STREAM}:stream_disposition=attached_pic,default,forced,hearing_impaired"
    ":stream_tags=language,title,alpha_mode,DURATION:stream_side_data:format_tags=title"
    ":program=program_id:program_stream=index"
)
"""Value of ffprobe's `-show_entries`: only the fields read here, so that no other metadata enters the report."""
ENTRIES = f"{BARE_ENTRIES}:chapter=start_time,end_time:chapter_tags=title"
"""The same with chapters."""
FRAME_ENTRIES = "frame=color_range,color_space,color_primaries,color_transfer:frame_side_data"
"""The same for the first frame."""
_TELLING_DEMUXERS = ("mov", "matroska")
"""Containers with tags of their own for colour."""
_ASPECTS = (0.1, 10.0)
_UPRIGHT = (1, 0, 0, 1)
_TILT_DEGREES = 1.0
_STILLS = ("mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000", "jpegls", "ppm", "pcx", "sgi", "targa", "psd")
"""Codecs of covers, beside which any other video track is the film."""
_UNDECODABLE = ("", "none", "unknown", "daala", "dnxuc", "evc", "jpegxs", "lcevc")
"""Codecs that ffmpeg has no decoder for."""


class Video(NamedTuple):
    """The film of a file: of its video streams the one that `film` chooses.

    `stream` is its index in the file, `duration` is in seconds, `bitrate` in bits per second; None where unknown.
    `frames` is counted if all packets were read, else declared by the container or estimated from duration and rate.
    `rate` is the average in frames per second, 0 where unknown. `width` and `height` are those of the picture that the
    decoder gives: cropped, and not yet turned. `orientation` turns and mirrors it as a player does: of its numbers
    a, b, c, d, each -1, 0 or 1, a and c are the weights of x and y in the new x, b and d those in the new y; y points
    down. `tilt` is the angle in degrees that no such turn covers. `rotation` is the angle of the turn in degrees
    counter-clockwise. `pixel_aspect` is a pixel's width divided by its height; `stated_aspect` is the text where it is
    beyond belief. `streams` counts all streams of the file.
    `clock` is what the container tells of time, `file_bytes` the file's size; `is_late` marks a file whose tracks are
    found only with `demuxers.LATE_OPTIONS`. `start` is the second of the file's clock at which the picture begins,
    `entry` the second of the source at which ffmpeg enters it for a part; None where a while before the part will do.
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
    pixel_format: str = ""
    primaries: str = ""
    transfer: str = ""
    matrix: str = ""
    field_order: str = ""
    chroma_location: str = ""
    has_alpha: bool = False
    metadata: HdrMetadata = HdrMetadata()
    orientation: tuple[int, int, int, int] = _UPRIGHT
    tilt: float = 0.0
    stated_aspect: str = ""
    clock: Clock = Clock()
    file_bytes: int | None = None
    is_late: bool = False
    start: float | None = None
    entry: float | None = None
    scan: Scan = Scan()

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a player shows the picture, in square pixels."""
        width, height = max(1, round(self.width * self.pixel_aspect)), self.height
        return (height, width) if self.rotation % 180 else (width, height)


def parse_report(report: object, side: str = "input") -> Video:
    """The video that ffprobe's decoded JSON report describes.

    Values of the wrong type or outside a sane range count as unknown, because they come from the file. Raises
    PermanentError, with a code that starts with `side`, if there is no video or the container is not accepted.
    """
    streams = [stream for stream in _list(_member(report, "streams")) if isinstance(stream, dict)]
    format_ = _member(report, "format")
    demuxer = _text(_member(format_, "format_name")).split(",")[0]
    pictures = [stream for stream in streams if stream.get("codec_type") == "video"]
    stream = film(pictures) or {}
    sizes = [_whole(stream.get(name)) for name in ("index", "width", "height")]
    number, width, height = sizes if all(size is not None for size in sizes) else (None, None, None)
    if number is None or not width or not height:
        raise PermanentError(f"{side}-no-video", f"The {side} has no video stream that can be decoded.")
    if demuxer not in DEMUXERS:
        raise PermanentError(f"{side}-not-video", f"The {side} is not a video in an accepted container.")
    size = _whole(_member(format_, "size")) or None
    clock = _clock(stream, format_, demuxer, size)
    side_data = [data for data in _list(stream.get("side_data_list")) if isinstance(data, dict)]
    orientation, angle, tilt = _orientation(side_data)
    pixels = _text(stream.get("pix_fmt"))
    stated = _text(stream.get("sample_aspect_ratio"))
    return Video(
        demuxer=demuxer,
        stream=number,
        codec=_text(stream.get("codec_name")),
        width=_cropped(width, side_data, ("crop_left", "crop_right"), even="420" in pixels or "422" in pixels),
        height=_cropped(height, side_data, ("crop_top", "crop_bottom"), even="420" in pixels),
        duration=clock.duration,
        bitrate=_whole(stream.get("bit_rate")) or _whole(_member(format_, "bit_rate")) or None,
        frames=clock.frames,
        rate=clock.rate,
        rotation=angle,
        mirrored=orientation[0] * orientation[3] - orientation[1] * orientation[2] < 0,
        bits=_bits(stream),
        full_range=stream.get("color_range") == "pc" or _text(stream.get("pix_fmt")).startswith("yuvj"),
        hdr=stream.get("color_transfer") in HDR_CURVES,
        interlaced=stream.get("field_order") in _INTERLACED,
        pixel_aspect=_aspect(stated) or 1.0,
        streams=len(streams),
        pixel_format=pixels,
        primaries=_text(stream.get("color_primaries")),
        transfer=_text(stream.get("color_transfer")),
        matrix=_text(stream.get("color_space")),
        field_order=_text(stream.get("field_order")),
        chroma_location=_text(stream.get("chroma_location")),
        has_alpha=_member(stream.get("tags"), "alpha_mode") == "1",
        metadata=hdr_metadata(side_data),
        orientation=orientation,
        tilt=tilt,
        stated_aspect="" if _aspect(stated) or not _ratio(stated, ":") else stated[:40],
        clock=clock,
        file_bytes=size,
        start=number_of(stream.get("start_time")),
    )


def needs_frame(video: Video) -> bool:
    """Whether the first frame may tell more than the stream: another colour than the container, or metadata of HDR."""
    untold = video.codec == "hevc" and video.bits > 8 and not video.transfer
    return video.transfer in HDR_CURVES or untold or bool(video.matrix and video.demuxer in _TELLING_DEMUXERS)


def with_frame(video: Video, report: object) -> Video:
    """The video with the colour and metadata of a frame, from ffprobe's decoded JSON report on it.

    The frame's colour is that of the bitstream, which decoders follow where the container contradicts it.
    """
    frames = [frame for frame in _list(_member(report, "frames")) if isinstance(frame, dict)]
    if not frames:
        return video
    frame = frames[0]
    side_data = [data for data in _list(frame.get("side_data_list")) if isinstance(data, dict)]
    range_, transfer = _text(frame.get("color_range")), _text(frame.get("color_transfer")) or video.transfer
    return video._replace(
        hdr=transfer in HDR_CURVES,
        primaries=_text(frame.get("color_primaries")) or video.primaries,
        transfer=transfer,
        matrix=_text(frame.get("color_space")) or video.matrix,
        full_range=range_ == "pc" if range_ in ("tv", "pc") else video.full_range,
        metadata=video.metadata.joined(hdr_metadata(side_data)),
    )


def film(pictures: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The film among ffprobe's video streams: the default one, else the largest, as ffmpeg chooses; None without any.

    Covers are no film. A track that nobody decodes, or a still picture, is the film only where no other is. Of tracks
    for different rates of the same film, which ASF announces together, those whose frames come go first.
    """
    moving = [stream for stream in pictures if not _member(stream.get("disposition"), "attached_pic")]

    def rank(stream: dict[str, Any]) -> tuple[bool, bool, bool, bool, int]:
        codec, frames = _text(stream.get("codec_name")), number_of(stream.get("nb_frames"))
        area = (_whole(stream.get("width")) or 0) * (_whole(stream.get("height")) or 0)
        decodes = codec not in _UNDECODABLE and area > 0
        is_default = bool(_member(stream.get("disposition"), "default"))
        comes = _ratio(stream.get("avg_frame_rate"), "/") > 0
        return decodes, codec not in _STILLS and frames != 1, is_default, comes, area

    return max(moving, key=rank, default=None)


def _clock(stream: dict[str, Any], format_: object, demuxer: str, size: int | None) -> Clock:
    return read_clock(
        demuxer,
        duration=_positive(stream.get("duration")),
        file_duration=_positive(_member(format_, "duration")),
        size=size,
        counted=_whole(stream.get("nb_read_packets")),
        declared=_whole(stream.get("nb_frames")),
        average=_ratio(stream.get("avg_frame_rate"), "/"),
        nominal=_ratio(stream.get("r_frame_rate"), "/"),
        ticks=1 / (_ratio(stream.get("time_base"), "/") or math.inf),
    )


def _member(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _cropped(side: int, side_data: list[dict[str, Any]], names: tuple[str, str], *, even: bool) -> int:
    """A side of the picture without what the container crops. ffmpeg cuts no sample of colour in two: `even`."""
    crop = next((data for data in side_data if names[0] in data), {})
    cut = sum(_whole(crop.get(name)) or 0 for name in names)
    rest = side - cut
    return side if not cut or rest < 2 else rest // 2 * 2 if even else rest


def _orientation(side_data: list[dict[str, Any]]) -> tuple[tuple[int, int, int, int], int, float]:
    """The nearest turn and mirroring by whole right angles, its angle as `rotation`, and the degrees it leaves."""
    matrix = next((_text(data["displaymatrix"]) for data in side_data if "displaymatrix" in data), "")
    rows = [[number_of(number) for number in row.split(":")[-1].split()] for row in matrix.strip().splitlines()]
    if len(rows) != 3 or any(len(row) != 3 or None in row for row in rows):
        return _UPRIGHT, 0, 0.0
    (a, b, _), (c, d, _), _ = ([number or 0.0 for number in row] for row in rows)
    if not a * d - b * c:
        return _UPRIGHT, 0, 0.0
    angle = math.degrees(math.atan2(b, a))
    turn = round(angle / 90) % 4
    x, y = ((1, 0), (0, 1), (-1, 0), (0, -1))[turn]
    sign = 1 if a * d - b * c > 0 else -1
    tilt = (angle + 45) % 90 - 45
    return (x, y, -y * sign, x * sign), -turn % 4 * 90, tilt if abs(tilt) > _TILT_DEGREES else 0.0


def _bits(stream: dict[str, Any]) -> int:
    """Bits per sample: from the pixel format's name, such as yuv420p10le, else as the stream declares, else 8."""
    named = next((bits for bits in (16, 14, 12, 10, 9) if f"p{bits}" in _text(stream.get("pix_fmt"))), None)
    return named or min(32, _whole(stream.get("bits_per_raw_sample")) or 8)


def _aspect(text: object) -> float:
    """A pixel's width divided by its height; 0 where unknown or beyond belief."""
    aspect = _ratio(text, ":")
    return aspect if _ASPECTS[0] <= aspect <= _ASPECTS[1] else 0.0


def _ratio(text: object, sign: str) -> float:
    """The value of a fraction such as `30000/1001`; 0 where unknown."""
    above, _, below = _text(text).partition(sign)
    numerator, denominator = _positive(above), _positive(below)
    return numerator / denominator if numerator and denominator else 0.0


def _positive(value: object) -> float | None:
    number = number_of(value)
    return number if number and number > 0 else None


def _whole(value: object) -> int | None:
    """A whole number of at least 0; None for anything else."""
    number = number_of(value)
    return round(number) if number is not None and number >= 0 else None
