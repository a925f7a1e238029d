"""The video stream of a file, read from ffprobe's JSON report."""

from typing import Any, NamedTuple

from worker.errors import PermanentError
from worker.media.demuxers import DEMUXERS
from worker.media.hdr import HdrMetadata, hdr_metadata
from worker.media.numbers import number_of

HDR_CURVES = ("smpte2084", "arib-std-b67")
_INTERLACED = ("tt", "bb", "tb", "bt")
_FORMAT = "format_name,duration,bit_rate,start_time"
_STREAM = (
    "index,codec_type,codec_name,codec_tag_string,width,height,duration,nb_frames,nb_read_packets,avg_frame_rate,bit_rate,"
    "pix_fmt,bits_per_raw_sample,color_range,color_transfer,color_space,color_primaries,chroma_location,field_order,"
    "sample_aspect_ratio,r_frame_rate,time_base,start_time,profile,channels,channel_layout,sample_rate,sample_fmt"
)
ENTRIES = (
    f"format={_FORMAT}:stream={_STREAM}:stream_disposition=attached_pic,default,forced,hearing_impaired"
    ":stream_tags=language,title,alpha_mode,DURATION:stream_side_data:chapter=start_time,end_time"
    ":chapter_tags=title:format_tags=title"
)
"""Value of ffprobe's `-show_entries`: only the fields read here, so that no other metadata enters the report."""
FRAME_ENTRIES = "frame=color_range,color_space,color_primaries,color_transfer:frame_side_data"
"""The same for the first frame."""
_TELLING_DEMUXERS = ("mov", "matroska")
"""Containers with tags of their own for colour."""
_ASPECTS = (0.01, 100.0)


class Video(NamedTuple):
    """The first video stream of a file that is not cover art.

    `stream` is its index in the file, `duration` is in seconds, `bitrate` in bits per second; None where unknown.
    `frames` is counted if all packets were read, else declared by the container or estimated from duration and rate.
    `rate` is the average in frames per second, 0 where unknown. `rotation` is in degrees counter-clockwise, as a player
    applies it. `pixel_aspect` is a pixel's width divided by its height. `streams` counts all streams of the file.
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
    has_alpha: bool = False
    metadata: HdrMetadata = HdrMetadata()

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
    moving = [stream for stream in pictures if not _member(stream.get("disposition"), "attached_pic")]
    sizes = [_whole(moving[0].get(name)) for name in ("index", "width", "height")] if moving else [None]
    number, width, height = sizes if all(size is not None for size in sizes) else (None, None, None)
    if number is None or not width or not height:
        raise PermanentError(f"{side}-no-video", f"The {side} has no video stream that can be decoded.")
    if demuxer not in DEMUXERS:
        raise PermanentError(f"{side}-not-video", f"The {side} is not a video in an accepted container.")
    stream = moving[0]
    duration = _positive(stream.get("duration")) or _positive(_member(format_, "duration"))
    frames = _positive(stream.get("nb_read_packets")) or _positive(stream.get("nb_frames"))
    rate = _ratio(stream.get("avg_frame_rate"), "/")
    side_data = [data for data in _list(stream.get("side_data_list")) if isinstance(data, dict)]
    rotations = [number_of(data.get("rotation")) or 0.0 for data in side_data if "rotation" in data]
    return Video(
        demuxer=demuxer,
        stream=number,
        codec=_text(stream.get("codec_name")),
        width=width,
        height=height,
        duration=duration,
        bitrate=_whole(stream.get("bit_rate")) or _whole(_member(format_, "bit_rate")) or None,
        frames=_whole(frames or (duration or 0.0) * rate) or None,
        rate=rate,
        rotation=round(rotations[0]) % 360 if rotations else 0,
        mirrored=any(_is_mirror(_text(data.get("displaymatrix"))) for data in side_data),
        bits=_bits(stream),
        full_range=stream.get("color_range") == "pc" or _text(stream.get("pix_fmt")).startswith("yuvj"),
        hdr=stream.get("color_transfer") in HDR_CURVES,
        interlaced=stream.get("field_order") in _INTERLACED,
        pixel_aspect=_aspect(stream.get("sample_aspect_ratio")),
        streams=len(streams),
        pixel_format=_text(stream.get("pix_fmt")),
        primaries=_text(stream.get("color_primaries")),
        transfer=_text(stream.get("color_transfer")),
        matrix=_text(stream.get("color_space")),
        field_order=_text(stream.get("field_order")),
        has_alpha=_member(stream.get("tags"), "alpha_mode") == "1",
        metadata=hdr_metadata(side_data),
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
    range_ = _text(frame.get("color_range"))
    return video._replace(
        primaries=_text(frame.get("color_primaries")) or video.primaries,
        transfer=_text(frame.get("color_transfer")) or video.transfer,
        matrix=_text(frame.get("color_space")) or video.matrix,
        full_range=range_ == "pc" if range_ in ("tv", "pc") else video.full_range,
        metadata=video.metadata.joined(hdr_metadata(side_data)),
    )


def _member(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_mirror(matrix: str) -> bool:
    """Whether a display matrix, printed by ffprobe as three rows of three numbers, mirrors the picture."""
    rows = [[number_of(number) for number in row.split(":")[-1].split()] for row in matrix.strip().splitlines()]
    if len(rows) != 3 or any(len(row) != 3 or None in row for row in rows):
        return False
    (a, b, _), (c, d, _), _ = ([number or 0.0 for number in row] for row in rows)
    return a * d - b * c < 0


def _bits(stream: dict[str, Any]) -> int:
    """Bits per sample: from the pixel format's name, such as yuv420p10le, else as the stream declares, else 8."""
    named = next((bits for bits in (16, 14, 12, 10, 9) if f"p{bits}" in _text(stream.get("pix_fmt"))), None)
    return named or min(32, _whole(stream.get("bits_per_raw_sample")) or 8)


def _aspect(text: object) -> float:
    """A pixel's width divided by its height; 1 where unknown or outside 0.01 to 100."""
    aspect = _ratio(text, ":")
    return aspect if _ASPECTS[0] <= aspect <= _ASPECTS[1] else 1.0


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
