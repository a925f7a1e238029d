"""The encode of the chunks of a divided film on one worker."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import structs

from elasticrecode.jobs.events import Progress
from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Ffmpeg, Vmaf
from elasticrecode.parts.part import StoredPart
from worker.certificate.parts import replace_run, save_run
from worker.cuts.index import make_cut
from worker.cuts.objects import Bytes, StoredObject
from worker.errors import PermanentError
from worker.films import FILE, REST, RUN, SCORE, ChunkResult, FilmPlan, Plans, Work, encodes_of, result_of
from worker.goals import Goal, Try, score_of
from worker.holding import Encoded
from worker.media import images, rates, timing
from worker.media.chunk import ChunkFigures, Target, encode_chunk, target_of_file, targets_of_ladder
from worker.media.images import ImagePlan
from worker.media.ladder import plan_ladder
from worker.media.pieces import EARLY, Chunk, Piece
from worker.media.probe import shown_ticks
from worker.media.rates import Coded, Tail
from worker.media.subtitles import SubtitlePlan
from worker.memory import UNKNOWN, Knowledge
from worker.quality.aim import Scored, again, cheapest, chunk_crf
from worker.quality.pooled import Measured
from worker.quality.score import Pair, at_size, measure
from worker.quality.score import Place as Start
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

_JITTER = Fraction(2, 1000)
"""Seconds by which the times of even pictures differ from each other, where a clock has milliseconds."""


class Place(NamedTuple):
    """A worker at a job: what it is to do, where, by which means, and what it knows of the source."""

    job: Job
    settings: Settings
    storage: Storage
    runner: Runner
    folder: Path
    report: Callable[[Progress], None]
    known: Knowledge = UNKNOWN


class ChunkEncoder:
    """Encodes chunks of one film on this worker, one at a time."""

    def __init__(
        self, at: Place, plan: FilmPlan, plans: Plans, source: Bytes, parts: Callable[[], Sequence[StoredPart]]
    ) -> None:
        """`parts` reads the parts of the film as they are now, whose sizes correct the factors of further ones."""
        self.job, self.plan, self.plans, self.source = at.job, plan, plans, source
        self.folder, self.settings, self.runner, self.report = at.folder, at.settings, at.runner, at.report
        self._parts = parts
        video = plan.source.video._replace(stream=plan.film.stream, demuxer=plan.film.demuxer, entry=0.0)
        self._cut = plan.source._replace(video=video)

    def encode(self, numbers: Sequence[int]) -> dict[int, Encoded]:
        """Encode the chunks of the parts of these numbers. Raises JobError or Interrupted."""
        return {number: self._encode(number) for number in numbers}

    def _encode(self, number: int) -> Encoded:
        plan, work = self.plan, self.plan.work[number]
        recipe, cut = self.plans.recipe(number), self.folder / f"cut-{number}"
        rest = self.folder / f"rest-{number}" if plan.has_rest else None
        make_cut(plan.film, recipe, self.source, cut, self.runner, rest)
        files = [(REST, rest)] if rest and rest.exists() and rest.stat().st_size else []
        factors, before = self._factors(number), len(self.runner.steps)
        groups = self._groups(number, factors, cut)
        stills = self._stills(work, groups)
        outputs = self.run(groups, cut, work.seconds, stills)
        shown = {n: target for group in groups for n, target in group.items() if outputs[n].frames}
        files += [(f"{output}", target.file) for output, target in shown.items() if not (plan.goal and output == FILE)]
        files += self._scores(shown, cut, work)
        tries: list[Try] = []
        if plan.goal and FILE in shown:
            shots = self._aimed(number, cut, plan.goal, _Shot(shown[FILE].file, factors[FILE], outputs[FILE]))
            tries = [shot.tried for shot in shots if shot.tried]
            kept = shots[cheapest(plan.goal.aim, [each.scored for each in tries])]
            files += kept.files
            outputs[FILE], factors[FILE] = kept.figures, kept.crf
            shown[FILE] = shown[FILE]._replace(file=kept.file)
        run, names = self.folder / f"run-{number}", {output: target.file.name for output, target in shown.items()}
        save_run(run, cut.name, names, self.runner.steps[before:], self.settings, self.runner)
        files.append((RUN, run))
        for path in images.chunk_files(stills, self.folder):
            files.append((path.name, path.rename(path.with_name(f"{number}-{path.name}"))))
        cut.unlink()
        return _encoded(files, ChunkResult([name for name, _ in files], outputs, factors, tries))

    def again(self, number: int, crf: float, before: Encoded) -> Encoded:
        """The chunk of a part that was encoded before, its file at another CRF. Raises JobError or Interrupted."""
        goal, cut = self.plan.goal, self.folder / f"cut-{number}"
        result = result_of(before)
        if not goal:
            raise ValueError("the film has no goal")
        make_cut(self.plan.film, self.plans.recipe(number), self.source, cut, self.runner)
        steps = len(self.runner.steps)
        shot = self._measured(number, cut, goal, self._shoot(number, cut, crf, len(result.tries)))
        cut.unlink()
        run, place = self.folder / f"run-{number}-{len(result.tries)}", result.files.index(RUN)
        replace_run(before.files[place], run, FILE, shot.file.name, self.runner.steps[steps:])
        fresh = dict([*shot.files, (RUN, run)])
        files = [(name, fresh.get(name, path)) for name, path in zip(result.files, before.files, strict=True)]
        outputs, factors = {**result.outputs, FILE: shot.figures}, {**result.factors, FILE: crf}
        tries = [*result.tries, *([shot.tried] if shot.tried else [])]
        return _encoded(files, structs.replace(result, outputs=outputs, factors=factors, tries=tries))

    def _groups(self, number: int, factors: Mapping[int, float], cut: Path, name: str = "") -> list[dict[int, Target]]:
        """The outputs of a chunk at these factors, those of one decode together."""
        work = self.plan.work[number]
        return [
            {output: self._timed(output, target, work, cut) for output, target in group.items()}
            for group in self.targets(work, self._encodes(number, factors), name or f"{number}")
        ]

    def _shoot(self, number: int, cut: Path, crf: float, turn: int) -> "_Shot":
        """The file's encode of a chunk at a CRF, for the turn-th time."""
        groups = self._groups(number, {FILE: crf}, cut, f"{number}-{turn}")
        figures = self.run(groups, cut, self.plan.work[number].seconds)[FILE]
        return _Shot(groups[0][FILE].file, crf, figures)

    def _aimed(self, number: int, cut: Path, goal: Goal, first: "_Shot") -> list["_Shot"]:
        """The tries of a chunk until it reaches the floor, as far as that is possible."""
        work = self.plan.work[number]
        shots = [self._measured(number, cut, goal, first)]
        while True:
            tried = [shot.tried.scored for shot in shots if shot.tried]
            crf = again(goal.curve, goal.aim, work.span, tried)
            if crf is None or len(self.plan.work) == 1:  # the mean of a film of one chunk is that of the chunk
                return shots
            shots.append(self._measured(number, cut, goal, self._shoot(number, cut, crf, len(shots))))

    def _measured(self, number: int, cut: Path, goal: Goal, shot: "_Shot") -> "_Shot":
        """The encode with its score."""
        work, before = self.plan.work[number], self.runner.cpu_seconds
        target = self._groups(number, {FILE: shot.crf}, cut)[0][FILE]._replace(file=shot.file)
        if not work.file:
            raise ValueError(number)
        scoring = self.job.profile.vmaf or score_of(goal.aim, goal.nth)
        measured = self._score(target, cut, work.file, scoring)
        path = shot.file.with_suffix(".score")
        measured.save(path)
        score, figures = measured.scores.mean("vmaf"), shot.figures
        if not score:
            raise PermanentError("score-incomplete", f"libvmaf gave no score of the chunk {work.name}.")
        scored = Scored(shot.crf, score.mean, 8.0 * figures.bytes, figures.frames)
        spent = round(self.runner.cpu_seconds - before, 2)
        return shot._replace(score=path, tried=Try(scored, figures.cpuSeconds, spent))

    def _score(self, target: Target, cut: Path, chunk: Chunk, scoring: Vmaf) -> Measured:
        place = Start(float(chunk.start))
        pair = Pair(cut, target.file, self.job.input, self.job.output, target.plan, place)
        return measure(pair, scoring, self.settings, self.runner, self.report, self.folder)

    def run(
        self,
        groups: Sequence[Mapping[int, Target]],
        cut: Path,
        seconds: float,
        stills: ImagePlan = ImagePlan(),  # noqa: B008
    ) -> dict[int, ChunkFigures]:
        """Encode a chunk from its cut, each group of outputs in one decode. Raises JobError or Interrupted.

        `stills` are taken from the pictures of the last group.
        """
        outputs: dict[int, ChunkFigures] = {}
        for number, targets in enumerate(groups):
            own, is_last = (stills, True) if number == len(groups) - 1 else (ImagePlan(), False)
            outputs |= encode_chunk(
                *(targets, cut, seconds, self.settings, self.runner, self.report, own),
                fitted=is_last and FILE in targets,
            )
        return outputs

    def _stills(self, work: Work, groups: Sequence[Mapping[int, Target]]) -> ImagePlan:
        """The pictures beside the film that lie in a chunk. Those of a job with a package are its largest rung's."""
        wanted, group = self.job.profile.images, groups[-1]
        first = group[min(group)].plan.picture
        chunk = work.file if FILE in group else work.rungs
        if not wanted or not chunk:
            return ImagePlan()
        seconds = timing.length(self.plan.source.video, first.encode)
        return images.plan_images(wanted, first.size, seconds).of_chunk(chunk.start, chunk.end)

    def file(self, output: int, name: str) -> Path:
        """The file of an output of a chunk."""
        return self.folder / f"{'file' if output == FILE else f'rung-{output}'}-{name}.mp4"

    def targets(self, work: Work, encodes: Mapping[int, Ffmpeg], name: str) -> list[dict[int, Target]]:
        """The outputs of a chunk by these encodes, those of one decode together; `name` makes their files."""
        job, plan = self.job, self.plan
        result: list[dict[int, Target]] = []
        if work.file and FILE in encodes:
            piece = Piece(work.file, plan.film.filters)
            file = self.file(FILE, name)
            result.append({FILE: target_of_file(self._cut, job.profile, encodes[FILE], piece, file)})
        files = {number: self.file(number, name) for number in sorted(encodes) if number != FILE}
        if work.rungs and files:
            piece = Piece(work.rungs, plan.film.filters)
            every = sorted((encodes_of(job, plan.source) | dict(encodes)).items())  # all share their GOP
            rungs = [encode for number, encode in every if number != FILE]
            planned = plan_ladder(self._cut, job.profile, rungs, SubtitlePlan(), plan.ends, piece)
            result.append(targets_of_ladder(planned, piece, files))
        return result

    def _timed(self, output: int, target: Target, work: Work, cut: Path) -> Target:
        """The target of a chunk of the film, with the keyframes of the undivided encode.

        ffmpeg counts their times from the first picture that it gets.
        """
        level = self.plan.levels.get(output, "")
        varies = bool(self.plan.rates[output].target or (self.plan.goal and output == FILE))
        target = target._replace(varies=varies, level=level)
        if output != FILE or not work.file or timing.wanted_rate(target.plan.picture.encode):
            return target
        doubled = target.plan.picture.factor > 1
        times = self.times(cut, doubled=doubled)
        first = next((time for time in times if time >= work.file.start - EARLY), None)
        late = float(first - work.file.start) if first is not None and work.file.start else target.late
        tail = target.tail if work.file.end is None or _is_even(times, work.file.end) else Tail((), ())
        return target._replace(late=max(0.0, late), tail=tail)

    def times(self, cut: Path, *, doubled: bool = False) -> list[Fraction]:
        """When the output shows the pictures of a cut, ascending: seconds of the output, negative before its start.

        `doubled` says that each field becomes a picture.
        """
        film, encode = self.plan.film, self.job.profile.ffmpeg
        start = Fraction(f"{(encode.start or 0.0) if encode else 0.0:.6f}")
        shown = shown_ticks(self.settings.ffprobe, self.runner, cut, film.stream)
        first, until = film.first, film.until
        kept = [at for at in shown if (first is None or at >= first) and (until is None or at < until)]
        times = [Fraction(at - film.shift, film.ticks) - start for at in kept]
        between = [(one + other) / 2 for one, other in pairwise(times)] if doubled else []
        return sorted([*times, *between])

    def _scores(self, shown: Mapping[int, Target], cut: Path, work: Work) -> list[tuple[str, Path]]:
        """The measurements of a chunk's outputs, in files: rungs are compared at the size of the largest."""
        files: list[tuple[str, Path]] = []
        scoring = self.job.profile.vmaf
        for output, target in shown.items() if scoring else ():
            chunk = work.file if output == FILE else work.rungs
            if not scoring or not chunk or (self.plan.goal and output == FILE):
                continue
            wanted = scoring if output == FILE else at_size(scoring, shown[0].plan.picture.size)
            measured = self._score(target, cut, chunk, wanted)
            path = target.file.with_suffix(".score")
            measured.save(path)
            files.append((f"{SCORE}{output}", path))
        return files

    def _factors(self, number: int) -> dict[int, float]:
        """The constant rate factor of each output of a chunk, by the sizes of the chunks that are finished."""
        parts, spans = self._parts(), [work.span for work in self.plan.work]
        results = {
            each.part.number: msgspec.json.decode(each.result.figures, type=ChunkResult)
            for each in parts
            if each.result
        }
        running = [each.part.number for each in parts if each.state == "running" and each.part.number != number]
        factors, goal = {}, self.plan.goal
        for output, plan in self.plan.rates.items():
            if goal and output == FILE:
                scored = {n: result.scored for n, result in results.items() if result.scored}
                busy = dict.fromkeys(running, goal.curve.crf)
                factors[output] = chunk_crf(goal.curve, goal.aim, spans, number, scored, busy)
                continue
            finished = {
                n: Coded(spans[n], result.factors[output], 8 * result.outputs[output].bytes)
                for n, result in results.items()
            }
            factors[output] = rates.chunk_crf(plan, spans, finished, dict.fromkeys(running, plan.crf))
        return factors

    def _encodes(self, number: int, factors: Mapping[int, float]) -> dict[int, Ffmpeg]:
        work, is_end = self.plan.work[number], number in (0, len(self.plan.work) - 1)
        return {
            output: rates.chunk_encode(encode, self.plan.rates[output], factors[output], work.seconds, at_end=is_end)
            for output, encode in encodes_of(self.job, self.plan.source).items()
            if output in factors
        }


class _Shot(NamedTuple):
    """A chunk of the file, encoded at a CRF, and its score once it has one."""

    file: Path
    crf: float
    figures: ChunkFigures
    score: Path | None = None
    tried: Try | None = None

    @property
    def files(self) -> list[tuple[str, Path]]:
        """The kind of each file."""
        return [(f"{FILE}", self.file), *([(f"{SCORE}{FILE}", self.score)] if self.score else [])]


def _encoded(files: Sequence[tuple[str, Path]], result: ChunkResult) -> Encoded:
    return Encoded(tuple(path for _, path in files), msgspec.to_builtins(result, str_keys=True))


def open_chunks(at: Place, plans: Plans, parts: Callable[[], Sequence[StoredPart]]) -> ChunkEncoder:
    """The encoder of a film that another worker has divided. Raises JobError."""
    film = plans.plan()
    source = StoredObject(at.storage, at.job.input, at.runner, etag=film.etag)
    return ChunkEncoder(at, film, plans, source, parts)


def _is_even(times: Sequence[Fraction], end: Fraction) -> bool:
    """Whether the picture after the last one before `end` is due at `end`: the copies behind a chunk come no earlier.

    The last one is shown for as long as any of the 16 before it.
    """
    shown = [time for time in times if time < end - EARLY][-17:]
    steps = [later - time for time, later in pairwise(shown)]
    return (
        bool(steps)
        and shown[-1] + min(steps) >= end - 2 * EARLY - (max(steps) - min(steps))
        and (max(steps) - min(steps) <= _JITTER)
    )
