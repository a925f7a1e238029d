"""A film that takes one worker long: its holder divides it, has its chunks encoded, and joins them.

open by ranges → estimate → analyse the rate → store plan and parts → sound, chunks → join → finish
"""

import logging
from fractions import Fraction
from typing import NamedTuple

from msgspec import structs

from elasticrecode.jobs.job import Job, plays_early
from elasticrecode.media.profiles import Profile, Target, platform
from worker.chunks import Place
from worker.cuts.index import Index, open_index
from worker.cuts.objects import StoredObject
from worker.cuts.recipes import Uncuttable
from worker.division import Choice, Estimate, choose, chunk_costs, estimate, plan_chunks, with_short_start
from worker.films import FILE, FilmPlan, Plans, encodes_of
from worker.goals import Goal, target_of
from worker.media import pieces, rates, timing
from worker.media.chunk import level_of
from worker.media.encode import inspect
from worker.media.ladder import Ends, declared_ends
from worker.media.rates import Coded, RatePlan
from worker.outlook import Outlook, outlook, seconds_of
from worker.parts import Parts
from worker.probing import Prober, find_goal, prober_of
from worker.sandbox.machine import cores
from worker.settings import Settings

_log = logging.getLogger(__name__)

_EARLY_WINDOWS = 2
"""Windows that are encoded in one round where somebody waits to watch: the chunks that follow correct the rest."""
_AIMED = "A target of quality is met part by part."
_AIMED_SECONDS = 60.0
"""The longest chunk of a film with a target of quality: one that misses is encoded again."""


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
    choice = choose(work, cores(), settings.divide_seconds, reason, never=job.profile.split == "never")
    if target_of(job.profile) and not reason:
        return choice._replace(kind="chunk", reason=_AIMED), work
    return choice, work


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
    job, settings = at.job, at.settings
    stored = Plans(at.storage, parts.start(parts.attempt))
    prober = prober_of(at, plans, index, source, source.etag)
    bounds = _bounds(job, prober, work, settings)
    number_of = {step: number for number, step in enumerate(prober.steps)}
    coded = [float(sum(prober.weights[number_of[start] : number_of[end]])) for start, end in bounds]
    costs = chunk_costs(bounds, plans.grid, work.total, prober.weights)
    first = prober.first
    whole = plans.work([(first + start if start else start, first + end) for start, end in bounds], coded, costs)
    lead = pieces.lead(plans.source.video)
    recipes = [index.recipe(*seconds_of(each, prober.begin), lead) for each in whole]
    goal = find_goal(prober, at.known)
    rate_plans = _analysed(prober, goal)
    prober.close()
    levels = {
        output: level_of(plans.plan(output), settings, at.runner, at.folder)
        for output, plan in rate_plans.items()
        if plan.peak
    }
    film = structs.replace(prober.encoder.plan, work=whole, rates=rate_plans, levels=levels, goal=goal)
    stored.store(film, recipes)
    _store_parts(parts, film, choice.seconds, choice.reason)
    return Divided(film, stored, source, index)


def _bounds(job: Job, prober: Prober, work: Estimate, settings: Settings) -> list[tuple[Fraction, Fraction]]:
    """The chunks of a film: from when to when, in seconds from its first picture."""
    length, grid, longest = prober.length, prober.plans.grid, settings.chunk_seconds
    if job.profile.split == "never":
        return [(Fraction(0), length)]
    if target_of(job.profile):
        longest = min(longest, _AIMED_SECONDS)
    least = {"least": longest} if _is_constant(job.profile) else {}  # short ones lose more of a rate that is its cap
    bounds = plan_chunks(length, grid, work.total / float(length), longest, prober.weights, **least)
    return with_short_start(bounds, grid) if plays_early(job.profile) else bounds


def _analysed(prober: Prober, goal: Goal | None) -> dict[int, RatePlan]:
    """The rate control of each output. Encodes windows of the film where a bitrate is wanted."""
    encoder, film, plans = prober.encoder, prober.film, prober.plans
    encodes = encodes_of(encoder.job, encoder.plan.source)
    if goal:
        encodes[FILE] = structs.replace(encodes[FILE], quality=Target(crf=goal.curve.crf))
    coded: dict[int, list[Coded]] = {output: [] for output, encode in encodes.items() if not encode.quality}
    factors = {output: rates.first_crf(encodes[output], plans.pixels(output)) for output in coded}
    is_early = plays_early(encoder.job.profile)
    numbers = rates.windows(film)[: _EARLY_WINDOWS if is_early else None] if coded else []
    wanted = set(coded)
    while wanted:
        for number in numbers:
            probing = {output: rates.probe_encode(encodes[output], factors[output]) for output in wanted}
            for output, window in prober.run(number, probing).items():
                coded[output].append(Coded(film[number], factors[output], 8 * window.figures.bytes))
        if is_early:
            break
        following = {output: rates.next_crf(encodes[output], film, coded[output]) for output in wanted}
        factors |= {output: factor for output, factor in following.items() if factor is not None}
        wanted = {output for output, factor in following.items() if factor is not None}
    return {output: rates.analysed(encode, film, coded.get(output, ())) for output, encode in encodes.items()}
