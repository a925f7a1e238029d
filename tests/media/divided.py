"""Films of 11.5 seconds, and the cuts of their chunks as other code would make them."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from elasticrecode.media import ladders
from elasticrecode.media.profiles import Profile
from tests.media.case import BUNNY, ffmpeg
from worker.media.ladder import Ends, Ladder, constant_rate, plan_ladder
from worker.media.pieces import Chunk, Piece
from worker.media.source import Source
from worker.media.subtitles import SubtitlePlan

BOUNDS = [Fraction(0), Fraction(4), Fraction(8), None]
"""Seconds at which chunks begin, and the end of the film."""
CHUNKS = [Chunk(start, end) for start, end in pairwise(BOUNDS) if start is not None]
KEYS = ("-force_key_frames", "expr:gte(t,n_forced*2)", "-bf", 0, "-sc_threshold", 0)
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", 20, *KEYS)


def film(folder: Path, *filters: str, rate: str = "25") -> Path:
    """A film whose every picture differs from the others, in a file with keyframes 2 s apart."""
    source = ",".join((f"testsrc2=s=320x180:r={rate}:d=11.5", *filters))
    return ffmpeg(folder, "film.mkv", "-f", "lavfi", "-i", source, "-fps_mode", "passthrough", *X264)


def real_film(folder: Path, *filters: str) -> Path:
    """A real film with keyframes 2 s apart."""
    chain = ",".join(("scale=320:-2", *filters))
    options = ("-an", "-vf", chain, "-fps_mode", "passthrough", *X264)
    return ffmpeg(folder, "film.mkv", "-stream_loop", 2, "-t", 11.5, "-i", BUNNY, *options)


def cut(folder: Path, source: Path, chunk: Chunk) -> Path:
    """The pictures of a chunk from the keyframe before on, and none behind its end, by the film's clock."""
    to = () if chunk.end is None else ("-to", float(chunk.end) - 0.001)
    return ffmpeg(folder, "cut.mkv", "-ss", float(chunk.start), "-copyts", "-i", source, *to, "-c", "copy")


def as_cut(source: Source) -> Source:
    """A source as the plan of a chunk has it, whose film is read from a cut."""
    return source._replace(video=source.video._replace(demuxer="matroska", stream=0, entry=0.0))


def planned(source: Source, profile: Profile, piece: Piece | None = None) -> Ladder:
    """The ladder of a profile's package, of the whole film or of a chunk."""
    assert profile.package
    video = source.video
    encodes = ladders.rungs(profile.package, *video.upright, constant_rate(video), is_hdr=False)
    return plan_ladder(source, profile, encodes, SubtitlePlan(), Ends(0.0, 0.0), piece)
