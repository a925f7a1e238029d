"""One transcode, from a local file to a verified local file."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from elasticrecode.jobs.events import Notice, Output, Progress
from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg, Profile
from worker.errors import PermanentError
from worker.media import colour, geometry, images, metadata, tally
from worker.media.demuxers import input_options
from worker.media.ffmpeg_errors import encoder_error, grave, limit_error
from worker.media.images import Stills
from worker.media.loudness import Meter, levelled
from worker.media.plan import Plan, arguments, make_plan
from worker.media.probe import probe_source, probe_video
from worker.media.progress import Ticker
from worker.media.tally import Decoded
from worker.media.video import Video
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

_CODED = {"p010le": "yuv420p10le"}
"""Pixel format that an encoder takes → the one that decoders show of its output, where it is another."""
_NOTHING_ENCODED = re.compile(r"nothing was encoded|received no packets")


class Encoded(NamedTuple):
    """A finished transcode: its output, the plan by which it was made, and the pictures beside it."""

    output: Output
    plan: Plan
    notices: list[Notice]
    stills: Stills


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
) -> Encoded:
    """Encode `source` into `target`, both in the job's folder, and verify the result against the plan.

    `encode` is the profile's `ffmpeg`; `uri` is where the output will be published; `muxer` is ffmpeg's name of its
    container. With `then_score`, progress counts as many frames again for the score that follows. Raises JobError or
    Interrupted.
    """
    if (encode.platform == "gpu") != (settings.core == "GPU"):
        message = f"This worker has CORE {settings.core}; the job needs platform {encode.platform}."
        raise PermanentError("worker-cannot", message)
    probed = probe_source(settings.ffprobe, runner, source)
    video = probed.video
    plan = _levelled(make_plan(probed, profile, encode, muxer), source, settings, runner)
    log = target.with_name("encode.log")
    target.with_name(metadata.TAGS).write_text(metadata.tags(probed, encode, muxer), encoding="utf-8")
    ticker = Ticker(video.frames, video.duration, report, after=(video.frames or 0) if then_score else 0)
    seconds = runner.limits.timeout_seconds(video.duration)
    plan.picture.write_files(target.parent)
    command = [settings.ffmpeg, *arguments(plan, str(source), str(target), runner.limits, cores())]
    status = runner.run(command, target.parent, log, seconds=seconds, on_line=ticker)
    every_line = last_lines(log, target.parent)
    lines = grave(every_line)
    if error := limit_error(runner.limits, "input", lines):
        raise error
    if status:
        raise encoder_error(lines, status)
    output, notices = _verified(settings, runner, target, plan, tally.decoded(every_line), lines)
    notices += geometry.changed(plan.source.video, tally.sizes(every_line))
    length, size = output.duration or 0.0, plan.picture.size
    stills = images.finish(plan.images, size, length, target.parent, settings.ffmpeg, runner)
    return Encoded(_described(output, uri, target, plan), plan, [*plan.notices, *notices], stills)


def _levelled(plan: Plan, source: Path, settings: Settings, runner: Runner) -> Plan:
    """The plan with the loudness of the profile, which other passes measure. Raises as `Runner.run`."""
    audio, video = plan.profile.audio, plan.source.video
    if not audio or audio.loudness is UNSET:
        return plan
    options = (*input_options(runner.limits), "-f", video.demuxer, "-i", f"file:{source}")
    meter = Meter(settings.ffmpeg, runner, source.parent, options, runner.limits.timeout_seconds(video.duration))
    return plan._replace(audio=levelled(plan.audio, audio.loudness, meter))


def _described(output: Video, uri: str, target: Path, plan: Plan) -> Output:
    return Output(
        uri=uri,
        bytes=target.stat().st_size,
        duration=output.duration,
        width=output.width,
        height=output.height,
        videoCodec=output.codec,
        bitrate=output.bitrate,
        frames=output.frames,
        role="file",
        frameRate=round(output.rate, 3) or None,
        dynamicRange=plan.picture.signal.dynamic_range,
    )


def _verified(
    settings: Settings,
    runner: Runner,
    target: Path,
    plan: Plan,
    counts: Mapping[tuple[int, int], Decoded],
    lines: list[str],
) -> tuple[Video, list[Notice]]:
    """The output's video, and warnings. Raises PermanentError if it does not match the plan, or lacks frames."""
    try:
        output = probe_video(settings.ffprobe, runner, target, "output", count=True)
    except PermanentError as error:
        nothing = any(map(_NOTHING_ENCODED.search, lines))
        if not target.exists() or error.failure.code == "output-no-video" or nothing:
            raise PermanentError("input-corrupt", "No frame of the input could be decoded.", lines) from error
        if error.failure.code == "output-too-long":
            raise PermanentError("input-too-long", f"The input lasts too long: {error}", lines) from error
        raise PermanentError("output-invalid", f"The output cannot be read back: {error}", lines) from error
    picture = plan.picture
    stream, format_ = encoder_of(picture.encode.codec)[0].stream, picture.signal.pixel_format
    expected = f"{picture.size.width}x{picture.size.height} {stream} {_CODED.get(format_, format_)}"
    actual = f"{output.width}x{output.height} {output.codec} {output.pixel_format}"
    if actual != expected:
        raise PermanentError("output-invalid", f"The output is {actual}, not {expected}.", lines)
    if not output.frames:
        raise PermanentError("input-corrupt", "No frame of the input could be decoded.", lines)
    pictures = counts.get((0, plan.source.video.stream))
    if pictures and output.frames < pictures.frames:
        message = f"The output has {output.frames} frames; {pictures.frames} were decoded."
        raise PermanentError("output-invalid", message, lines)
    notices = list(colour.verify(plan.source.video, output, picture.signal))
    if pictures and pictures.frames == 1:
        message = "The input has one picture, where a film is meant: the output shows it, and no more."
        notices.append(Notice("still-picture", message))
    return output, notices
