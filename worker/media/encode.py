"""One transcode, from a local file to a verified local file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from elasticrecode.jobs.events import Notice, Output, Progress
from elasticrecode.media.profiles import Ffmpeg, Profile
from worker.errors import PermanentError
from worker.media import geometry, images, metadata, scanning, silence, tally, timing
from worker.media.buffer import Rate, rate_of
from worker.media.demuxers import input_options
from worker.media.entry import enter
from worker.media.ffmpeg_errors import encoder_error, grave, limit_error
from worker.media.images import Stills
from worker.media.loudness import Meter, levelled
from worker.media.plan import Plan, arguments, make_plan
from worker.media.probe import probe_source, scan_fields
from worker.media.progress import Ticker
from worker.media.source import Source
from worker.media.subtitles import SideFile, read_subtitles
from worker.media.verify import Verified, verify
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner, last_lines
from worker.sandbox.steps import Step
from worker.settings import Settings


class Encoded(NamedTuple):
    """A finished transcode: its output, the plan by which it was made, the pictures beside it, its rate and its run."""

    output: Output
    plan: Plan
    notices: list[Notice]
    stills: Stills
    rate: Rate | None = None
    step: Step | None = None


def transcode(
    source: Path,
    target: Path,
    uri: str,
    muxer: str,
    profile: Profile,
    encode: Ffmpeg,
    settings: Settings,
    runner: Runner,
    report: Callable[[Progress], None],
    *,
    then_score: bool,
    sides: Sequence[SideFile] = (),
) -> Encoded:
    """Encode `source` into `target`, both in the job's folder, and verify the result against the plan.

    `encode` is the profile's `ffmpeg`; `uri` is where the output will be published; `muxer` is ffmpeg's name of its
    container. With `then_score`, progress counts as many frames again for the score that follows. `sides` are
    subtitles beside the input. Raises JobError or Interrupted.
    """
    if (encode.platform == "gpu") != (settings.core == "GPU"):
        message = f"This worker has CORE {settings.core}; the job needs platform {encode.platform}."
        raise PermanentError("worker-cannot", message)
    probed = inspect(source, settings, runner)
    video = enter(settings.ffprobe, runner, source, probed, encode)
    probed = probed._replace(video=video)
    texts = read_subtitles(source, probed, profile, encode, settings.ffmpeg, runner, sides)
    target.with_name(metadata.TAGS).write_text(metadata.tags(probed, encode, muxer), encoding="utf-8")
    opened = source_options(probed, encode, source, runner)
    plan = with_loudness(make_plan(probed, profile, encode, muxer, texts), opened, source.parent, settings, runner)
    frames = timing.expected_frames(video, encode, plan.picture.rate)
    ticker = Ticker(frames, timing.length(video, encode), report, after=(frames or 0) if then_score else 0)
    status, every_line = _run(plan, source, target, settings, runner, ticker)
    if streams := silence.mute(probed, plan.audio, muxer, status, tally.decoded(every_line), every_line):
        heard = probed.without_sound(streams)
        plan = with_loudness(make_plan(heard, profile, encode, muxer, texts), opened, source.parent, settings, runner)
        status, every_line = _run(plan, source, target, settings, runner, ticker)
    if status and not silence.excusable(status, tally.decoded(every_line).get((0, video.stream))):
        raise encoder_error(grave(every_line), status)
    step = runner.steps[-1]
    output = verify(settings, runner, source, target, plan, every_line)
    notices = geometry.changed(video, tally.sizes(every_line))
    size = plan.picture.size
    stills = images.finish(plan.images, size, output.film.seconds, target.parent, settings.ffmpeg, runner)
    rate = rate_of("file", encode, output.film)
    notices = [*plan.notices, *output.notices, *notices]
    return Encoded(described(output, uri, target, plan), plan, notices, stills, rate, step)


def inspect(source: Path, settings: Settings, runner: Runner) -> Source:
    """What a local file holds, and how its fields are interlaced. Raises JobError or Interrupted."""
    probed = probe_source(settings.ffprobe, runner, source)
    if not scanning.is_suspect(probed.video):
        return probed
    return probed._replace(video=scan_fields(settings.ffmpeg, runner, source, probed.video))


def _run(
    plan: Plan, source: Path, target: Path, settings: Settings, runner: Runner, ticker: Ticker
) -> tuple[int, list[str]]:
    """The exit status of ffmpeg for a plan, and the lines of its log. Raises PermanentError for a limit."""
    log = target.with_name("encode.log")
    plan.picture.write_files(target.parent)
    command = [settings.ffmpeg, *arguments(plan, str(source), str(target), runner.limits, cores())]
    seconds = runner.limits.timeout_seconds(plan.source.video.duration)
    status = runner.run(command, target.parent, log, seconds=seconds, on_line=ticker, step="encode")
    every_line = last_lines(log, target.parent)
    if error := limit_error(runner.limits, "input", grave(every_line)):
        raise error
    return status, every_line


def source_options(probed: Source, encode: Ffmpeg, source: Path, runner: Runner) -> tuple[str, ...]:
    """Options of ffmpeg that open a source where the output begins."""
    video = probed.video
    opened = (*input_options(runner.limits, is_late=video.is_late), *timing.seek_options(video, encode))
    return (*opened, "-f", video.demuxer, "-i", f"file:{source}")


def with_loudness(plan: Plan, options: Sequence[str], folder: Path, settings: Settings, runner: Runner) -> Plan:
    """The plan with the loudness of the profile, which other passes measure. Raises as `Runner.run`.

    `options` open the source, and `folder` is the job's.
    """
    audio = plan.profile.audio
    if not audio or audio.loudness is UNSET:
        return plan
    seconds = runner.limits.timeout_seconds(plan.source.video.duration)
    meter = Meter(settings.ffmpeg, runner, folder, options, seconds)
    return plan._replace(audio=levelled(plan.audio, audio.loudness, meter))


def described(output: Verified, uri: str, target: Path, plan: Plan) -> Output:
    """The output of a job that was verified, as its record has it."""
    video, film, _ = output
    return Output(
        uri=uri,
        bytes=target.stat().st_size,
        duration=round(film.seconds, 6),
        width=video.width,
        height=video.height,
        videoCodec=video.codec,
        bitrate=video.bitrate,
        frames=film.frames,
        role="file",
        frameRate=round(film.rate, 3) or None,
        peakBitrate=film.peak_bits or None,
        dynamicRange=plan.picture.signal.dynamic_range,
    )
