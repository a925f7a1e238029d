"""Encodes the sound of a film whose pictures others encode: the packets that an undivided encode would write."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from elasticrecode.media.profiles import Profile
from worker.errors import PermanentError
from worker.media import audio, silence, tally, timing
from worker.media.audio import AudioPlan
from worker.media.demuxers import input_options
from worker.media.encode import with_loudness
from worker.media.ffmpeg_errors import encoder_error, grave, limit_error
from worker.media.plan import BEGINNING, Plan, make_plan
from worker.media.probe import probe_recording
from worker.media.source import Recording, Source
from worker.media.tally import Decoded
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

OnLine = Callable[[str, float], None]
"""Takes a line of a program's standard output, and the seconds since its start."""
_CONTAINER = {"matroska": "matroska"}
"""Muxer of the output → that of the encoded sound, by default MP4: the one whose rounding and padding it has."""
_RATE = math.lcm(48_000, 44_100)
"""Ticks a second of the clock of an MP4, in which tracks begin at whole ones."""
_SPEED = 60.0
"""Seconds of a stereo track that one core decodes and encodes in a second."""


class Sound(NamedTuple):
    """The sound of a film.

    `plan` is that of the film, with the tracks that have sound and the levels that were measured. `file` has the tracks
    that are encoded, in their order; None without any. The others are copied from `rest`, whose clock shows `start`
    seconds at the start of the source. `counts` and `lines` are what ffmpeg tells of the run.
    """

    plan: Plan
    file: Path | None = None
    rest: Path | None = None
    start: float = 0.0
    counts: Mapping[tuple[int, int], Decoded] = {}
    lines: tuple[str, ...] = ()

    @property
    def encoded(self) -> list[int]:
        """The numbers of the tracks that are encoded."""
        return [number for number, track in enumerate(self.plan.audio.tracks) if track.codec != "copy"]


def expected_seconds(source: Source, profile: Profile) -> float:
    """Seconds in which a worker encodes the sound of a film, about."""
    wanted = profile.audio.tracks if profile.audio else UNSET
    tracks = len(source.audio) if wanted == "all" else len(wanted) if isinstance(wanted, list) else 1
    return (source.video.duration or 0.0) * tracks / _SPEED


def encode_sound(plan: Plan, rest: Path | None, settings: Settings, runner: Runner, on_line: OnLine) -> Sound:
    """Encode the sound of a film by its plan, from a file in the job's folder: the source without pictures.

    The tracks of `rest` have the numbers and the clock that they have in the source. `on_line` takes what ffmpeg tells
    of its progress. Raises JobError or Interrupted.
    """
    if not rest or not plan.audio.tracks:
        return Sound(plan)
    recording = probe_recording(settings.ffprobe, runner, rest)
    _check(plan, recording)
    start, opening = _opening(plan, recording, rest, runner)
    planned = with_loudness(plan, opening, rest.parent, settings, runner)
    file = rest.with_name("sound")
    status, lines = _run(planned, opening, file, settings, runner, on_line)
    streams = silence.mute(plan.source, planned.audio, plan.muxer, status, tally.decoded(lines), lines, alone=True)
    if streams:
        heard = plan.source.without_sound(streams)
        muted = make_plan(heard, plan.profile, plan.picture.encode, plan.muxer, plan.subtitles)
        planned = with_loudness(plan._replace(audio=muted.audio), opening, rest.parent, settings, runner)
        status, lines = _run(planned, opening, file, settings, runner, on_line)
    if status and status != silence.ERROR_RATE:
        raise encoder_error(grave(lines), status)
    sound = Sound(planned, file, rest, start, tally.decoded(lines), tuple(lines))
    return sound if sound.encoded else sound._replace(file=None)


def _check(plan: Plan, recording: Recording) -> None:
    """Raise PermanentError where the file has not the tracks of the source."""
    there = {track.stream: track.codec for track in recording.audio}
    source = {track.stream: track.codec for track in plan.source.audio}
    streams = {stream for track in plan.audio.tracks for stream in track.streams}
    if any(there.get(stream) != source.get(stream) for stream in streams):
        raise PermanentError("output-invalid", "The file without pictures has other audio tracks than the source.")


def _opening(plan: Plan, recording: Recording, rest: Path, runner: Runner) -> tuple[float, tuple[str, ...]]:
    """The second of its clock at which the source starts, and options of ffmpeg that open the file there.

    ffmpeg counts from the earliest track of a file; in streams with a free clock, unless it seeks, from the earliest
    that it reads.
    """
    video, encode = plan.source.video, plan.picture.encode
    streams = {stream for track in plan.audio.tracks for stream in track.streams}
    starts = [track.start for track in recording.audio if track.stream in streams and track.start is not None]
    used = min(starts, default=recording.start) if video.demuxer in timing.FREE_CLOCKS else recording.start
    entry, late = timing.seek(video, encode), _later(recording.start, video.start)
    if entry > late:
        moved: tuple[str, ...] = ("-ss", f"{entry - late:.6f}")
    else:
        offset = _later(used, video.start) - entry
        moved = ("-itsoffset", f"{offset:.6f}") if offset else ()
    opened = input_options(runner.limits, is_late=video.is_late)
    start = min((second for second in (used, video.start) if second is not None), default=0.0)
    return start, (*opened, *moved, "-f", video.demuxer, "-i", f"file:{rest}")


def _later(start: float | None, picture: float | None) -> float:
    """Seconds by which tracks start after the picture."""
    return max(0.0, start - picture) if start is not None and picture is not None else 0.0


def _run(
    plan: Plan, opening: tuple[str, ...], target: Path, settings: Settings, runner: Runner, on_line: OnLine
) -> tuple[int, list[str]]:
    """The exit status of ffmpeg, and the lines of its log. Raises PermanentError for a limit."""
    log = target.with_name("sound.log")
    command = [settings.ffmpeg, *arguments(plan, opening, target)]
    seconds = runner.limits.timeout_seconds(plan.source.video.duration)
    status = runner.run(command, target.parent, log, seconds=seconds, on_line=on_line, step="sound")
    lines = last_lines(log, target.parent)
    if error := limit_error(runner.limits, "input", grave(lines)):
        raise error
    return status, lines


def container(plan: Plan) -> str:
    """Ffmpeg's name of the container of the encoded sound."""
    return _CONTAINER.get(plan.muxer, "mp4")


def arguments(plan: Plan, opening: tuple[str, ...], target: Path) -> list[str]:
    """Arguments of ffmpeg, without the program's name. Tracks that are copied later are only read."""
    tracks = plan.audio.tracks
    encoded = AudioPlan(tuple(track for track in tracks if track.codec != "copy"))
    copied = [word for each in tracks if each.codec == "copy" for word in ("-map", f"0:{each.streams[0]}")]
    bare = ("-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1")
    clock = ("-movie_timescale", str(_RATE)) if container(plan) == "mp4" else ()
    file = (*audio.output_options(encoded), *bare, *clock, "-f", container(plan), f"file:{target}")
    return [
        *BEGINNING,
        *opening,
        *(word for graph in audio.graphs(plan.audio) for word in ("-filter_complex", graph)),
        *(file if encoded.tracks else ()),
        *((*copied, "-c", "copy", "-f", "null", "-") if copied else ()),
    ]
