"""The plan of a film that is divided into chunks, which its workers share, and what each of them tells of a chunk.

The worker that divides the film stores the plan and a recipe for each cut, as objects beside the results of the parts.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from elasticrecode.jobs.job import Job
from elasticrecode.media import ladders
from elasticrecode.media.profiles import Ffmpeg
from worker.cuts.recipes import Film, Recipe
from worker.errors import PermanentError
from worker.goals import Goal, Try
from worker.holding import Encoded
from worker.media import rates
from worker.media.chunk import ChunkFigures
from worker.media.ladder import Ends, constant_rate
from worker.media.pieces import Chunk
from worker.media.rates import RatePlan
from worker.media.source import Source
from worker.quality.aim import Scored
from worker.storage import Storage

_Kind = TypeVar("_Kind")
FILE = -1
"""The number of the one output file among the outputs of a film; the others are rungs, from 0."""
REST, SCORE, RUN = "rest", "score", "run"
_PLAN, _RECIPE = "plan.json", "cut-{}.json"
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
    goal: Goal | None = None


class ChunkResult(Struct, frozen=True):
    """What the worker of a chunk tells beside its files: the kind of each file, figures, and factor by output.

    `tries` are the encodes of the file, in their order, where it has a target of quality; `factors` and figures are
    those of the one that was kept.
    """

    files: list[str]
    outputs: dict[int, ChunkFigures]
    factors: dict[int, float]
    tries: list[Try] = []

    @property
    def scored(self) -> Scored | None:
        """The encode of the file that was kept, with its score; None without a target of quality."""
        return next((each.scored for each in self.tries if each.scored.crf == self.factors.get(FILE)), None)


def result_of(encoded: Encoded) -> ChunkResult:
    """What the worker of a chunk told of it."""
    return msgspec.convert(dict(encoded.figures), ChunkResult, str_keys=True)


def ladder_uri(start: str) -> str:
    """The URI of the ladder of a title, beside the plan of its film."""
    return start + "ladder.json"


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


def encodes_of(job: Job, source: Source) -> dict[int, Ffmpeg]:
    """The encodes of a job, each by the number of its output."""
    encodes: dict[int, Ffmpeg] = {FILE: job.profile.ffmpeg} if job.profile.ffmpeg else {}
    if package := job.profile.package:
        video = source.video
        rungs = ladders.rungs(package, *video.upright, constant_rate(video), is_hdr=video.hdr)
        encodes |= dict(enumerate(rungs))
    return encodes
