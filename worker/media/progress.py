"""The progress of ffmpeg, from the lines it prints with `-progress`."""

import time
from collections.abc import Callable

from elasticrecode.jobs.events import Progress
from worker.media.numbers import number_of

_TICK_SECONDS = 1.0
_ALMOST = 99.9
"""The most percent that an unfinished job has."""


class ProgressReader:
    """Reads the `-progress` lines of a run over `frames` frames that last `duration` seconds; either may be None.

    If the job has several runs, `before` and `after` are the frames of the others; percent and eta are the job's.
    Progress counts frames, not ffmpeg's time, which is that of whichever stream is ahead. The rate is measured from the
    first frame that the encoder puts out, so that filling its lookahead does not spoil the estimate. With more frames
    than were expected, percent and eta are unknown until the run ends.
    """

    def __init__(self, frames: int | None, duration: float | None, *, before: int = 0, after: int = 0) -> None:
        self._frames = frames
        self._before = before
        self._after = after
        self._duration = duration
        self._values: dict[str, str] = {}
        self._first: tuple[int, float] | None = None

    def feed(self, line: str, elapsed: float) -> Progress | None:
        """The progress if the line ends a report, else None. `elapsed` is in seconds since the encoder started."""
        key, _, value = line.strip().partition("=")
        self._values[key] = value.strip()
        if key != "progress":
            return None
        frame = int(number_of(self._values.get("frame")) or 0)
        if frame and not self._first:
            self._first = frame, elapsed
        progress = Progress(frame=frame, fps=number_of(self._values.get("fps")))
        frames, after = self._frames, self._after
        if frames and value.strip() == "end":
            frames, after = max(1, frame), frame if after else 0
        if not frames or frame > frames:
            return progress
        share = (self._before + frame) / (self._before + frames + after)
        progress.percent = min(_ALMOST, max(0.0, round(100 * share, 1)))
        if self._first and elapsed > self._first[1]:
            rate = (frame - self._first[0]) / (elapsed - self._first[1])
            if rate > 0:
                progress.etaSeconds = round((max(0, frames - frame) + after) / rate, 1)
                progress.speed = round(rate * self._duration / frames, 2) if self._duration else None
        return progress


class Ticker:
    """Reports progress of a program: the first and the last at once, else once a second. See `ProgressReader`."""

    def __init__(
        self,
        frames: int | None,
        duration: float | None,
        report: Callable[[Progress], None],
        *,
        before: int = 0,
        after: int = 0,
    ) -> None:
        self._reader = ProgressReader(frames, duration, before=before, after=after)
        self._report = report
        self._next = 0.0

    def __call__(self, line: str, elapsed: float) -> None:
        """Take a line of the program's output, `elapsed` seconds after its start."""
        progress = self._reader.feed(line, elapsed)
        if progress and (time.monotonic() >= self._next or line.strip() == "progress=end"):
            self._next = time.monotonic() + _TICK_SECONDS
            self._report(progress)


class JobProgress:
    """Reports the progress of a job of several runs, whose percent never falls: where it would, it is left out."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        self._report = report
        self._highest = 0.0

    def __call__(self, progress: Progress) -> None:
        """Report the progress of one of the runs."""
        if progress.percent is not None and progress.percent < self._highest:
            progress.percent = progress.etaSeconds = None
        self._highest = max(self._highest, progress.percent or 0.0)
        self._report(progress)
