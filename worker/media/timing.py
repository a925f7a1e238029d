"""The clock of the output: which frames it gets, at which times, and the rate the encoder is told. Pure.

A second of the source is a second after its earliest track begins, as ffmpeg and players count: where the sound begins
at 0.0 and the picture at 0.7, the first frame is at 0.7, whatever the clock of the file shows there.
"""

from collections.abc import Iterable
from fractions import Fraction

from elasticrecode.jobs.events import Notice
from elasticrecode.media.profiles import SOURCE, Ffmpeg
from worker.media.steps import Step
from worker.media.video import Video

_TICKS = 90_000
_MAX_TICKS = 1_000_000
FREE_CLOCKS = ("mpegts", "mpeg")
GUARD_SECONDS = 20.0
"""A seek ends this long before `start`, or further where no key frame is between."""
_MOST_NOMINAL, _LEAST_UNUSUAL = 210, 70
"""ffmpeg takes a higher nominal rate for the clock's, where the mean is lower than the second."""
_NEAR_SECONDS = 0.05
"""An `end` at most this far behind the source, or one frame and a half, is its end."""
SYNC = "aresample=async=1000:min_comp=0.002:min_hard_comp=0.018"
"""The filter that keeps an audio track where it was beside the picture, to its end.

A gap of 18 ms or more is filled with silence, an overlap cut; the tempo changes by at most 2 % while smaller errors are
drawn to 0.
"""


def ticks(video: Video, encode: Ffmpeg) -> int:
    """Ticks a second of the encoder's clock: so many that every frame keeps its time, or the wanted rate is exact."""
    if rate := wanted_rate(encode):
        return rate.numerator if _TICKS % rate.numerator else _TICKS
    if _TICKS // 9 <= video.clock.ticks <= _MAX_TICKS:
        return video.clock.ticks
    return (
        _TICKS
        if video.clock.ticks > _MAX_TICKS or video.clock.ticks <= 0
        else video.clock.ticks * -(-_TICKS // video.clock.ticks)
    )


def seek(video: Video, encode: Ffmpeg) -> float:
    """Where ffmpeg enters the source, in seconds of the source: a while before `start`."""
    return max(0.0, _start(encode) - GUARD_SECONDS if video.entry is None else video.entry)


def seek_options(video: Video, encode: Ffmpeg) -> tuple[str, ...]:
    """Options of ffmpeg before the source. The filters of `trim` and `sound_trim` count from there."""
    entry = seek(video, encode)
    return ("-ss", f"{entry:.6f}") if entry else ()


def reference_options(video: Video, sounds: Iterable[float | None], encode: Ffmpeg) -> tuple[str, ...]:
    """Options of ffmpeg before the source where it reads the picture alone, so that second 0 is that of the transcode.

    `sounds` are the starts of the audio tracks that the transcode reads, by the clock of the file. In streams with a
    free clock ffmpeg counts from the earliest track that it reads.
    """
    starts = [start for start in (*sounds, video.start) if start is not None]
    if seek(video, encode) or video.start is None or video.demuxer not in FREE_CLOCKS:
        return seek_options(video, encode)
    offset = video.start - min(starts)
    return ("-itsoffset", f"{offset:.6f}") if 0 < offset < GUARD_SECONDS else ()


def cut_options(encode: Ffmpeg) -> tuple[str, ...]:
    """Options of ffmpeg before the source for tracks without filters, such as subtitles: they read only the cut."""
    end = _end(encode)
    start = ("-ss", f"{_start(encode):.6f}") if _start(encode) else ()
    return (*start, *(("-t", f"{end - _start(encode):.6f}") if end is not None else ()))


def trim(video: Video, encode: Ffmpeg) -> Step:
    """The filters that leave out what lies outside `start` and `end`, and give every frame a time of its own.

    Kept are the frames whose time is at least `start` and below `end`; `start` becomes 0.
    """
    clock = [f"settb=1/{ticks(video, encode)}"]
    length = video.clock.file_duration
    notices: tuple[Notice, ...] = ()
    if is_cut(encode):
        clock.append(f"trim={_range(video, encode)}")
        clock.append(f"setpts=PTS-round({_start(encode) - seek(video, encode):.6f}/TB)")
    if length:
        notices = end_beyond(encode, length, video.rate)
    later = round(ticks(video, encode) / 1000)
    clock.append(f"setpts='if(isnan(PREV_OUTPTS)+gt(PTS,PREV_OUTPTS),PTS,PREV_OUTPTS+{later})'")
    return Step(tuple(clock), notices)


def end_beyond(encode: Ffmpeg, length: float, rate: float) -> tuple[Notice, ...]:
    """The warning of an `end` behind a source of this length in seconds; `rate` is its frames per second."""
    end = _end(encode)
    if end is None or end - length <= max(_NEAR_SECONDS, 1.5 / rate if rate else 0.0):
        return ()
    message = f"The profile's end is {end:g} s, but the source ends at {length:.3f} s: the output ends there."
    return (Notice("end-beyond-source", message),)


def pace(video: Video, encode: Ffmpeg) -> Step:
    """The filters that bring the frames to the rate that the encode wants. By default every frame keeps its time."""
    rate = wanted_rate(encode)
    return Step((f"fps={rate.numerator}/{rate.denominator}",)) if rate else Step()


def last_frame_options(video: Video, encode: Ffmpeg) -> tuple[str, ...]:
    """Options of ffmpeg that give the last frame the mean duration where the container tells a false one."""
    if not video.rate or not video.clock.is_rate_guessed or wanted_rate(encode):
        return ()
    period = round(ticks(video, encode) / video.rate)
    return ("-bsf:v", f"setts=pts=PTS:dts=DTS:duration='if(eq(NEXT_PTS,NOPTS),{period},DURATION)'")


def sound_trim(video: Video, encode: Ffmpeg) -> tuple[str, ...]:
    """The filters that keep the part of an audio track between `start` and `end`, after `SYNC`."""
    if not is_cut(encode):
        return ()
    return (f"atrim={_range(video, encode)}", f"asetpts=PTS-round({_start(encode) - seek(video, encode):.6f}/TB)")


def is_cut(encode: Ffmpeg) -> bool:
    """Whether the output is a part of the source."""
    return bool(_start(encode)) or _end(encode) is not None


def mean_rate(video: Video, encode: Ffmpeg) -> float:
    """Mean frames per second of the output, which the encoder spreads its bits by; 0 where unknown."""
    rate = wanted_rate(encode)
    return float(rate) if rate else video.rate


def declared_rate(video: Video, encode: Ffmpeg, mean: float, factor: float) -> float:
    """The rate that ffmpeg declares of an output with this mean, whose filters make `factor` frames of one.

    That of a film with gaps is the rate between them.
    """
    nominal = video.clock.nominal
    is_usual = 0 < nominal <= _MOST_NOMINAL or (nominal > 0 and video.rate >= _LEAST_UNUSUAL)
    return mean if wanted_rate(encode) or video.interlaced or not is_usual else nominal * factor


def length(video: Video, encode: Ffmpeg) -> float | None:
    """Seconds of the source that the output shows; None where unknown."""
    end, whole = _end(encode), video.duration
    if whole is None:
        return None if end is None else end - _start(encode)
    return max(0.0, min(whole, whole if end is None else end) - _start(encode))


def expected_frames(video: Video, encode: Ffmpeg, rate: float) -> int | None:
    """Frames of an output of that mean rate, as far as the source tells; None where unknown."""
    if not is_cut(encode) and rate == video.rate:
        return video.frames
    seconds = length(video, encode)
    return round(seconds * rate) if seconds and rate else None


def wanted_rate(encode: Ffmpeg) -> Fraction | None:
    """The frame rate that an encode asks for; None where every frame keeps its time."""
    wanted = encode.frameRate
    return Fraction(wanted) if wanted and wanted != SOURCE else None


def _start(encode: Ffmpeg) -> float:
    return encode.start or 0.0


def _end(encode: Ffmpeg) -> float | None:
    return encode.end or None


def _range(video: Video, encode: Ffmpeg) -> str:
    end, entry = _end(encode), seek(video, encode)
    start = f"start={_start(encode) - entry:.6f}"
    return start if end is None else f"{start}:end={end - entry:.6f}"
