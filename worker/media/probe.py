"""Runs ffprobe on the files of a job."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from elasticrecode import wire
from worker.errors import PermanentError
from worker.media.demuxers import DEMUXERS, input_options
from worker.media.ffmpeg_errors import limit_error
from worker.media.source import Source, parse_source
from worker.media.video import ENTRIES, FRAME_ENTRIES, Video, needs_frame, with_frame
from worker.sandbox.runner import Runner, last_lines

_SECONDS = 60
_FULL_READ_SECONDS = 600
_MAX_REPORT_BYTES = 1 << 22


def probe_video(ffprobe: str, runner: Runner, path: Path, side: str = "input", *, count: bool = False) -> Video:
    """The video stream of a file in the job's folder. As `probe_source`."""
    return probe_source(ffprobe, runner, path, side, count=count).video


def probe_source(ffprobe: str, runner: Runner, path: Path, side: str = "input", *, count: bool = False) -> Source:
    """What a file in the job's folder holds; with `count`, ffprobe reads all packets to count frames.

    Raises PermanentError, with a code that starts with `side`, if the file has no video or exceeds a limit; else as
    `Runner.run`.
    """
    shown = ["-show_entries", ENTRIES, "-print_format", "json", *(("-count_packets",) if count else ())]
    report = path.with_name(f"{path.name}.probe")
    try:
        _run(ffprobe, runner, path, side, shown, _FULL_READ_SECONDS if count else _SECONDS, output=report)
        source = parse_source(wire.decode(report.read_bytes(), object), side)
    except msgspec.DecodeError as error:
        raise PermanentError(f"{side}-corrupt", f"ffprobe's report on the {side} is not JSON: {error}.") from error
    except PermanentError as error:
        raise limit_error(runner.limits, side, last_lines(_log(path), path.parent)) or error from None
    if needs_frame(source.video):
        source = source._replace(video=_with_frame(ffprobe, runner, path, side, source.video))
    video = source.video
    runner.limits.check_video(
        side, duration=video.duration, width=video.width, height=video.height, streams=video.streams
    )
    return source


def _with_frame(ffprobe: str, runner: Runner, path: Path, side: str, video: Video) -> Video:
    """The video with the tags and the HDR metadata of its first frame, if ffprobe can decode that."""
    shown = ["-select_streams", str(video.stream), "-read_intervals", "%+#1"]
    shown += ["-show_entries", FRAME_ENTRIES, "-print_format", "json"]
    report = path.with_name(f"{path.name}.frame")
    try:
        _run(ffprobe, runner, path, side, shown, _SECONDS, output=report)
        return with_frame(video, wire.decode(report.read_bytes(), object))
    except (PermanentError, msgspec.DecodeError):
        return video


def _run(
    ffprobe: str,
    runner: Runner,
    path: Path,
    side: str,
    shown: list[str],
    seconds: int,
    *,
    output: Path | None = None,
    on_line: Callable[[str, float], None] = lambda *_: None,
) -> None:
    """Run ffprobe; its report goes to a file or line by line to `on_line`. Raises PermanentError if it fails."""
    log = _log(path)
    arguments = [ffprobe, "-v", "error", *input_options(runner.limits), *shown, "-i", f"file:{path}"]
    status = runner.run(
        arguments, path.parent, log, seconds=seconds, file_bytes=_MAX_REPORT_BYTES, output=output, on_line=on_line
    )
    if status < 0:
        raise PermanentError(f"{side}-corrupt", f"The {side} crashed ffprobe with signal {-status}.")
    if status:
        message = f"The {side} is not a video in an accepted container ({', '.join(DEMUXERS)})."
        raise PermanentError(f"{side}-not-video", message, last_lines(log, path.parent))


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}.log")
