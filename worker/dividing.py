"""A film that takes one worker long: its holder divides it, has its chunks encoded, and joins them.

open by ranges → estimate → analyse the rate → store plan and parts → sound, chunks → join → finish
"""

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from elasticrecode.jobs.job import Job, plays_early
from elasticrecode.media.profiles import Profile, platform
from worker.chunks import FILE, ChunkEncoder, FilmPlan, Place, Plans, Work, encodes_of
from worker.cuts.index import Index, has_pieces, make_cut, open_index
from worker.cuts.objects import StoredObject
from worker.cuts.recipes import Uncuttable
from worker.division import Choice, Estimate, choose, chunk_costs, estimate, plan_chunks, span_name, with_short_start
from worker.errors import PermanentError
from worker.media import pieces, rates, timing
from worker.media.chunk import level_of
from worker.media.encode import inspect
from worker.media.ladder import Ends, Ladder, declared_ends, plan_ladder
from worker.media.pieces import Chunk
from worker.media.plan import Plan, make_plan
from worker.media.rates import Coded, RatePlan
from worker.media.source import Source
from worker.media.subtitles import SubtitlePlan
from worker.parts import Parts
from worker.sandbox.machine import cores
from worker.settings import Settings

_log = logging.getLogger(__name__)

_UNKNOWN_RATE = 30.0
_EARLY_WINDOWS = 2
"""Windows that are encoded in one round where somebody waits to watch: the chunks that follow correct the rest."""
_INDEXED = ("mov", "mp4")
"""Demuxers of containers whose index tells where each packet of each track lies."""
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


def obstacle(job: Job, plans: Outlook) -> str:
    """Why a film cannot be divided into chunks, in a sentence; empty where it can."""
    profile = job.profile
    if platform(profile) != "cpu":
        return "Encodes on GPUs are not divided."
    if profile.subtitles and profile.subtitles.burn:
        return "Films with burnt-in subtitles are not divided."
    if _is_constant(profile) and profile.split != "auto":
        return 'It has a bitrate, which chunks meet as a whole, not in each moment: "split": "auto" divides it.'
    if plans.source.video.demuxer in timing.FREE_CLOCKS and profile.ffmpeg and profile.ffmpeg.start:
        return "One worker encodes a part of a transport stream: it has no index to cut the sound by."
    if plans.length is None:
        return "Its length is unknown."
    every = [*([plans.file] if plans.file else []), *(plans.ladder.rungs if plans.ladder else [])]
    if any(plan.picture.factor < 1 for plan in every):
        return "It was stretched by pulldown, whose cycles of five pictures chunks would cut."
    return ""


def _is_constant(profile: Profile) -> bool:
    """Whether the output file has a bitrate that is its own cap."""
    return bool(profile.ffmpeg and profile.ffmpeg.bitrate)


class Divided(NamedTuple):
    """A film that is divided, as its holder knows it. `index` is None until it is needed."""

    plan: FilmPlan
    plans: Plans
    source: StoredObject
    opened: Index | None = None


def find_division(at: Place, parts: Parts) -> Divided | str:
    """The film as this attempt, or an earlier one, has divided it into chunks; else why it has none, if that is known.

    Raises JobError or Interrupted.
    """
    if parts.division:
        return _adopted(at, parts) if parts.division.kind == "chunk" else ""
    job, settings, runner = at.job, at.settings, at.runner
    source = StoredObject(at.storage, job.input, runner)
    try:
        probed, index = open_index(source, at.folder, settings, runner)
    except Uncuttable as uncuttable:
        return f"The source cannot be cut: {uncuttable}."
    plans = outlook(job, probed, declared_ends(probed) or Ends(0.0, 0.0))
    reason = obstacle(job, plans)
    choice, work = _chosen(job, plans, settings, reason)
    if choice.kind != "chunk":
        if not plans.ladder:
            _tell(parts, choice, settings)
        return reason
    return _divide(at, parts, plans, index, source, work, choice)


def tell_undivided(at: Place, parts: Parts, reason: str) -> None:
    """Store why a film that keeps this worker busy for long is not divided. The source lies in the job's folder.

    Raises JobError or Interrupted.
    """
    probed = inspect(at.folder / "input", at.settings, at.runner)
    choice, _ = _chosen(at.job, outlook(at.job, probed, Ends(0.0, 0.0)), at.settings, reason)
    _tell(parts, choice, at.settings)


def _tell(parts: Parts, choice: Choice, settings: Settings) -> None:
    if choice.seconds > settings.divide_seconds:
        parts.undivided(choice.seconds, choice.reason)


def _chosen(job: Job, plans: Outlook, settings: Settings, reason: str) -> tuple[Choice, Estimate]:
    """Whether a job is divided, and its work; `reason` says why its film has no chunks."""
    work = estimate(job.profile, plans.length, plans.file.picture if plans.file else None, plans.ladder)
    return choose(work, cores(), settings.divide_seconds, reason, never=job.profile.split == "never"), work


def _adopted(at: Place, parts: Parts) -> Divided:
    division = parts.division
    if not division:
        raise ValueError("the job has no parts")
    plans = Plans(at.storage, parts.start(division.attempt))
    film = plans.plan()
    _store_parts(parts, film, division.estimatedSeconds, division.reason)
    return Divided(film, plans, StoredObject(at.storage, at.job.input, at.runner, etag=film.etag))


def _store_parts(parts: Parts, film: FilmPlan, seconds: float, reason: str) -> None:
    """Store the parts, of an adopted film those that are missing."""
    work = film.work
    parts.divide("chunk", [each.name for each in work], [each.cost for each in work], seconds, reason)


def _divide(
    at: Place, parts: Parts, plans: Outlook, index: Index, source: StoredObject, work: Estimate, choice: Choice
) -> Divided:
    """Divide the film: its plan and recipes first, so that whoever finds a part finds them."""
    job, grid = at.job, plans.grid
    film = FilmPlan(plans.source, index.film, plans.ends, source.etag, [], {}, _needs_pieces(job, plans.source, index))
    stored = Plans(at.storage, parts.start(parts.attempt))
    encoder = ChunkEncoder(at._replace(report=lambda _: None), film, stored, source, list)
    begin = (job.profile.ffmpeg.start or 0.0) if plans.file and job.profile.ffmpeg else 0.0
    first = _first_picture(encoder, index, grid, begin) if plans.file else Fraction(0)
    length = Fraction(plans.length or 0.0).limit_denominator(1_000_000) - first
    if length <= 0:
        raise PermanentError("start-beyond-source", f"The input has no frame at or after second {begin:g}.")
    steps = [min(grid * number, length) for number in range(int(-(-length // grid)) + 1)]
    weights = index.weights([begin, *(begin + float(first + step) for step in steps[1:])])
    longest = at.settings.chunk_seconds
    least = {"least": longest} if _is_constant(job.profile) else {}  # short ones lose more of a rate that is its cap
    bounds = plan_chunks(length, grid, work.total / float(length), longest, weights, **least)
    if plays_early(job.profile):
        bounds = with_short_start(bounds, grid)
    number_of = {step: number for number, step in enumerate(steps)}
    coded = [float(sum(weights[number_of[start] : number_of[end]])) for start, end in bounds]
    costs = chunk_costs(bounds, grid, work.total, weights)
    whole = plans.work([(first + start if start else start, first + end) for start, end in bounds], coded, costs)
    film_spans = [
        rates.Span(float(end - start), float(weight))
        for start, end, weight in zip(steps, steps[1:], weights, strict=False)
    ]
    lead = pieces.lead(plans.source.video)
    recipes = [index.recipe(*seconds_of(each, begin), lead) for each in whole]
    rate_plans = _analysed(encoder, plans, index, film_spans, [first + step for step in steps], begin)
    levels = {
        output: level_of(plans.plan(output), at.settings, at.runner, at.folder)
        for output, plan in rate_plans.items()
        if plan.peak
    }
    film = structs.replace(film, work=whole, rates=rate_plans, levels=levels)
    stored.store(film, recipes)
    _store_parts(parts, film, choice.seconds, choice.reason)
    return Divided(film, stored, source, index)


def _first_picture(encoder: ChunkEncoder, index: Index, grid: Fraction, begin: float) -> Fraction:
    """The second of the output at which its first picture is shown, from which the times of its keyframes count."""
    cut = encoder.folder / "first"
    make_cut(index.film, index.recipe(begin, begin + float(grid)), encoder.source, cut, encoder.runner)
    shown = [time for time in encoder.times(cut) if time >= 0]
    cut.unlink()
    wanted = timing.wanted_rate(encoder.job.profile.ffmpeg) if encoder.job.profile.ffmpeg else None
    first = min(shown, default=Fraction(0))
    return Fraction(round(first * wanted), 1) / wanted if wanted else first


def _needs_pieces(job: Job, source: Source, index: Index) -> bool:
    """Whether the workers of chunks bring the rest of the film: its container has no index of other tracks."""
    profile = job.profile
    is_heard = bool(source.audio) and not (profile.audio and profile.audio.codec == "none")
    is_trimmed = bool(profile.ffmpeg and (profile.ffmpeg.start or profile.ffmpeg.end))
    if source.video.demuxer in _INDEXED and is_trimmed:
        return False  # the chunks leave out what lies before the first of them
    return has_pieces(index) and (is_heard or bool(profile.subtitles and source.subtitles))


def _analysed(
    encoder: ChunkEncoder,
    plans: Outlook,
    index: Index,
    film: Sequence[rates.Span],
    steps: Sequence[Fraction],
    begin: float,
) -> dict[int, RatePlan]:
    """The rate control of each output. Encodes short windows of the film where a bitrate is wanted.

    `film` are the spans of the film between the times `steps`, `begin` the second of the source where the output does.
    """
    encodes = encodes_of(encoder.job, encoder.plan.source)
    coded: dict[int, list[Coded]] = {output: [] for output, encode in encodes.items() if not encode.quality}
    factors = {output: rates.first_crf(encodes[output], plans.pixels(output)) for output in coded}
    is_early = plays_early(encoder.job.profile)
    numbers = rates.windows(film)[: _EARLY_WINDOWS if is_early else None] if coded else []
    cuts: dict[int, Path] = {}
    wanted = set(coded)
    while wanted:
        for number in numbers:
            start, end = steps[number], steps[number + 1]
            chunk = Chunk(start, end)
            work = Work(
                "",
                0.0,
                chunk if FILE in encodes else None,
                chunk if encoder.job.profile.package else None,
                film[number],
            )
            if number not in cuts:
                cuts[number] = encoder.folder / f"window-{number}"
                recipe = index.recipe(*seconds_of(work, begin), pieces.lead(encoder.plan.source.video))
                make_cut(index.film, recipe, encoder.source, cuts[number], encoder.runner)
            probing = {
                output: rates.probe_encode(encode, factors[output]) if output in factors else encode
                for output, encode in encodes.items()
            }
            groups = encoder.targets(work, probing, f"window-{number}")
            for output, figures in encoder.run(groups, cuts[number], work.seconds).items():
                if output in wanted:
                    coded[output].append(Coded(film[number], factors[output], 8 * figures.bytes))
        if is_early:
            break
        following = {output: rates.next_crf(encodes[output], film, coded[output]) for output in wanted}
        factors |= {output: factor for output, factor in following.items() if factor is not None}
        wanted = {output for output, factor in following.items() if factor is not None}
    for path in encoder.folder.glob("*window-*"):
        path.unlink()
    return {output: rates.analysed(encode, film, coded.get(output, ())) for output, encode in encodes.items()}


def seconds_of(work: Work, begin: float) -> tuple[float, float | None]:
    """The seconds of the source that a part needs; the file's output begins at its second `begin`."""
    chunks = [(begin, work.file)] if work.file else []
    chunks += [(0.0, work.rungs)] if work.rungs else []
    ends = [None if chunk.end is None else offset + float(chunk.end) for offset, chunk in chunks]
    known = [end for end in ends if end is not None]
    return min(offset + float(chunk.start) for offset, chunk in chunks), max(known) if len(known) == len(ends) else None
