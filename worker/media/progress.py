"""The progress of ffmpeg, from the lines it prints with `-progress`."""

import time
from collections.abc import Callable

from elasticrecode.jobs.events import Progress

_TICK_SECONDS = 1.0


class ProgressReader:
    """Reads the `-progress` lines of a run over `frames` frames that last `duration` seconds; either may be None.

    If the job has several runs, `before` and `after` are the frames of the others; percent and eta are the job's.
    Progress counts frames, not ffmpeg's time, which is that of whichever stream is ahead. The rate is measured from the
    first frame that the encoder puts out, so that filling its lookahead does not spoil the estimate.
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
        frame = int(_number(self._values.get("frame")) or 0)
        if frame and not self._first:
            self._first = frame, elapsed
        progress = Progress(frame=frame, fps=_number(self._values.get("fps")))
        if not self._frames:
            return progress
        progress.percent = round(
            min(100.0, 100 * (self._before + frame) / (self._before + self._frames + self._after)), 1
        )
        if self._first and elapsed > self._first[1]:
            rate = (frame - self._first[0]) / (elapsed - self._first[1])
            if rate > 0:
                progress.etaSeconds = round((max(0, self._frames - frame) + self._after) / rate, 1)
                progress.speed = round(rate * self._duration / self._frames, 2) if self._duration else None
        return progress


class Ticker:
    """Reports progress of a program: the first at once, then at most once a second. See `ProgressReader`."""

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
        if progress and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK_SECONDS
            self._report(progress)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
