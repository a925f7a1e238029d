"""A film that is divided into chunks: the plan that its workers share, and the encode of chunks on one of them.

The worker that divides the film stores the plan and a recipe for each cut, as objects beside the results of the parts.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from elasticrecode.jobs.events import Progress
from elasticrecode.jobs.job import Job
from elasticrecode.media import ladders
from elasticrecode.media.profiles import Ffmpeg
from elasticrecode.parts.part import StoredPart
from worker.cuts.index import make_cut
from worker.cuts.objects import Bytes, StoredObject
from worker.cuts.recipes import Film, Recipe
from worker.errors import PermanentError
from worker.holding import Encoded
from worker.media import images, rates, timing
from worker.media.chunk import ChunkFigures, Target, encode_chunk, target_of_file, targets_of_ladder
from worker.media.images import ImagePlan
from worker.media.ladder import Ends, constant_rate, plan_ladder
from worker.media.pieces import EARLY, Chunk, Piece
from worker.media.probe import shown_ticks
from worker.media.rates import Coded, RatePlan, Tail
from worker.media.source import Source
from worker.media.subtitles import SubtitlePlan
from worker.quality.score import Pair, at_size, measure
from worker.quality.score import Place as Start
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

_Kind = TypeVar("_Kind")
FILE = -1
"""The number of the one output file among the outputs of a film; the others are rungs, from 0."""
REST, SCORE = "rest", "score"
_PLAN, _RECIPE = "plan.json", "cut-{}.json"
_JITTER = Fraction(2, 1000)
"""Seconds by which the times of even pictures differ from each other, where a clock has milliseconds."""
_MOST_BYTES = 1 << 26
"""The longest plan or recipe that is read."""


class Work(Struct, frozen=True):
    """What one part encodes: the chunk of the output file, or of the rungs, or both, and what it is of the film.

    `name` and `cost` are those of the part.
    """

    name: str
    cost: float
    file: Chunk | None
    rungs: Chunk | None
    span: rates.Span

    @property
    def seconds(self) -> float:
        """Seconds of the film."""
        return self.span.seconds


class FilmPlan(Struct, frozen=True):
    """What all workers of a divided film share.

    `etag` is that of the source; `work` is that of the parts in their order, and `rates` the rate control of each
    output by its number, as `levels` are the levels that encoders write.
    """

    source: Source
    film: Film
    ends: Ends
    etag: str
    work: list[Work]
    rates: dict[int, RatePlan]
    has_rest: bool
    levels: dict[int, str] = {}


class ChunkResult(Struct, frozen=True):
    """What the worker of a chunk tells beside its files: the kind of each file, figures, and factor by output."""

    files: list[str]
    outputs: dict[int, ChunkFigures]
    factors: dict[int, float]


def plan_uris(start: str, parts: int) -> list[str]:
    """The URIs of the objects of a plan with so many parts below the prefix `start`."""
    return [start + _PLAN, *(start + _RECIPE.format(number) for number in range(parts))]


class Plans:
    """The plan of a divided film and its recipes, as objects below the prefix `start` of the division."""

    def __init__(self, storage: Storage, start: str) -> None:
        self._storage, self._start = storage, start

    def store(self, plan: FilmPlan, recipes: Sequence[Recipe]) -> None:
        """Store the recipes, and then the plan."""
        for number, recipe in enumerate(recipes):
            self._put(_RECIPE.format(number), recipe)
        self._put(_PLAN, plan)

    def plan(self) -> FilmPlan:
        """The plan. Raises PermanentError without one."""
        return self._get(_PLAN, FilmPlan)

    def recipe(self, number: int) -> Recipe:
        """The recipe of a part's cut. Raises PermanentError without one."""
        return self._get(_RECIPE.format(number), Recipe)

    def _put(self, name: str, value: Struct) -> None:
        self._storage.write_small(self._start + name, msgspec.json.encode(value, enc_hook=str))

    def _get(self, name: str, kind: type[_Kind]) -> _Kind:
        _, content = self._storage.read_small(self._start + name, _MOST_BYTES, "")
        if not content:
            raise PermanentError("parts-gone", f"The plan of the film is gone: {self._start}{name}.")
        return msgspec.json.decode(content, type=kind, dec_hook=_decoded)


def _decoded(kind: type[Any], value: Any) -> Any:
    """A Fraction, which JSON holds as text."""
    if kind is Fraction and isinstance(value, str):
        return Fraction(value)
    raise NotImplementedError(kind)


class Place(NamedTuple):
    """A worker at a job: what it is to do, where, and by which means."""

    job: Job
    settings: Settings
    storage: Storage
    runner: Runner
    folder: Path
    report: Callable[[Progress], None]


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
        factors = self._factors(number)
        groups = [
            {output: self._timed(output, target, work, cut) for output, target in group.items()}
            for group in self.targets(work, self._encodes(number, factors), f"{number}")
        ]
        stills = self._stills(work, groups)
        outputs = self.run(groups, cut, work.seconds, stills)
        shown = {n: target for group in groups for n, target in group.items() if outputs[n].frames}
        files += [(f"{output}", target.file) for output, target in shown.items()]
        files += self._scores(shown, cut, work)
        for path in images.chunk_files(stills, self.folder):
            kept = path.rename(path.with_name(f"{number}-{path.name}"))
            files.append((path.name, kept))
        cut.unlink()
        result = ChunkResult([name for name, _ in files], outputs, factors)
        return Encoded(tuple(path for _, path in files), msgspec.to_builtins(result, str_keys=True))

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
        rungs = [encode for number, encode in sorted(encodes.items()) if number != FILE]
        if work.rungs and rungs:
            piece = Piece(work.rungs, plan.film.filters)
            planned = plan_ladder(self._cut, job.profile, rungs, SubtitlePlan(), plan.ends, piece)
            files = [self.file(number, name) for number in range(len(rungs))]
            result.append(targets_of_ladder(planned, piece, files))
        return result

    def _timed(self, output: int, target: Target, work: Work, cut: Path) -> Target:
        """The target of a chunk of the film, with the keyframes of the undivided encode.

        ffmpeg counts their times from the first picture that it gets.
        """
        level = self.plan.levels.get(output, "")
        target = target._replace(varies=bool(self.plan.rates[output].target), level=level)
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
            if not scoring or not chunk:
                continue
            wanted = scoring if output == FILE else at_size(scoring, shown[0].plan.picture.size)
            pair = Pair(cut, target.file, self.job.input, self.job.output, target.plan, Start(float(chunk.start)))
            measured = measure(pair, wanted, self.settings, self.runner, self.report, self.folder)
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
        factors = {}
        for output, plan in self.plan.rates.items():
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
        }


def open_chunks(at: Place, plans: Plans, parts: Callable[[], Sequence[StoredPart]]) -> ChunkEncoder:
    """The encoder of a film that another worker has divided. Raises JobError."""
    film = plans.plan()
    source = StoredObject(at.storage, at.job.input, at.runner, etag=film.etag)
    return ChunkEncoder(at, film, plans, source, parts)


def encodes_of(job: Job, source: Source) -> dict[int, Ffmpeg]:
    """The encodes of a job, each by the number of its output."""
    encodes: dict[int, Ffmpeg] = {FILE: job.profile.ffmpeg} if job.profile.ffmpeg else {}
    if package := job.profile.package:
        video = source.video
        rungs = ladders.rungs(package, *video.upright, constant_rate(video), is_hdr=video.hdr)
        encodes |= dict(enumerate(rungs))
    return encodes


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
