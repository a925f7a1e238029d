"""Verifies a transcode: the output read back, measured, and held against what was decoded of the input."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from elasticrecode.jobs.events import Notice
from elasticrecode.media.codecs import encoder_of
from worker.errors import PermanentError
from worker.media import colour, damage, silence, tally, timing
from worker.media.damage import Damage
from worker.media.demuxers import input_options
from worker.media.ffmpeg_errors import grave
from worker.media.numbers import number_of
from worker.media.packets import FileMeter, TrackMeter
from worker.media.plan import Plan
from worker.media.probe import meter, probe_source
from worker.media.source import Source
from worker.media.tally import Decoded
from worker.media.video import Video
from worker.sandbox.runner import Runner
from worker.settings import Settings

_NOTHING_ENCODED = re.compile(r"nothing was encoded|received no packets")
_CHANGES_COUNT = re.compile(r"(fps|trim|framestep|select)\b")
"""Filters after which there are more frames, or fewer, than were decoded."""
_CODED = {"p010le": "yuv420p10le"}
"""Pixel format that an encoder takes → the one that decoders show of its output, where it is another."""
_LOOK_SECONDS = 600


class Verified(NamedTuple):
    """An output that was read back: its video, the measures of its picture, and warnings."""

    video: Video
    film: TrackMeter
    notices: list[Notice]


def verify(
    settings: Settings, runner: Runner, source: Path, target: Path, plan: Plan, every_line: list[str]
) -> Verified:
    """The output of a transcode by a plan, which ended with these lines of ffmpeg's log.

    Raises PermanentError if it does not match the plan or lacks frames; `input-corrupt` where the input is damaged
    beyond `damage.TOLERANCE`. Less damage is a warning, with the second at which it begins.
    """
    lines, counts = grave(every_line), tally.decoded(every_line)
    read, measured = read_back(settings, runner, target, plan, lines)
    output, silent = read.video, silence.check(plan.audio, read.audio, counts, every_line)
    film = measured.tracks.get(output.stream, TrackMeter())
    pictures = counts.get((0, plan.source.video.stream))
    if not film.frames:
        raise _nothing(plan, pictures, lines)
    if pictures and film.frames < _least(plan, pictures) and not any(map(_CHANGES_COUNT.match, plan.picture.filters)):
        message = f"The output has {film.frames} frames of {_least(plan, pictures)}; {pictures.frames} were decoded."
        raise PermanentError("output-invalid", message, lines)
    sounds = [track for stream, track in sorted(measured.tracks.items()) if stream != output.stream]
    notices = [*silent, *_damage(settings, runner, source, plan, film, sounds, counts, lines, tally.paced(every_line))]
    if pictures and pictures.frames == 1:
        message = "The input has one picture, where a film is meant: the output shows it, and no more."
        notices.append(Notice("still-picture", message))
    return Verified(output, film, [*notices, *colour.verify(plan.source.video, output, plan.picture.signal)])


def is_empty(lines: list[str]) -> bool:
    """Whether the log of ffmpeg says that an output got no frame."""
    return any(map(_NOTHING_ENCODED.search, lines))


def _least(plan: Plan, pictures: Decoded) -> int:
    """Frames that the output has at least: of the last group of five that was stretched by pulldown, any may lack."""
    factor = plan.picture.factor
    return max(1, int(pictures.frames * factor) - (4 if factor < 1 else 0))


def _damage(
    settings: Settings,
    runner: Runner,
    source: Path,
    plan: Plan,
    film: TrackMeter,
    sounds: list[TrackMeter],
    counts: Mapping[tuple[int, int], Decoded],
    lines: list[str],
    paced: int | None,
) -> list[Notice]:
    """The warnings of what the output lacks. Raises PermanentError `input-corrupt`."""
    begin = min(track.start for track in (film, *sounds)) if plan.muxer in timing.FREE_CLOCKS else 0.0
    end = max(track.end for track in (film, *sounds)) - begin
    notices = damage.sound(plan, counts, sounds)
    if pictures := counts.get((0, plan.source.video.stream)):
        loss = Damage(plan, pictures, film, (begin, end), lines, paced)
        if loss.lost or loss.marred:
            second = loss.second
            if second is None:
                second = _first_damage(settings, runner, source, plan)
                if second is not None and second < 0:
                    second = _first_damage(settings, runner, source, plan, plan.picture.encode.start or 0.0)
            if _is_outside(plan, second):
                loss.outside()
            damage.check(loss, second, damage.signs(lines) or lines)
            notice = loss.notice(second)
            notices = [*notices, notice] if notice else notices
    return [*notices, *damage.hidden(plan, film), *damage.shorter(plan, film, end)]


def read_back(
    settings: Settings, runner: Runner, target: Path, plan: Plan, lines: list[str]
) -> tuple[Source, FileMeter]:
    """An output and the measures of its tracks. Raises PermanentError where its picture is not that of the plan."""
    try:
        read = probe_source(settings.ffprobe, runner, target, "output")
    except PermanentError as error:
        if not target.exists() or error.failure.code == "output-no-video" or is_empty(lines):
            raise _nothing(plan, None, lines) from error
        if error.failure.code == "output-too-long":
            raise PermanentError("input-too-long", f"The input lasts too long: {error}", lines) from error
        raise PermanentError("output-invalid", f"The output cannot be read back: {error}", lines) from error
    picture, output = plan.picture, read.video
    stream, format_ = encoder_of(picture.encode.codec)[0].stream, picture.signal.pixel_format
    expected = f"{picture.size.width}x{picture.size.height} {stream} {_CODED.get(format_, format_)}"
    actual = f"{output.width}x{output.height} {output.codec} {output.pixel_format}"
    if actual != expected:
        raise PermanentError("output-invalid", f"The output is {actual}, not {expected}.", lines)
    return read, meter(settings.ffprobe, runner, target)


def _nothing(plan: Plan, pictures: Decoded | None, lines: list[str]) -> PermanentError:
    """The error of an output without a frame."""
    start = plan.picture.encode.start or 0.0
    if start and not damage.signs(lines) and not (pictures and pictures.errors):
        return PermanentError("start-beyond-source", f"The input has no frame at or after second {start:g}.", lines)
    return PermanentError("input-corrupt", "No frame of the input could be decoded.", lines)


def _is_outside(plan: Plan, second: float | None) -> bool:
    """Whether decoding first fails behind the part of the source that is wanted, or not at all."""
    encode = plan.picture.encode
    if not timing.is_cut(encode):
        return False
    return second is None or (bool(encode.end) and second >= (encode.end or 0.0) - (encode.start or 0.0))


def _first_damage(
    settings: Settings, runner: Runner, source: Path, plan: Plan, entry: float | None = None
) -> float | None:
    """The second, from the first frame, at which decoding the picture first fails; None if it does not.

    Of a part, from its start: negative before it. `entry` is where the source is entered, by default as for the part.
    """
    video, encode, times = plan.source.video, plan.picture.encode, list[float]()
    entry = timing.seek(video, encode) if entry is None else entry

    def take(line: str, _: float) -> None:
        fields = line.split(",")
        time = number_of(fields[2].strip()) if len(fields) > 2 and not line.startswith("#") else None
        if time is not None:
            times[1:] = [time / 1000]

    arguments = [
        *(settings.ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-xerror", "-threads", "1"),
        *input_options(runner.limits, is_late=video.is_late),
        *(("-ss", f"{entry:.6f}") if entry else ()),
        *("-f", video.demuxer, "-i", f"file:{source}", "-map", f"0:{video.stream}"),
        *(("-t", f"{encode.end - entry:.6f}") if encode.end else ()),
        *("-vf", "settb=1/1000,scale=2:2:flags=neighbor", "-fps_mode", "passthrough", "-enc_time_base", "1/1000"),
        *("-flush_packets", "1", "-f", "framecrc", "pipe:1"),
    ]
    status = runner.run(arguments, source.parent, source.with_name("damage.log"), seconds=_LOOK_SECONDS, on_line=take)
    if not status:
        return None
    if timing.is_cut(encode):
        return entry + (times[-1] if times else 0.0) - (encode.start or 0.0)
    return times[-1] - times[0] if times else 0.0
