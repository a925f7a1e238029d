"""Opens a source by ranges: what it holds, and where it can be cut.

source, by ranges ──> open_index ──> Source, Index ──> recipe of each span ──> make_cut ──> a small file for ffmpeg
                                                   └─> make_rest, or a piece with each cut, and join_rest
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import structs

from worker.cuts.broadcast import cut_broadcast, open_broadcast
from worker.cuts.hollow import Hollow
from worker.cuts.keyframes import is_gradual
from worker.cuts.matroska import cut_matroska, open_matroska
from worker.cuts.movie import MovieIndex, cut_movie, open_movie
from worker.cuts.objects import Bytes
from worker.cuts.raw import join_pieces
from worker.cuts.recipes import Film, Recipe, Uncuttable
from worker.errors import PermanentError
from worker.media.demuxers import input_options
from worker.media.source import Source
from worker.sandbox.runner import Runner
from worker.settings import Settings

__all__ = ["Film", "Index", "Recipe", "Uncuttable", "join_rest", "make_cut", "make_rest", "open_index"]


_LOOK = 1 << 16
_TASTE = 1 << 19
_SECONDS = 60
_MOVIES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""Types of the first box of an mp4 or mov."""


_MATROSKA = b"\x1a\x45\xdf\xa3"


class Index(Protocol):
    """Where a film can be cut. Times are seconds of the source, as the profile's `start` and `end` count them.

    `film` is what all cuts share; `frames` counts the film's pictures, None where unknown, and is exact if `is_exact`.
    """

    film: Film
    frames: int | None
    is_exact: bool

    def entries(self) -> list[float]:
        """Where a cut can begin without a picture too many, ascending; some of them, where the index is coarse."""

    def recipe(self, start: float, end: float | None, lead: float = 0.0) -> Recipe:
        """The recipe of a cut with all pictures from `start` to `end`, which is not in it, and `lead` seconds around.

        `end` None means the end of the film. May read the source. Raises JobError or Interrupted.
        """

    def weights(self, bounds: Sequence[float]) -> list[int]:
        """Coded bytes of the pictures from each bound to the next, about."""


def open_index(source: Bytes, folder: Path, settings: Settings, runner: Runner) -> tuple[Source, Index]:
    """What a source holds, as `inspect` says of the whole file, and its index. `folder` is the job's.

    Raises Uncuttable with the reason if it cannot be cut, or if reading it by ranges fails where the whole file may
    not; JobError of storage and host, and of limits that the source exceeds; Interrupted.
    """
    hollow = Hollow(source, folder, settings, runner)
    try:
        inspected, index = _opener(source.read(0, _LOOK))(hollow)
        clock = inspected.video.clock
        if clock.is_rate_guessed or not inspected.video.duration:
            raise Uncuttable("its length or its rate is uncertain")
        if inspected.video.codec == "h264" and index.film.demuxer != "mpegts":
            _check_keys(index, hollow)
    except Uncuttable:
        hollow.path.unlink(missing_ok=True)
        raise
    except PermanentError as error:
        if error.failure.code != "input-corrupt":
            raise
        hollow.path.unlink(missing_ok=True)
        raise Uncuttable("it is damaged") from error
    return inspected, index


def _check_keys(index: Index, hollow: Hollow) -> None:
    """Raise Uncuttable if the pictures behind a key frame become whole little by little."""
    entries, cut = index.entries()[1:], hollow.path.with_name("key")
    for place in sorted({len(entries) // 4, len(entries) // 2, 3 * len(entries) // 4}):
        if place >= len(entries):
            return
        recipe = index.recipe(entries[place], None)
        taste = [(offset, min(size, _TASTE)) for offset, size in recipe.pieces[:1]]
        short = structs.replace(recipe, pieces=taste, samples=recipe.samples[:1], own=(0, 0), end=None)
        make_cut(index.film, short, hollow.source, cut, hollow.runner)
        if is_gradual(_first_picture(cut, index.film, hollow)):
            raise Uncuttable("its key frames build up over several pictures")
    cut.unlink(missing_ok=True)


def _first_picture(cut: Path, film: Film, hollow: Hollow) -> bytes:
    """The first coded picture of a cut, as a byte stream of H.264; empty where ffmpeg fails."""
    unpacked = cut.with_name("key.h264")
    options = input_options(hollow.runner.limits)
    read = ("-f", film.demuxer, "-i", f"file:{cut}", "-map", f"0:{film.stream}", "-c", "copy", "-frames:v", "1")
    command = [hollow.settings.ffmpeg, "-v", "error", "-nostdin", "-y", *options, *read]
    written = ("-bsf:v", "h264_mp4toannexb", "-f", "h264", f"file:{unpacked}")
    try:
        hollow.runner.run([*command, *written], cut.parent, cut.with_name("key.log"), seconds=_SECONDS)
        return unpacked.read_bytes()[:_LOOK]
    except (PermanentError, FileNotFoundError):
        return b""
    finally:
        unpacked.unlink(missing_ok=True)


def _opener(head: bytes) -> Callable[[Hollow], tuple[Source, Index]]:
    if head[4:8] in _MOVIES:
        return open_movie
    if head[:4] == _MATROSKA:
        return open_matroska
    if head[:1] == b"G":
        return open_broadcast
    raise Uncuttable("its container has no index that a cut can be made by")


def make_cut(film: Film, recipe: Recipe, source: Bytes, target: Path, runner: Runner, rest: Path | None = None) -> None:
    """Write a cut into the file `target`.

    Also writes a piece of the rest into the file `rest`, if given, where pieces make the rest: what `own` of the recipe
    holds beside the film. Raises JobError or Interrupted.
    """
    runner.check()
    if film.demuxer == "matroska":
        cut_matroska(film, recipe, source, target, rest)
    elif film.demuxer == "mpegts":
        cut_broadcast(film, recipe, source, target, rest)
    else:
        cut_movie(film, recipe, source, target, runner, rest)


def make_rest(index: Index, source: Bytes, target: Path) -> Path | None:
    """Write the rest of an mp4 or mov into the file `target`, and return it; None where pieces make the rest.

    It is a hollow copy of the source with everything but the pictures of the film. Takes the copy that `open_index`
    left in the job's folder, so it can be made once. Raises JobError or Interrupted.
    """
    return index.rest(target) if isinstance(index, MovieIndex) else None


def has_pieces(index: Index) -> bool:
    """Whether pieces make the rest: always those of Matroska and MPEG-TS."""
    return index.has_pieces if isinstance(index, MovieIndex) else True


def join_rest(film: Film, pieces: Sequence[Path], target: Path) -> None:
    """Write the rest of all pieces, in their order, into the file `target`."""
    join_pieces(film, pieces, target)
