"""One transcode, from a local file to a verified local file."""

import re
from collections.abc import Callable
from pathlib import Path

from elasticrecode.jobs.events import Output, Progress
from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg
from worker.errors import Hopeless, encoder_error, last_lines
from worker.media import plan, probe
from worker.media.probe import Video
from worker.media.progress import Ticker
from worker.sandbox.runner import Work
from worker.settings import Settings

_NOTHING = re.compile(r"nothing was encoded|received no packets")


def transcode(
    source: Path,
    target: Path,
    uri: str,
    muxer: str,
    profile: Ffmpeg,
    settings: Settings,
    work: Work,
    report: Callable[[Progress], None],
    *,
    then_score: bool,
) -> Output:
    """Encode the source into the target, and hold that to what was asked for; `uri` is what it will be called.

    With `then_score` progress leaves room for as many frames again. Raises JobError or Interrupted.
    """
    if (profile.platform == "gpu") != (settings.core == "GPU"):
        raise Hopeless("worker-cannot", f"This worker has core {settings.core}; the job wants {profile.platform}.")
    video = probe.video(settings.ffprobe, work, source)
    arguments = plan.arguments(profile, video.demuxer, video.stream, muxer, str(source), str(target), work.limits)
    log = target.with_name("encode.log")
    ticker = Ticker(video.frames, video.duration, report, after=(video.frames or 0) if then_score else 0)
    seconds = work.limits.seconds(video.duration)
    status = work.run([settings.ffmpeg, *arguments], target.parent, log, seconds=seconds, on_line=ticker)
    lines = last_lines(log, target.parent)
    if met := work.limits.met("input", lines):
        raise met
    if status:
        raise encoder_error(lines, status)
    made = _verified(settings, work, target, video, profile, lines)
    return Output(
        uri=uri,
        bytes=target.stat().st_size,
        duration=made.duration,
        width=made.width,
        height=made.height,
        videoCodec=made.codec,
        bitrate=made.bitrate,
        frames=made.frames,
    )


def _verified(settings: Settings, work: Work, target: Path, source: Video, profile: Ffmpeg, lines: list[str]) -> Video:
    """The output as probed; Hopeless when it is not what was asked for."""
    try:
        made = probe.video(settings.ffprobe, work, target, "output", count=True)
    except Hopeless as error:
        if not target.exists() or error.failure.code == "output-no-video" or any(map(_NOTHING.search, lines)):
            raise Hopeless("input-corrupt", "Not one frame of the input could be decoded.", lines) from error
        if error.failure.code == "output-too-long":
            raise Hopeless("input-too-long", f"What was made of the input tells of it: {error}", lines) from error
        raise Hopeless("output-invalid", f"The output can't be read back: {error}", lines) from error
    wanted = f"{profile.scale.replace(':', 'x')} {encoder_of(profile.codec)[0].stream}"
    got = f"{made.width}x{made.height} {made.codec}"
    if got != wanted:
        raise Hopeless("output-invalid", f"The output is {got}, not {wanted}.", lines)
    if not made.frames:
        raise Hopeless("input-corrupt", "Not one frame of the input could be decoded.", lines)
    if source.duration and made.duration and made.duration < source.duration - max(1.0, 0.05 * source.duration):
        cut = f"Only {made.duration:.1f} s of the input's {source.duration:.1f} s could be decoded."
        raise Hopeless("input-corrupt", cut, lines)
    return made
