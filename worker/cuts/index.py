"""Opens a source by ranges: what it holds, and where it can be cut.

source, by ranges ──> open_index ──> Source, Index ──> recipe of each span ──> make_cut ──> a small file for ffmpeg
                                                   └─> make_rest, or rest_piece of each cut and join_rest
"""

from collections.abc import Sequence
from pathlib import Path

from worker.cuts.objects import Bytes
from worker.cuts.recipes import Film, Recipe, Uncuttable
from worker.media.source import Source
from worker.sandbox.runner import Runner
from worker.settings import Settings

__all__ = ["Film", "Index", "Recipe", "Uncuttable", "join_rest", "make_cut", "make_rest", "open_index", "rest_piece"]


class Index:
    """Where a film can be cut. Times are seconds of the source, as the profile's `start` and `end` count them.

    `film` is what all cuts share; `frames` counts the film's pictures, None where unknown, and is exact if `is_exact`.
    """

    film: Film
    frames: int | None
    is_exact: bool

    def entries(self) -> list[float]:
        """Where a cut can begin without a picture too many, ascending; some of them, where the index is coarse."""
        raise NotImplementedError

    def recipe(self, start: float, end: float | None, lead: float = 0.0) -> Recipe:
        """The recipe of a cut with all pictures from `start` to `end`, which is not in it, and those `lead` before.

        `end` None means the end of the film. May read the source. Raises JobError or Interrupted.
        """
        raise NotImplementedError

    def weights(self, bounds: Sequence[float]) -> list[int]:
        """Coded bytes of the pictures from each bound to the next, about."""
        raise NotImplementedError


def open_index(source: Bytes, folder: Path, settings: Settings, runner: Runner) -> tuple[Source, Index]:
    """What a source holds, as `inspect` says of the whole file, and its index. `folder` is the job's.

    Raises Uncuttable with the reason if it cannot be cut, or if reading it by ranges fails where the whole file may
    not; JobError of storage and host; Interrupted.
    """
    raise NotImplementedError


def make_cut(film: Film, recipe: Recipe, source: Bytes, target: Path, runner: Runner) -> None:
    """Write a cut into the file `target`. Raises JobError or Interrupted."""
    raise NotImplementedError


def make_rest(index: Index, source: Bytes, target: Path) -> Path | None:
    """Write the rest of an mp4 or mov into the file `target`: a sparse file as long as the source, with all but the
    pictures of the film at their places. None for other containers, whose rest is made of pieces.

    Raises JobError or Interrupted.
    """  # noqa: D205
    raise NotImplementedError


def rest_piece(film: Film, recipe: Recipe, source: Bytes, target: Path) -> Path:
    """Write a piece of the rest into the file `target`: what `own` of the recipe holds beside the film."""
    raise NotImplementedError


def join_rest(film: Film, pieces: Sequence[Path], target: Path) -> None:
    """Write the rest of all pieces, in their order, into the file `target`."""
    raise NotImplementedError
