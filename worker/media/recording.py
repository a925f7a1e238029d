"""Jobs for sound alone: one run of ffmpeg from a file with or without pictures to an audio file, verified."""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import UNSET

from elasticrecode.jobs.events import Notice, Output, Progress
from elasticrecode.media.profiles import Audio, Profile
from worker.errors import PermanentError
from worker.media import audio, tally
from worker.media.audio import AudioPlan, plan_audio
from worker.media.demuxers import sound_options
from worker.media.ffmpeg_errors import encoder_error, grave, limit_error
from worker.media.loudness import Meter, levelled
from worker.media.numbers import number_of
from worker.media.probe import probe_recording
from worker.media.source import Recording
from worker.media.tally import Decoded
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

_SHORT_SECONDS = 0.5


def extract(
    source: Path,
    target: Path,
    uri: str,
    muxer: str,
    profile: Profile,
    settings: Settings,
    runner: Runner,
    report: Callable[[Progress], None],
) -> tuple[Output, list[Notice]]:
    """Encode the sound of `source` into `target`, both in the job's folder; the output, and warnings.

    `muxer` is ffmpeg's name of the output's container, and `uri` where it will be published. Raises JobError or
    Interrupted.
    """
    recording = probe_recording(settings.ffprobe, runner, source)
    plan = _planned(recording, profile, muxer)
    if not plan.tracks:
        reasons = " ".join(notice.message for notice in plan.notices)
        raise PermanentError("input-no-audio", f"The input has no sound that can be decoded. {reasons}")
    options = (*sound_options(runner.limits), "-f", recording.demuxer, "-i", f"file:{source}")
    seconds = runner.limits.timeout_seconds(recording.duration)
    wanted = profile.audio or Audio()
    if wanted.loudness is not UNSET:
        plan = levelled(plan, wanted.loudness, Meter(settings.ffmpeg, runner, source.parent, options, seconds))
    command = [settings.ffmpeg, *arguments(plan, options, muxer, str(target))]
    log = target.with_name("encode.log")
    status = runner.run(command, target.parent, log, seconds=seconds, on_line=_Ticker(recording.duration, report))
    every_line = last_lines(log, target.parent)
    lines = grave(every_line)
    if error := limit_error(runner.limits, "input", lines):
        raise error
    if status:
        raise encoder_error(lines, status)
    try:
        output = probe_recording(settings.ffprobe, runner, target, "output")
    except PermanentError as error:
        if error.failure.code != "output-no-audio":
            raise
        raise PermanentError("input-corrupt", "No sound of the input could be decoded.", lines) from error
    notices = _checked(recording, plan, output, tally.decoded(every_line), lines)
    size = target.stat().st_size
    bitrate = round(8 * size / output.duration) if output.duration else None
    described = Output(uri=uri, bytes=size, duration=output.duration, bitrate=bitrate, role="file")
    return described, [*plan.notices, *notices]


def arguments(
    plan: AudioPlan, options: tuple[str, ...], muxer: str, target: str, finishing: tuple[str, ...] = ()
) -> list[str]:
    """Arguments of ffmpeg, without the program's name. `options` open the source; `finishing` ones end the output's."""
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "level+verbose", "-nostats", "-progress", "pipe:1"),
        *options,
        *(word for graph in audio.graphs(plan) for word in ("-filter_complex", graph)),
        *("-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
        *audio.output_options(plan),
        *(("-movflags", "+faststart") if muxer == "ipod" else ()),
        *(*finishing, "-f", muxer, f"file:{target}"),
    ]


def _planned(recording: Recording, profile: Profile, muxer: str) -> AudioPlan:
    """The tracks of the output: one, where the container holds no more."""
    plan = plan_audio(recording.audio, recording.demuxer, profile, muxer)
    if muxer != "opus" or len(plan.tracks) < 2:
        return plan
    message = f"Opus files hold one track; {len(plan.tracks) - 1} more are left out."
    return AudioPlan(plan.tracks[:1], (*plan.notices, Notice("audio-tracks-left-out", message)))


def _checked(
    recording: Recording,
    plan: AudioPlan,
    output: Recording,
    counts: Mapping[tuple[int, int], Decoded],
    lines: list[str],
) -> list[Notice]:
    """Warnings of an output. Raises PermanentError if it does not match the plan, or nothing was decoded."""
    expected = [(track.stream_codec, track.channels) for track in plan.tracks if track.stream_codec]
    actual = [(track.codec, track.channels) for track in output.audio]
    if len(expected) == len(plan.tracks) and actual != expected:
        raise PermanentError("output-invalid", f"The output has {actual}, not {expected}.", lines)
    sources = {track.stream: track for track in recording.audio}
    notices = []
    for number, (track, result) in enumerate(zip(plan.tracks, output.audio, strict=False)):
        heard = counts.get((0, track.streams[0]))
        if not heard or track.stream_codec == "":
            continue
        if not heard.samples:
            raise PermanentError("input-corrupt", "No sound of the input could be decoded.", lines)
        decoded = sources[track.streams[0]].seconds(heard.samples)
        if decoded - (result.duration or output.duration or 0.0) > _SHORT_SECONDS:
            message = f"Audio track {number + 1} lasts {result.duration or 0:.3f} s; {decoded:.3f} s were decoded."
            notices.append(Notice("sound-shorter", message))
        if heard.errors:
            message = f"{heard.errors} of {heard.packets} packets of audio track {number + 1} could not be decoded."
            notices.append(Notice("sound-damaged", message))
    return notices


class _Ticker:
    """Reports the progress of a run over `duration` seconds of sound, None if unknown, by ffmpeg's `-progress`."""

    def __init__(self, duration: float | None, report: Callable[[Progress], None]) -> None:
        self._duration = duration
        self._report = report
        self._next = 0.0

    def __call__(self, line: str, elapsed: float) -> None:
        """Take a line of the program's output, `elapsed` seconds after its start."""
        key, _, value = line.strip().partition("=")
        if key != "out_time_us" or elapsed < self._next:
            return
        self._next = elapsed + 1.0
        done = (number_of(value) or 0.0) / 1e6
        known = self._duration is not None and 0 < done < self._duration
        self._report(Progress(percent=round(100 * done / self._duration, 1) if known and self._duration else None))
