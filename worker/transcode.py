"""One transcode, from the input on S3 to the verified output on S3."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from elasticrecode import jobs
from elasticrecode.events import Output, Progress, Result
from elasticrecode.jobs import Job
from elasticrecode.profiles import Ffmpeg
from worker import ffmpeg, probe
from worker.failures import Hopeless, Passing
from worker.probe import Video
from worker.settings import Settings
from worker.storage import Storage
from worker.work import Work

_TICK_SECONDS = 1.0
_LOG_LINES = 20


def transcode(
    job: Job,
    settings: Settings,
    storage: Storage,
    work: Work,
    report: Callable[[Progress], None],
    may_publish: Callable[[], None],
) -> Result:
    """Do the job in a folder of its own, which is removed in any case.

    Reports progress at most once a second. `may_publish` is asked right before the output appears and raises when the
    claim is lost. Raises JobError or Interrupted; then nothing was published.
    """
    profile = job.profile.ffmpeg
    if not profile:
        raise Hopeless("worker-cannot", "This worker transcodes; the job asks for something else.")
    if (profile.platform == "gpu") != (settings.core == "GPU"):
        raise Hopeless("worker-cannot", f"This worker has core {settings.core}; the job wants {profile.platform}.")
    with tempfile.TemporaryDirectory(prefix="job-") as folder:
        source, target, log = Path(folder, "input"), Path(folder, "output"), Path(folder, "log")
        storage.download(job.input, source)
        work.check()
        video = probe.video(settings.ffprobe, source)
        form = ffmpeg.container(jobs.name(job.input))
        arguments = ffmpeg.arguments(profile, video.demuxer, video.stream, form.muxer, str(source), str(target))
        status = work.run([settings.ffmpeg, *arguments], log, _Ticker(video, report))
        lines = log.read_text(errors="replace").replace(folder, "").splitlines()[-_LOG_LINES:]
        if status:
            raise _encoder_error(lines, status)
        made = _verified(settings, target, video, profile, lines)
        uri = job.output + form.name
        work.check()
        may_publish()
        storage.upload(target, uri)
        return Result(
            outputs=[
                Output(
                    uri=uri,
                    bytes=target.stat().st_size,
                    duration=made.duration,
                    width=made.width,
                    height=made.height,
                    videoCodec=made.codec,
                    bitrate=made.bitrate,
                    frames=made.frames,
                )
            ]
        )


class _Ticker:
    """Reports the encoder's progress, the first at once and then at most one a second."""

    def __init__(self, video: Video, report: Callable[[Progress], None]) -> None:
        self._reader = ffmpeg.ProgressReader(video.frames, video.duration)
        self._report = report
        self._next = 0.0

    def __call__(self, line: str, elapsed: float) -> None:
        progress = self._reader.feed(line, elapsed)
        if progress and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK_SECONDS
            self._report(progress)


def _encoder_error(lines: list[str], status: int) -> Hopeless | Passing:
    text = "\n".join(lines)
    if "No space left on device" in text:
        return Passing("disk-full", "The worker's disk is full.", lines)
    if "Invalid data found" in text or "moov atom not found" in text:
        return Hopeless("input-corrupt", "The input is damaged; its own data can't be decoded.", lines)
    return Hopeless("encoder-failed", f"The encoder ended with status {status}.", lines)


def _verified(settings: Settings, target: Path, source: Video, profile: Ffmpeg, lines: list[str]) -> Video:
    """The output as probed; Hopeless when it is not what was asked for."""
    try:
        made = probe.video(settings.ffprobe, target, count=True)
    except Hopeless as error:
        if not target.exists() or "no video stream" in str(error):
            raise Hopeless("input-corrupt", "Not one frame of the input could be decoded.", lines) from error
        raise Hopeless("output-invalid", f"The output can't be read back: {error}", lines) from error
    wanted = f"{profile.scale.replace(':', 'x')} {ffmpeg.CODEC_NAMES[profile.codec]}"
    got = f"{made.width}x{made.height} {made.codec}"
    if got != wanted:
        raise Hopeless("output-invalid", f"The output is {got}, not {wanted}.", lines)
    if not made.frames:
        raise Hopeless("input-corrupt", "Not one frame of the input could be decoded.", lines)
    if source.duration and made.duration and made.duration < source.duration - max(1.0, 0.05 * source.duration):
        cut = f"Only {made.duration:.1f} s of the input's {source.duration:.1f} s could be decoded."
        raise Hopeless("input-corrupt", cut, lines)
    return made
