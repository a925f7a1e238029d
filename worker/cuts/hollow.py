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
