"""One transcode, from a local file to a verified local file."""

import re
from collections.abc import Callable
from pathlib import Path

from elasticrecode.jobs.events import Output, Progress
from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg
from worker.errors import PermanentError
from worker.media import plan
from worker.media.ffmpeg_errors import encoder_error, limit_error
from worker.media.probe import probe_video
from worker.media.progress import Ticker
from worker.media.video import Video
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

_NOTHING_ENCODED = re.compile(r"nothing was encoded|received no packets")


def transcode(
    source: Path,
    target: Path,
    uri: str,
    muxer: str,
    profile: Ffmpeg,
    settings: Settings,
    runner: Runner,
    report: Callable[[Progress], None],
    *,
    then_score: bool,
) -> Output:
    """Encode `source` into `target`, both in the job's folder, and verify the result against the profile.

    `uri` is where the output will be published; `muxer` is ffmpeg's name of its container. With `then_score`, progress
    counts as many frames again for the score that follows. Raises JobError or Interrupted.
    """
    if (profile.platform == "gpu") != (settings.core == "GPU"):
        message = f"This worker has CORE {settings.core}; the job needs platform {profile.platform}."
        raise PermanentError("worker-cannot", message)
    video = probe_video(settings.ffprobe, runner, source)
    arguments = plan.encode_arguments(
        profile, video.demuxer, video.stream, muxer, str(source), str(target), runner.limits
    )
    log = target.with_name("encode.log")
    ticker = Ticker(video.frames, video.duration, report, after=(video.frames or 0) if then_score else 0)
    seconds = runner.limits.timeout_seconds(video.duration)
    status = runner.run([settings.ffmpeg, *arguments], target.parent, log, seconds=seconds, on_line=ticker)
    lines = last_lines(log, target.parent)
    if error := limit_error(runner.limits, "input", lines):
        raise error
    if status:
        raise encoder_error(lines, status)
    output = _verified(settings, runner, target, video, profile, lines)
    return Output(
        uri=uri,
        bytes=target.stat().st_size,
        duration=output.duration,
        width=output.width,
        height=output.height,
        videoCodec=output.codec,
        bitrate=output.bitrate,
        frames=output.frames,
    )


def _verified(
    settings: Settings, runner: Runner, target: Path, source: Video, profile: Ffmpeg, lines: list[str]
) -> Video:
    """The output's video. Raises PermanentError if it does not match the profile, or is shorter than the source."""
    try:
        output = probe_video(settings.ffprobe, runner, target, "output", count=True)
    except PermanentError as error:
        nothing = any(map(_NOTHING_ENCODED.search, lines))
        if not target.exists() or error.failure.code == "output-no-video" or nothing:
            raise PermanentError("input-corrupt", "No frame of the input could be decoded.", lines) from error
        if error.failure.code == "output-too-long":
            raise PermanentError("input-too-long", f"The input lasts too long: {error}", lines) from error
        raise PermanentError("output-invalid", f"The output cannot be read back: {error}", lines) from error
    expected = f"{profile.scale.replace(':', 'x')} {encoder_of(profile.codec)[0].stream}"
    actual = f"{output.width}x{output.height} {output.codec}"
    if actual != expected:
        raise PermanentError("output-invalid", f"The output is {actual}, not {expected}.", lines)
    if not output.frames:
        raise PermanentError("input-corrupt", "No frame of the input could be decoded.", lines)
    if source.duration and output.duration and output.duration < source.duration - max(1.0, 0.05 * source.duration):
        message = f"Only {output.duration:.1f} s of the input's {source.duration:.1f} s could be decoded."
        raise PermanentError("input-corrupt", message, lines)
    return output
