"""Films of 11.5 seconds, and the cuts of their chunks as other code would make them."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from elasticrecode.media import ladders
from elasticrecode.media.profiles import Profile
from tests.media.case import BUNNY, SETTINGS, ffmpeg
from worker.cuts.index import make_cut, open_index
from worker.cuts.objects import LocalFile
from worker.media.encode import inspect
from worker.media.ladder import Ends, Ladder, constant_rate, plan_ladder
from worker.media.pieces import Chunk, Piece
from worker.media.source import Source
from worker.media.subtitles import SubtitlePlan
from worker.sandbox.runner import Runner

BOUNDS = [Fraction(0), Fraction(4), Fraction(8), None]
"""Seconds at which chunks begin, and the end of the film."""
CHUNKS = [Chunk(start, end) for start, end in pairwise(BOUNDS) if start is not None]
KEYS = ("-force_key_frames", "expr:gte(t,n_forced*2)", "-bf", 0, "-sc_threshold", 0)
_COPY = ("-c", "copy", "-f", "matroska")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", 20, *KEYS)


def film(folder: Path, *filters: str, rate: str = "25", name: str = "film.mkv") -> Path:
    """A film whose every picture differs from the others, in a file with keyframes 2 s apart."""
    source = ",".join((f"testsrc2=s=320x180:r={rate}:d=11.5", *filters))
    bframes = ("-bf", 3, "-b_strategy", 0) if name.endswith("mp4") else ("-bf", 0)
    return ffmpeg(folder, name, "-f", "lavfi", "-i", source, "-fps_mode", "passthrough", *X264, *bframes)


def real_film(folder: Path, *filters: str, name: str = "film.mkv") -> Path:
    """A real film with keyframes 2 s apart."""
    chain = ",".join(("scale=320:-2", *filters))
    options = ("-an", "-vf", chain, "-fps_mode", "passthrough", *X264)
    return ffmpeg(folder, name, "-stream_loop", 2, "-t", 11.5, "-i", BUNNY, *options)


class Cuts:
    """The cuts of a film: those of the worker from an mp4, and from Matroska those of ffmpeg.

    ffmpeg's begin at the keyframe before the chunk, and have no picture behind its end.
    """

    def __init__(self, folder: Path, film: Path) -> None:
        self._path, self._film, self._runner = film, None, Runner()
        if film.suffix == ".mp4":
            probed, self._index = open_index(LocalFile(film, self._runner), folder, SETTINGS, self._runner)
            self._film = self._index.film
        else:
            probed = inspect(film, SETTINGS, self._runner)
        demuxer, stream = (self._film.demuxer, self._film.stream) if self._film else ("matroska", 0)
        self.source = probed._replace(video=probed.video._replace(demuxer=demuxer, stream=stream, entry=0.0))

    def piece(self, chunk: Chunk) -> Piece:
        """A chunk as its plan has it."""
        return Piece(chunk, self._film.filters if self._film else ())

    def cut(self, folder: Path, chunk: Chunk) -> Path:
        """The cut of a chunk, written into a folder."""
        end = None if chunk.end is None else float(chunk.end)
        if not self._film:
            to = () if end is None else ("-to", end - 0.001)
            return ffmpeg(folder, "cut", "-ss", float(chunk.start), "-copyts", "-i", self._path, *to, *_COPY)
        recipe = self._index.recipe(float(chunk.start), end)
        make_cut(self._film, recipe, LocalFile(self._path, self._runner), folder / "cut", self._runner)
        return folder / "cut"


def planned(source: Source, profile: Profile, piece: Piece | None = None) -> Ladder:
    """The ladder of a profile's package, of the whole film or of a chunk."""
    assert profile.package
    video = source.video
    encodes = ladders.rungs(profile.package, *video.upright, constant_rate(video), is_hdr=False)
    return plan_ladder(source, profile, encodes, SubtitlePlan(), Ends(0.0, 0.0), piece)
