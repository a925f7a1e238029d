"""A hollow copy of a source: a sparse file of the same length that has only some of its bytes, and zeros elsewhere.

Programs that read a file by its index read the same of it as of the source, as long as what they read is filled.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from elasticrecode import wire
from worker.cuts.objects import CLOSE, Bytes, Span, joined
from worker.cuts.recipes import Uncuttable
from worker.errors import PermanentError
from worker.media import scanning
from worker.media.numbers import number_of
from worker.media.probe import probe_source, read_report, scan_fields
from worker.media.source import Source
from worker.media.video import Video
from worker.sandbox.runner import Runner
from worker.settings import Settings

_NAME = "input"
_LIMITS = ("-too-large", "-too-long", "-too-many-pixels", "-too-many-streams")


class Hollow:
    """The hollow copy of a source in the job's folder."""

    def __init__(self, source: Bytes, folder: Path, settings: Settings, runner: Runner) -> None:
        self.source, self.settings, self.runner = source, settings, runner
        self.path = folder / _NAME
        with self.path.open("wb") as file:
            file.truncate(source.size)

    def fill(self, spans: Iterable[Span], gap: int = CLOSE) -> None:
        """Fill in these bytes of the source. Those that lie at most `gap` bytes apart are read together."""
        wanted = [Span(each.offset, min(each.end, self.source.size) - each.offset) for each in joined(spans)]
        wanted = [each for each in wanted if each.size > 0]
        self.source.fetch(wanted, self.path, [each.offset for each in wanted], gap)

    def put(self, place: int, content: bytes) -> None:
        """Fill in bytes of the source that have been read."""
        with self.path.open("r+b") as file:
            file.seek(place)
            file.write(content)

    def probed(self) -> Source:
        """What the source holds. Raises Uncuttable where ffprobe cannot tell by the bytes that are filled in."""
        try:
            return probe_source(self.settings.ffprobe, self.runner, self.path)
        except PermanentError as error:
            if error.failure.code.endswith(_LIMITS):
                raise
            raise Uncuttable(f"ffprobe cannot read it by its index: {error}") from error

    def scanned(self, source: Source, look: Callable[[float, int], tuple[Path, float]]) -> Source:
        """The source with what idet sees at the places that `look` makes ready. See `scan_fields`."""
        video = source.video
        if not scanning.is_suspect(video):
            return source
        seen = scan_fields(self.settings.ffmpeg, self.runner, self.path, video, look)
        return source._replace(video=seen)

    def report(self, entries: str, video: Video | None = None) -> dict[str, Any]:
        """The fields of ffprobe's report that these entries name. Raises Uncuttable."""
        is_late = video is not None and video.is_late
        try:
            shown = read_report(self.settings.ffprobe, self.runner, self.path, entries, is_late=is_late)
            return msgspec.convert(wire.decode(shown, object), dict[str, Any])
        except (PermanentError, msgspec.MsgspecError) as error:
            raise Uncuttable(f"ffprobe cannot read it by its index: {error}") from error


def film_ticks(hollow: Hollow, video: Video) -> tuple[float, int, dict[int, dict[str, Any]]]:
    """When the file starts in seconds of its clock, the ticks of the film in a second, and ffprobe's fields of streams.

    Raises Uncuttable.
    """
    report = hollow.report("format=start_time:stream=index,id,time_base,codec_type", video)
    streams = {each["index"]: each for each in report.get("streams", []) if isinstance(each.get("index"), int)}
    start = number_of(dict(report.get("format") or {}).get("start_time")) or 0.0
    return start, _ticks(streams.get(video.stream, {}).get("time_base")), streams


def _ticks(time_base: object) -> int:
    above, _, below = str(time_base).partition("/")
    if above != "1" or not below.isdigit() or not 0 < int(below) < 2**31:
        raise Uncuttable(f"its clock ticks in {time_base} s")
    return int(below)


def rescaled(seconds: float, ticks: int) -> int:
    """The ticks nearest to a time that has whole microseconds, as ffmpeg rounds: half of one away from 0."""
    micros = round(seconds * 1_000_000)
    whole = (2 * abs(micros) * ticks + 1_000_000) // 2_000_000
    return whole if micros >= 0 else -whole
