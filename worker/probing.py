"""Short windows of a film, encoded and scored, from which one learns what the whole would be.

A window is one step from keyframe to keyframe of the output, made from a cut of the source.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Ffmpeg
from worker.chunks import ChunkEncoder, Place
from worker.cuts.index import Index, has_pieces, make_cut, open_index
from worker.cuts.objects import Bytes
from worker.errors import PermanentError
from worker.films import FILE, FilmPlan, Plans, Work
from worker.goals import Goal, aim_of, score_of, scored_of
from worker.media import pieces, rates, timing
from worker.media.chunk import ChunkFigures
from worker.media.chunk import Target as Output
from worker.media.ladder import Ends, declared_ends
from worker.media.pieces import Chunk
from worker.media.rates import Span
from worker.media.source import Source
from worker.memory import Knowledge
from worker.outlook import Outlook, first_picture, last_picture, outlook, seconds_of
from worker.quality.aim import NTH, Aim, Probe, first_crf, learnt, next_crf, pooled, scouts, windows
from worker.quality.score import Pair, measure
from worker.quality.score import Place as Start

_MOMENT = Fraction(1, 1000)
_ROUNDS = 2
"""Rounds of earlier searches that one takes over."""
_INDEXED = ("mov", "mp4")
"""Demuxers of containers whose index tells where each packet of each track lies."""


class Window(NamedTuple):
    """An encoded window: its output, and what was measured of it."""

    output: Output
    figures: ChunkFigures


class Prober:
    """Encodes windows of one film. Their cuts stay in the job's folder until `close`."""

    def __init__(self, encoder: ChunkEncoder, plans: Outlook, index: Index, begin: float) -> None:
        """`begin` is the second of the source where the output begins. Raises PermanentError where that is its end."""
        self.encoder, self.plans, self.index, self.begin = encoder, plans, index, begin
        grid = plans.grid
        self.first = first_picture(encoder, index, grid, begin) if plans.file else Fraction(0)
        self.length = self._end() - self.first
        if self.length <= 0:
            raise PermanentError("start-beyond-source", f"The input has no frame at or after second {begin:g}.")
        count = int(-(-self.length // grid))
        self.steps = [min(grid * number, self.length) for number in range(count + 1)]
        self.weights = index.weights([begin, *(begin + float(self.first + step) for step in self.steps[1:])])
        self.film = [
            Span(float(end - start), float(weight))
            for start, end, weight in zip(self.steps, self.steps[1:], self.weights, strict=False)
        ]
        self._cuts: dict[int, Path] = {}

    def _end(self) -> Fraction:
        """The second of the output at which the film ends.

        That of an output with a rate of its own is close behind its last picture: chunks repeat pictures up to the next
        chunk, but the sound may be longer, and only an index of samples tells where each track ends.
        """
        plans, profile = self.plans, self.encoder.job.profile
        end = Fraction(plans.length or 0.0).limit_denominator(1_000_000)
        is_paced = profile.ffmpeg and timing.wanted_rate(profile.ffmpeg) and not profile.package
        if not is_paced or plans.source.video.demuxer in _INDEXED or end <= self.first:
            return end
        return min(end, last_picture(self.encoder, self.index, plans.grid, self.begin, end) + _MOMENT)

    def start(self, number: int) -> Fraction:
        """The second of the output at which a span of the film begins."""
        return self.first + self.steps[number]

    def run(self, number: int, encodes: Mapping[int, Ffmpeg]) -> dict[int, Window]:
        """Encode the window of a span, each output by its encode. Raises JobError or Interrupted."""
        encoder, work, cut = self.encoder, self._work(number), self.cut(number)
        groups = encoder.targets(work, encodes, f"window-{number}")
        outputs = {output: target for group in groups for output, target in group.items()}
        figures = encoder.run(groups, cut, work.seconds)
        return {output: Window(target, figures[output]) for output, target in outputs.items()}

    def probe(self, numbers: Sequence[int], encode: Ffmpeg, crf: float, aim: Aim | None, nth: int = 1) -> list[Probe]:
        """Encode the windows of these spans at a CRF, by an encode of the job's file, and score them for an aim.

        Every `nth` frame is scored. A window without frames has no probe. Raises JobError or Interrupted.
        """
        probes, runner = [], self.encoder.runner
        for number in numbers:
            before = runner.cpu_seconds
            output, figures = self.run(number, {FILE: rates.probe_encode(encode, crf)})[FILE]
            if not figures.frames:
                continue
            vmaf = self.score(number, output, aim, nth) if aim else 0.0
            cost = runner.cpu_seconds - before
            probes.append(Probe(number, crf, vmaf, 8.0 * figures.bytes, figures.frames, round(cost, 3)))
            output.file.unlink()
        return probes

    def close(self) -> None:
        """Remove the windows."""
        for path in self.encoder.folder.glob("*window-*"):
            path.unlink()
        self._cuts.clear()

    def score(self, number: int, output: Output, aim: Aim, nth: int) -> float:
        """The mean VMAF of an encoded window, by every `nth` frame. Raises JobError or Interrupted."""
        job, encoder = self.encoder.job, self.encoder
        place = Start(float(self.start(number)))
        pair = Pair(self.cut(number), output.file, job.input, job.output, output.plan, place)
        scoring = score_of(aim, nth)
        measured = measure(
            *(pair, scoring, encoder.settings, encoder.runner, lambda _: None, encoder.folder), with_stills=False
        )
        score = measured.scores.mean("vmaf")
        if not score:
            raise PermanentError("score-incomplete", "libvmaf gave no score of a window of the film.")
        return score.mean

    def _work(self, number: int) -> Work:
        chunk = Chunk(self.start(number), self.first + self.steps[number + 1])
        profile = self.encoder.job.profile
        return Work("", 0.0, chunk if profile.ffmpeg else None, chunk if profile.package else None, self.film[number])

    def cut(self, number: int) -> Path:
        """The cut of the window of a span, made at the first call. Raises JobError or Interrupted."""
        if number not in self._cuts:
            encoder, path = self.encoder, self.encoder.folder / f"window-{number}"
            lead = pieces.lead(encoder.plan.source.video)
            recipe = self.index.recipe(*seconds_of(self._work(number), self.begin), lead)
            make_cut(self.index.film, recipe, encoder.source, path, encoder.runner)
            self._cuts[number] = path
        return self._cuts[number]


def open_prober(at: Place, source: Bytes) -> Prober:
    """Open a film by ranges, for a job that encodes a file. Raises Uncuttable, JobError or Interrupted."""
    probed, index = open_index(source, at.folder, at.settings, at.runner)
    return prober_of(at, outlook(at.job, probed, declared_ends(probed) or Ends(0.0, 0.0)), index, source, "")


def prober_of(at: Place, plans: Outlook, index: Index, source: Bytes, etag: str) -> Prober:
    """The prober of a film that is open. Raises as Prober."""
    job, ends = at.job, plans.ends
    film = FilmPlan(plans.source, index.film, ends, etag, [], {}, _needs_pieces(job, plans.source, index))
    encoder = ChunkEncoder(at._replace(report=lambda _: None), film, Plans(at.storage, ""), source, list)
    begin = (job.profile.ffmpeg.start or 0.0) if job.profile.ffmpeg else 0.0
    return Prober(encoder, plans, index, begin)


def probe_facts(known: Knowledge, prober: Prober, encode: Ffmpeg, aim: Aim, nth: int) -> object:
    """The facts on which probes of a film depend: what is known of it for one target serves others as well."""
    return known.of(
        *("probes", rates.probe_encode(encode, 0.0), aim.model, aim.width, aim.height, nth),
        *(len(prober.film), round(float(prober.length), 3)),
    )


def find_goal(prober: Prober, known: Knowledge) -> Goal | None:
    """What the file's encode aims at, and what probes tell about it; None for an encode without a VMAF as its target.

    Probes of earlier jobs with this source cost nothing. Raises JobError or Interrupted.
    """
    plans, profile = prober.plans, prober.encoder.job.profile
    aim = aim_of(profile, plans.file.picture.size, plans.source.video.upright) if plans.file else None
    if not aim or not profile.ffmpeg:
        return None
    encode, film = profile.ffmpeg, prober.film
    facts = probe_facts(known, prober, encode, aim, NTH)
    before = known.memory.recall(facts, list[Probe]) or []
    probes = [structs.replace(probe, cpuSeconds=0.0) for probe in _useful(aim, film, before)]
    count, numbers = len(probes), windows(film) if probes else scouts(film)
    following = next_crf(encode, aim, film, probes) if probes else first_crf(encode, aim)
    while following is not None:
        probes += prober.probe(numbers, encode, following, aim, NTH)
        if not probes:
            raise PermanentError("input-corrupt", "No frame of the input could be decoded.")
        numbers, following = windows(film), next_crf(encode, aim, film, probes)
    if len(probes) > count:
        known.memory.keep(facts, [*before, *probes[count:]])
    return Goal(aim, learnt(encode, aim, film, probes), film, probes, scored_of(profile, float(prober.length)))


def _useful(aim: Aim, film: Sequence[Span], probes: Sequence[Probe]) -> list[Probe]:
    """Of the probes that earlier searches have left of a film, those with which one for this aim begins.

    These are the two rounds nearest to it, so that a further round may follow.
    """
    rounds: dict[float, dict[int, Probe]] = {}
    for probe in probes:
        rounds.setdefault(probe.crf, {})[probe.span] = probe
    away = {crf: abs(pooled(film, list(some.values()))[0] - aim.vmaf) for crf, some in rounds.items()}
    nearest = sorted(rounds, key=lambda crf: (away[crf], crf))[:_ROUNDS]
    return [probe for crf in sorted(nearest) for probe in rounds[crf].values()]


def _needs_pieces(job: Job, source: Source, index: Index) -> bool:
    """Whether the workers of chunks bring the rest of the film: its container has no index of other tracks."""
    profile = job.profile
    is_heard = bool(source.audio) and not (profile.audio and profile.audio.codec == "none")
    is_trimmed = bool(profile.ffmpeg and (profile.ffmpeg.start or profile.ffmpeg.end))
    if source.video.demuxer in _INDEXED and is_trimmed:
        return False  # the chunks leave out what lies before the first of them
    return has_pieces(index) and (is_heard or bool(profile.subtitles and source.subtitles))
