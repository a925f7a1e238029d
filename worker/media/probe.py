"""Runs ffprobe on the files of a job."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from elasticrecode import wire
from worker.errors import PermanentError
from worker.media import scanning
from worker.media.clock import is_doubtful
from worker.media.demuxers import DEMUXERS, SOUND_DEMUXERS, input_options, sound_options
from worker.media.ffmpeg_errors import limit_error
from worker.media.fields import IDET, Scan, scan
from worker.media.packets import FileMeter, PacketHead, PictureClock
from worker.media.source import CHAPTER_LINES, ChapterList, Recording, Source, parse_recording, parse_source
from worker.media.video import BARE_ENTRIES, ENTRIES, FRAME_ENTRIES, Video, needs_frame, with_frame
from worker.sandbox.runner import Runner, last_lines

_SECONDS = 60
_FULL_READ_SECONDS = 600
_FIRST_PACKETS = 1500
_MAX_REPORT_BYTES = 1 << 22
_MAX_LONG_REPORT_BYTES = 1 << 26
"""Of a file whose chapters, or whose titles, make its report long."""
_FIELDS = "packet=stream_index,pts_time,dts_time,duration_time,size"
_PACKETS = ["-show_entries", _FIELDS, "-print_format", "csv=p=0"]


def probe_video(ffprobe: str, runner: Runner, path: Path, side: str = "input", *, count: bool = False) -> Video:
    """The video stream of a file in the job's folder. As `probe_source`."""
    return probe_source(ffprobe, runner, path, side, count=count).video


def probe_source(ffprobe: str, runner: Runner, path: Path, side: str = "input", *, count: bool = False) -> Source:
    """What a file in the job's folder holds; with `count`, ffprobe reads all packets to count frames.

    A file whose tracks seem to lack a size or channels is read again further; one whose rate or length is doubtful
    has them measured from its first packets. Raises PermanentError, with a code that starts with `side`, if the file
    has no video or exceeds a limit; else as `Runner.run`.
    """
    try:
        source = _probed(ffprobe, runner, path, side, count=count)
        is_whole = not any(track.is_empty for track in source.audio)
    except PermanentError as error:
        if error.failure.code != f"{side}-no-video":
            raise
        source, is_whole = None, False
    if source is None or not is_whole:
        source = _probed(ffprobe, runner, path, side, count=count, is_late=True)
        source = source._replace(video=source.video._replace(is_late=True))
    if needs_frame(source.video):
        source = source._replace(video=_with_frame(ffprobe, runner, path, side, source.video))
    video = source.video
    if not count and is_doubtful(video.clock, video.demuxer, video.width * video.height, video.file_bytes):
        video = _measured(ffprobe, runner, path, video, side)
        source = source._replace(video=video)
    runner.limits.check_video(
        side, duration=video.duration, width=video.width, height=video.height, streams=video.streams
    )
    return source


def probe_recording(ffprobe: str, runner: Runner, path: Path, side: str = "input") -> Recording:
    """The sound of a file in the job's folder, which may have pictures or not.

    Raises PermanentError, with a code that starts with `side`, if the file has no audio track or exceeds a limit; else
    as `Runner.run`.
    """
    shown = [*sound_options(runner.limits), "-show_entries", BARE_ENTRIES, "-print_format", "json"]
    report = path.with_name(f"{path.name}.probe")
    try:
        _run(ffprobe, runner, path, side, shown, _FULL_READ_SECONDS, output=report)
        recording = parse_recording(wire.decode(report.read_bytes(), object), side)
    except msgspec.DecodeError as error:
        raise PermanentError(f"{side}-corrupt", f"ffprobe's report on the {side} is not JSON: {error}.") from error
    except PermanentError as error:
        if limited := limit_error(runner.limits, side, last_lines(_log(path), path.parent)):
            raise limited from None
        if error.failure.code != f"{side}-not-video":
            raise
        message = f"The {side} is in no accepted container ({', '.join(SOUND_DEMUXERS)})."
        raise PermanentError(f"{side}-no-audio", message, error.failure.log) from error
    runner.limits.check_video(side, duration=recording.duration, width=0, height=0, streams=recording.streams)
    return recording


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


def _probed(ffprobe: str, runner: Runner, path: Path, side: str, *, count: bool, is_late: bool = False) -> Source:
    """What ffprobe reports of a file."""
    counted, seconds = ("-count_packets",) if count else (), _FULL_READ_SECONDS if count or is_late else _SECONDS
    report, listed = path.with_name(f"{path.name}.probe"), ChapterList()

    def read(entries: str, most_bytes: int) -> None:
        shown = ["-show_entries", entries, "-print_format", "json", *counted]
        _run(ffprobe, runner, path, side, shown, seconds, output=report, is_late=is_late, most_bytes=most_bytes)

    try:
        try:
            read(ENTRIES, _MAX_REPORT_BYTES)
        except PermanentError as error:
            if error.failure.code != "disk-limit":
                raise
            read(BARE_ENTRIES, _MAX_LONG_REPORT_BYTES)
            _run(ffprobe, runner, path, side, [*CHAPTER_LINES], seconds, on_line=listed.take, is_late=is_late)
        fields = wire.decode(report.read_bytes(), object)
        whole = {**fields, "chapters": listed.chapters} if listed.chapters and isinstance(fields, dict) else fields
        return parse_source(whole, side)
    except msgspec.DecodeError as error:
        raise PermanentError(f"{side}-corrupt", f"ffprobe's report on the {side} is not JSON: {error}.") from error
    except PermanentError as error:
        raise limit_error(runner.limits, side, last_lines(_log(path), path.parent)) or error from None


def meter(ffprobe: str, runner: Runner, path: Path, side: str = "output", *, is_late: bool = False) -> FileMeter:
    """Reads all packets of a file and measures its tracks. Raises as `probe_source`."""
    measured = FileMeter()
    _run(ffprobe, runner, path, side, _PACKETS, _FULL_READ_SECONDS, on_line=measured.take, is_late=is_late)
    return measured


def picture_clock(
    ffprobe: str, runner: Runner, path: Path, video: Video, interval: str = "", *, seconds: int = _FULL_READ_SECONDS
) -> PictureClock:
    """What the packets of the pictures show; `interval` is one of ffprobe's, by default the whole file. No decoding.

    Raises as `probe_source`.
    """
    shown = ["-select_streams", str(video.stream), "-show_entries", f"{_FIELDS},flags", "-print_format", "csv=p=0"]
    if interval:
        shown += ["-read_intervals", interval]
    seen = PictureClock()
    _run(ffprobe, runner, path, "input", shown, seconds, on_line=seen.take, is_late=video.is_late)
    return seen


def read_level(ffprobe: str, runner: Runner, path: Path) -> int:
    """The level that the video of an output tells, as its codec counts them; 0 where it tells none."""
    lines: list[str] = []
    shown = ["-select_streams", "v:0", "-show_entries", "stream=level", "-print_format", "csv=p=0"]
    _run(ffprobe, runner, path, "output", shown, _SECONDS, on_line=lambda line, _: lines.append(line.strip()))
    return int(lines[0]) if lines and lines[0].isdigit() else 0


def shown_ticks(ffprobe: str, runner: Runner, path: Path, stream: int) -> list[int]:
    """When the pictures of a file are shown, in ticks of their track, ascending. No decoding.

    Raises as `probe_source`.
    """
    ticks: list[int] = []

    def take(line: str, _: float) -> None:
        text = line.strip().strip(",")
        if text.lstrip("-").isdigit():
            ticks.append(int(text))

    shown = ["-select_streams", str(stream), "-show_entries", "packet=pts", "-print_format", "csv=p=0"]
    _run(ffprobe, runner, path, "input", shown, _FULL_READ_SECONDS, on_line=take)
    return sorted(ticks)


def _measured(ffprobe: str, runner: Runner, path: Path, video: Video, side: str) -> Video:
    """The video with the rate and the length that the packets of its first seconds have."""
    shown = [*_PACKETS, "-read_intervals", f"%+#{_FIRST_PACKETS}"]
    head = PacketHead(video.stream)
    _run(ffprobe, runner, path, side, shown, _SECONDS, on_line=head.take, is_late=video.is_late)
    clock = video.clock.measured(head.rate, head.bits_per_second, video.file_bytes)
    return video._replace(clock=clock, rate=clock.rate, frames=clock.frames, duration=clock.duration)


def packets(
    ffprobe: str,
    runner: Runner,
    path: Path,
    fields: str,
    on_line: Callable[[str, float], None],
    *,
    is_late: bool = False,
) -> None:
    """Give each packet's fields, in ffprobe's order and separated by commas, to `on_line`.

    They are as the container has them: no parser looks into the packets. Raises as `probe_source`.
    """
    shown = ["-fflags", "+noparse", "-show_entries", f"packet={fields}", "-print_format", "csv=p=0"]
    _run(ffprobe, runner, path, "input", shown, _FULL_READ_SECONDS, on_line=on_line, is_late=is_late)


def read_report(ffprobe: str, runner: Runner, path: Path, entries: str, *, is_late: bool = False) -> bytes:
    """The JSON report of ffprobe with these entries. Raises as `probe_source`."""
    report = path.with_name(f"{path.name}.probe")
    shown = ["-show_entries", entries, "-print_format", "json"]
    _run(ffprobe, runner, path, "input", shown, _SECONDS, output=report, is_late=is_late)
    return report.read_bytes()


def scan_fields(
    ffmpeg: str,
    runner: Runner,
    path: Path,
    video: Video,
    look: Callable[[float, int], tuple[Path, float]] | None = None,
) -> Video:
    """The video with what idet sees at a few places of it: at one place of an ordinary file. Raises Interrupted.

    `look` takes a place, as a time and a number of pictures, and returns the file in which to look and at what time.
    """
    seen = Scan()
    for start, count in scanning.places(video):
        file, time = look(start, count) if look else (path, start)
        seen = seen.joined(_seen(ffmpeg, runner, file, video, time, count))
        if scanning.is_settled(video._replace(scan=seen)):
            break
    is_surprise = seen.combed and not (video.interlaced or video.scan.combed)
    scanned = video._replace(scan=seen)
    return scan_fields(ffmpeg, runner, path, scanned, look) if is_surprise else scanned


def _seen(ffmpeg: str, runner: Runner, path: Path, video: Video, start: float, count: int) -> Scan:
    """What idet sees in so many pictures, from a time of the file on; nothing where ffmpeg fails."""
    lines: list[str] = []
    seek = ("-ss", f"{start:.3f}", "-noaccurate_seek") if start else ()
    source = ("-f", video.demuxer, "-i", f"file:{path}", "-map", f"0:{video.stream}")
    printed = ("-vf", f"{IDET},metadata=mode=print:file=-", "-frames:v", str(count), "-f", "null", "-")
    command = [ffmpeg, "-v", "error", "-nostdin", *input_options(runner.limits, is_late=video.is_late), *seek]
    try:
        runner.run(
            [*command, *source, *printed],
            path.parent,
            path.with_name(f"{path.name}.fields"),
            seconds=_SECONDS,
            on_line=lambda line, _: lines.append(line),
        )
    except PermanentError:
        return Scan()
    return scan(lines)


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
    is_late: bool = False,
    most_bytes: int = _MAX_REPORT_BYTES,
) -> None:
    """Run ffprobe; its report goes to a file or line by line to `on_line`. Raises PermanentError if it fails."""
    log = _log(path)
    arguments = [ffprobe, "-v", "error", *input_options(runner.limits, is_late=is_late), *shown, "-i", f"file:{path}"]
    status = runner.run(
        arguments, path.parent, log, seconds=seconds, file_bytes=most_bytes, output=output, on_line=on_line
    )
    if status < 0:
        raise PermanentError(f"{side}-corrupt", f"The {side} crashed ffprobe with signal {-status}.")
    if status:
        lines = last_lines(log, path.parent)
        if any("moov atom not found" in line for line in lines):
            message = f"The {side} has no index (moov), as an MP4 or MOV that was cut off: provide the whole file."
            raise PermanentError(f"{side}-corrupt", message, lines)
        message = f"The {side} is not a video in an accepted container ({', '.join(DEMUXERS)})."
        raise PermanentError(f"{side}-not-video", message, lines)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}.log")
