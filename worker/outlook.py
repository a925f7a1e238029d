"""What a job will encode of a source: its outputs as plans, before anything is encoded."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from elasticrecode.jobs.job import Job
from worker.chunks import ChunkEncoder
from worker.cuts.index import Index, make_cut
from worker.division import span_name
from worker.films import FILE, Work, encodes_of
from worker.media import pieces, rates, timing
from worker.media.ladder import Ends, Ladder, plan_ladder
from worker.media.pieces import Chunk
from worker.media.plan import Plan, make_plan
from worker.media.source import Source
from worker.media.subtitles import SubtitlePlan

_UNKNOWN_RATE = 30.0
_NO_TEXTS = SubtitlePlan()


class Outlook(NamedTuple):
    """The encodes of a job as plans: that of its one file, and the ladder of its package."""

    source: Source
    file: Plan | None
    ladder: Ladder | None
    ends: Ends

    @property
    def length(self) -> float | None:
        """Seconds of the output; None where unknown."""
        plan = self.file or (self.ladder.rungs[0] if self.ladder else None)
        return timing.length(self.source.video, plan.picture.encode) if plan else None

    @property
    def grid(self) -> Fraction:
        """Seconds from one time at which a chunk can begin to the next."""
        if self.file:
            return pieces.grid(self.file.picture.encode)
        if not self.ladder:
            raise ValueError("the job encodes nothing")
        return self.ladder.gop_seconds

    def plan(self, output: int) -> Plan:
        """The plan of an output by its number."""
        plan = self.file if output == FILE else self.ladder.rungs[output] if self.ladder else None
        if not plan:
            raise ValueError(output)
        return plan

    def pixels(self, output: int) -> float:
        """The pixels that an output has in a second."""
        picture = self.plan(output).picture
        rate = picture.rate or self.source.video.rate or _UNKNOWN_RATE
        return picture.size.width * picture.size.height * rate

    def work(
        self, bounds: Sequence[tuple[Fraction, Fraction]], weights: Sequence[float], costs: Sequence[float]
    ) -> list[Work]:
        """What each part encodes."""
        last = len(bounds) - 1
        result = []
        for number, ((start, end), weight, cost) in enumerate(zip(bounds, weights, costs, strict=True)):
            chunk = Chunk(start, end if number < last else None)
            span = rates.Span(float(end - start), weight)
            file = chunk if self.file else None
            result.append(Work(span_name(start, end), cost, file, self._of_ladder(chunk), span))
        return result

    def _of_ladder(self, chunk: Chunk) -> Chunk | None:
        """The chunk of the rungs: that of the file, at the next times of their own keyframes."""
        if not self.ladder:
            return None
        gop = self.ladder.gop_seconds
        return Chunk(*(None if time is None else round(time / gop) * gop for time in chunk))  # type: ignore[arg-type]


def outlook(job: Job, source: Source, ends: Ends) -> Outlook:
    """The encodes of a job of this source. Raises PermanentError for a source that cannot come out right."""
    profile, encodes = job.profile, encodes_of(job, source)
    file = make_plan(source, profile, profile.ffmpeg, "mp4") if profile.ffmpeg else None
    rungs = [encode for number, encode in encodes.items() if number != FILE]
    ladder = plan_ladder(source, profile, rungs, _NO_TEXTS, ends) if rungs else None
    return Outlook(source, file, ladder, ends)


def first_picture(encoder: ChunkEncoder, index: Index, grid: Fraction, begin: float) -> Fraction:
    """The second of the output at which its first picture is shown, from which the times of its keyframes count."""
    cut = encoder.folder / "first"
    make_cut(index.film, index.recipe(begin, begin + float(grid)), encoder.source, cut, encoder.runner)
    shown = [time for time in encoder.times(cut) if time >= 0]
    cut.unlink()
    wanted = timing.wanted_rate(encoder.job.profile.ffmpeg) if encoder.job.profile.ffmpeg else None
    first = min(shown, default=Fraction(0))
    return Fraction(round(first * wanted), 1) / wanted if wanted else first


def last_picture(encoder: ChunkEncoder, index: Index, grid: Fraction, begin: float, end: Fraction) -> Fraction:
    """The second of the output at which its last picture is shown, before `end`."""
    cut = encoder.folder / "last"
    recipe = index.recipe(begin + float(max(Fraction(0), end - grid)), None)
    make_cut(index.film, recipe, encoder.source, cut, encoder.runner)
    shown = [time for time in encoder.times(cut) if time < end]
    cut.unlink()
    return max(shown, default=end)


def seconds_of(work: Work, begin: float) -> tuple[float, float | None]:
    """The seconds of the source that a part needs; the file's output begins at its second `begin`."""
    chunks = [(begin, work.file)] if work.file else []
    chunks += [(0.0, work.rungs)] if work.rungs else []
    ends = [None if chunk.end is None else offset + float(chunk.end) for offset, chunk in chunks]
    known = [end for end in ends if end is not None]
    return min(offset + float(chunk.start) for offset, chunk in chunks), max(known) if len(known) == len(ends) else None
