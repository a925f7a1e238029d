"""What a file holds, read from ffprobe's JSON report: its pictures, sound, subtitles and the rest.

Values of the wrong type or outside a sane range count as unknown, because they come from the file.
"""

from typing import Any, NamedTuple

from worker.media.numbers import number_of
from worker.media.video import Video, parse_report


class AudioTrack(NamedTuple):
    """An audio track. `stream` is its index in the file; `channels`, `rate` in hertz and `bitrate` are 0 if unknown.

    `layout` is ffmpeg's name, such as `5.1(side)`. Times are in seconds, None where unknown.
    """

    stream: int
    codec: str
    channels: int = 0
    layout: str = ""
    rate: int = 0
    bitrate: int = 0
    language: str = ""
    title: str = ""
    is_default: bool = False
    start: float | None = None
    duration: float | None = None
    profile: str = ""


class SubtitleTrack(NamedTuple):
    """A subtitle track: text, or pictures such as those of Blu-ray discs."""

    stream: int
    codec: str
    language: str = ""
    title: str = ""
    is_default: bool = False
    is_forced: bool = False
    is_for_deaf: bool = False


class OtherTrack(NamedTuple):
    """A track that outputs leave out: data, timecodes, attachments, covers, and pictures beside the film."""

    stream: int
    kind: str
    codec: str


class Chapter(NamedTuple):
    """A chapter. Times are in seconds from the start of the file's first track."""

    start: float
    end: float
    title: str = ""


class Source(NamedTuple):
    """A file: its film, the tracks beside it in their order, its chapters and its title."""

    video: Video
    audio: tuple[AudioTrack, ...] = ()
    subtitles: tuple[SubtitleTrack, ...] = ()
    others: tuple[OtherTrack, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    title: str = ""


def parse_source(report: object, side: str = "input") -> Source:
    """The source that ffprobe's decoded JSON report describes. Raises PermanentError as `parse_report`."""
    video = parse_report(report, side)
    fields: Any = report if isinstance(report, dict) else {}
    audio, subtitles, others = [], [], []
    for stream in fields.get("streams", ()):
        if not isinstance(stream, dict) or not isinstance(stream.get("index"), int):
            continue
        number, codec, kind = stream["index"], _text(stream, "codec_name"), _text(stream, "codec_type")
        marks, tags = _dict(stream.get("disposition")), _dict(stream.get("tags"))
        language, title, default = _text(tags, "language"), _text(tags, "title"), bool(marks.get("default"))
        if number == video.stream:
            continue
        if kind == "audio":
            audio.append(
                AudioTrack(
                    number,
                    codec,
                    channels=_count(stream.get("channels")),
                    layout=_text(stream, "channel_layout"),
                    rate=_count(stream.get("sample_rate")),
                    bitrate=_count(stream.get("bit_rate")),
                    language=language,
                    title=title,
                    is_default=default,
                    start=number_of(stream.get("start_time")),
                    duration=number_of(stream.get("duration")),
                    profile=_text(stream, "profile"),
                )
            )
        elif kind == "subtitle":
            forced, deaf = bool(marks.get("forced")), bool(marks.get("hearing_impaired"))
            subtitles.append(SubtitleTrack(number, codec, language, title, default, forced, deaf))
        else:
            named = codec if codec not in ("", "unknown") else _text(stream, "codec_tag_string")
            others.append(OtherTrack(number, kind, named))
    whole = _dict(fields.get("format"))
    chapters = _chapters(fields.get("chapters"), number_of(whole.get("start_time")) or 0.0)
    title = _text(_dict(whole.get("tags")), "title")
    return Source(video, tuple(audio), tuple(subtitles), tuple(others), chapters, title)


def _chapters(chapters: object, origin: float) -> tuple[Chapter, ...]:
    """The chapters with times that can be read. `origin` is the time at which the file starts."""
    read = []
    for chapter in chapters if isinstance(chapters, list) else ():
        fields = _dict(chapter)
        start, end = number_of(fields.get("start_time")), number_of(fields.get("end_time"))
        if start is not None and end is not None and start < end:
            read.append(Chapter(max(0.0, start - origin), end - origin, _text(_dict(fields.get("tags")), "title")))
    return tuple(read)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(fields: Any, name: str) -> str:
    value = fields.get(name)
    return value[:200] if isinstance(value, str) else ""


def _count(value: object) -> int:
    number = number_of(value)
    return round(number) if number and 0 < number < 2**31 else 0
