"""The progress of an encoder, from its `-progress` lines."""

import time
from collections.abc import Callable

from elasticrecode.jobs.events import Progress

_TICK_SECONDS = 1.0


class ProgressReader:
    """Reads `-progress` lines of a run over `frames` frames lasting `duration` seconds; either may be None.

    Of a job with several runs, `before` and `after` are the frames of the others; percent and eta are of the job.
    Frames are counted rather than time: the encoder's time is that of whichever stream is ahead. The rate is taken from
    the first frame that came out, so that filling the encoder's lookahead does not spoil the estimate.
    """

    def __init__(self, frames: int | None, duration: float | None, *, before: int = 0, after: int = 0) -> None:
        self._frames = frames
        self._before = before
        self._after = after
        self._duration = duration
        self._seen: dict[str, str] = {}
        self._first: tuple[int, float] | None = None

    def feed(self, line: str, elapsed: float) -> Progress | None:
        """The progress when the line ends a report, `elapsed` seconds after the encoder started."""
        key, _, value = line.strip().partition("=")
        self._seen[key] = value.strip()
        if key != "progress":
            return None
        frame = int(_number(self._seen.get("frame")) or 0)
        if frame and not self._first:
            self._first = frame, elapsed
        progress = Progress(frame=frame, fps=_number(self._seen.get("fps")))
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


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


class Ticker:
    """Reports a program's progress, the first at once and then at most one a second; see `ProgressReader`."""

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
        """Take a line of the program's output."""
        progress = self._reader.feed(line, elapsed)
        if progress and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK_SECONDS
            self._report(progress)
