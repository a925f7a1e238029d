"""What a file holds, read from ffprobe's JSON report: its pictures, sound, subtitles and the rest.

Values of the wrong type or outside a sane range count as unknown, because they come from the file.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from worker.errors import PermanentError
from worker.media import timing
from worker.media.demuxers import SOUND_DEMUXERS
from worker.media.numbers import number_of
from worker.media.video import Video, parse_report

_CLOCK = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,9})?)", re.ASCII)

_LINE = 500
_ESCAPED = re.compile(r"\\(.)")
CHAPTER_LINES = (
    *("-show_entries", "chapter=start_time,end_time:chapter_tags=title:stream=:format="),
    *("-print_format", "compact=print_section=0:nokey=1"),
)
"""Options of ffprobe for a line of each chapter: start, end and title, with a bar between them."""
_MOST_LATE = 3600.0
_MOST_HALVED = 24_000
"""Hertz. AAC with spectral band replication may declare half of its rate, up to this."""


MOST_READ = 100_000
"""Chapters of a file that are read."""


class AudioTrack(NamedTuple):
    """An audio track. `stream` is its index in the file; `channels`, `rate` in hertz and `bitrate` are 0 if unknown.

    `layout` is ffmpeg's name, such as `5.1(side)`. Times are in seconds, None where unknown. `is_decodable` says that
    there is a decoder. `is_empty` says that the file announces the track, but the part that was read had none of it.
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
    is_decodable: bool = True
    is_empty: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether the track can be encoded."""
        return self.is_decodable and not self.is_empty

    def seconds(self, samples: int) -> float:
        """The length of decoded samples; 0 where the decoder's rate is unknown: it may double that of AAC to 24 kHz."""
        is_known = self.rate > 0 and (self.codec != "aac" or self.rate > _MOST_HALVED)
        return samples / self.rate if is_known else 0.0


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
    """A track that outputs leave out: data, timecodes, attachments, covers, and pictures beside the film.

    The `kind` is ffprobe's, or `program` for the tracks of another program of a transport stream.
    """

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

    @property
    def sound_starts(self) -> list[float | None]:
        """When the tracks of sound that can be encoded start, by the clock of the file."""
        return [track.start for track in self.audio if track.is_usable]

    def lateness(self, first: float | None) -> float:
        """Seconds by which ffmpeg shows tracks too early where it reads them without the rest, the first from `first`.

        In streams with a free clock it counts from the earliest track that it reads.
        """
        starts = [start for start in (self.video.start, *self.sound_starts) if start is not None]
        is_free = self.video.demuxer in timing.FREE_CLOCKS and first is not None
        return min(max(0.0, (first or 0.0) - min(starts, default=0.0)), _MOST_LATE) if is_free else 0.0

    def without_sound(self, streams: Iterable[int]) -> Self:
        """The source with these audio tracks marked as empty."""
        silent = set(streams)
        return self._replace(
            audio=tuple(track._replace(is_empty=track.is_empty or track.stream in silent) for track in self.audio)
        )


def parse_source(report: object, side: str = "input") -> Source:
    """The source that ffprobe's decoded JSON report describes. Raises PermanentError as `parse_report`."""
    video = parse_report(report, side)
    fields: Any = report if isinstance(report, dict) else {}
    audio, subtitles, others = [], [], []
    foreign = _of_other_programs(fields.get("programs"), video.stream)
    for stream in fields.get("streams", ()):
        if not isinstance(stream, dict) or not isinstance(stream.get("index"), int):
            continue
        number, codec, kind = stream["index"], _text(stream, "codec_name"), _text(stream, "codec_type")
        marks, tags = _dict(stream.get("disposition")), _dict(stream.get("tags"))
        language, title, default = _text(tags, "language"), _text(tags, "title"), bool(marks.get("default"))
        if number == video.stream:
            continue
        if number in foreign:
            others.append(OtherTrack(number, "program", codec))
        elif kind == "audio":
            audio.append(_audio_track(stream))
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


class Recording(NamedTuple):
    """The sound of a file, with or without pictures. Times are in seconds, None where unknown.

    `start` is when its earliest track starts, by its own clock.
    """

    demuxer: str
    audio: tuple[AudioTrack, ...]
    duration: float | None = None
    streams: int = 1
    start: float | None = None


def parse_recording(report: object, side: str = "input") -> Recording:
    """The sound that ffprobe's decoded JSON report describes.

    Raises PermanentError, with a code that starts with `side`, if there is none or the container is not accepted.
    """
    fields = _dict(report)
    whole, streams = _dict(fields.get("format")), fields.get("streams")
    present = [stream for stream in streams if isinstance(stream, dict)] if isinstance(streams, list) else []
    demuxer = _text(whole, "format_name").split(",")[0]
    audio = tuple(
        _audio_track(stream)
        for stream in present
        if stream.get("codec_type") == "audio" and isinstance(stream.get("index"), int)
    )
    if demuxer not in SOUND_DEMUXERS:
        raise PermanentError(
            f"{side}-no-audio", f"The {side} is in no accepted container ({', '.join(SOUND_DEMUXERS)})."
        )
    if not audio:
        raise PermanentError(f"{side}-no-audio", f"The {side} has no audio track.")
    return Recording(demuxer, audio, number_of(whole.get("duration")), len(present), number_of(whole.get("start_time")))


def _of_other_programs(programs: object, film: int) -> set[Any]:
    """The streams of those programs of a transport stream that the film is not in."""
    members = [
        {stream.get("index") for stream in listed if isinstance(stream, dict)}
        for program in (programs if isinstance(programs, list) else ())
        if isinstance(listed := _dict(program).get("streams"), list)
    ]
    own = set[Any]().union(*(streams for streams in members if film in streams))
    return set[Any]().union(*members) - own if own else set[Any]()


def _audio_track(stream: Any) -> AudioTrack:
    """The audio track that a stream of ffprobe's report describes; its index is a whole number."""
    codec, tags = _text(stream, "codec_name"), _dict(stream.get("tags"))
    return AudioTrack(
        stream["index"],
        codec,
        channels=_count(stream.get("channels")),
        layout=_text(stream, "channel_layout"),
        rate=_count(stream.get("sample_rate")),
        bitrate=_count(stream.get("bit_rate")),
        language=_text(tags, "language"),
        title=_text(tags, "title"),
        is_default=bool(_dict(stream.get("disposition")).get("default")),
        start=number_of(stream.get("start_time")),
        duration=number_of(stream.get("duration")) or _clock(_text(tags, "DURATION")),
        profile=_text(stream, "profile"),
        is_decodable=codec not in _NO_CODEC and _text(stream, "sample_fmt") not in _NO_CODEC,
        is_empty=_is_empty(stream, tags),
    )


def _chapters(chapters: object, origin: float) -> tuple[Chapter, ...]:
    """The chapters with times that can be read. `origin` is the time at which the file starts."""
    read = []
    for chapter in chapters if isinstance(chapters, list) else ():
        fields = _dict(chapter)
        start, end = number_of(fields.get("start_time")), number_of(fields.get("end_time"))
        if start is not None and end is not None and start < end:
            read.append(Chapter(max(0.0, start - origin), end - origin, _text(_dict(fields.get("tags")), "title")))
    return tuple(read[: MOST_READ + 1])


class ChapterList:
    """Reads the chapters that ffprobe prints line by line, as CHAPTER_LINES says, into `chapters` of its report."""

    def __init__(self) -> None:
        self.chapters = list[dict[str, object]]()

    def take(self, line: str, _: float) -> None:
        """Read a line of ffprobe's report."""
        start, _bar, rest = line[:_LINE].rstrip("\n").partition("|")
        end, _bar, title = rest.partition("|")
        if end and len(self.chapters) <= MOST_READ:
            self.chapters.append({"start_time": start, "end_time": end, "tags": {"title": _ESCAPED.sub(r"\1", title)}})


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


_NO_CODEC = ("", "unknown", "none")


def _is_empty(stream: Any, tags: Any) -> bool:
    """Whether ffprobe saw nothing of an audio track: no frame was decoded, or Matroska says that it has none."""
    if _count(stream.get("nb_frames")) or _text(stream, "codec_name") in _NO_CODEC:
        return False
    undecoded = stream.get("codec_name") == "aac" and _text(stream, "profile") in _NO_CODEC
    shape = _count(stream.get("channels")) and _count(stream.get("sample_rate"))
    return undecoded or not shape or _clock(_text(tags, "DURATION")) == 0


def _clock(text: str) -> float | None:
    """The seconds of a time such as 00:00:05.312; None for any other text."""
    match = _CLOCK.fullmatch(text)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None


def _text(fields: Any, name: str) -> str:
    value = fields.get(name)
    return value[:200] if isinstance(value, str) else ""


def _count(value: object) -> int:
    number = number_of(value)
    return round(number) if number and 0 < number < 2**31 else 0
