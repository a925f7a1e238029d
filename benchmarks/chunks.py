"""A real film encoded whole by one process, and in chunks by two, each on one core with one encoder thread.

The chunks are the product's: planned, cut by ranged reads, encoded, and joined. Both sides write pictures alone, as a
divided film has its sound encoded once too. The overhead is the CPU time of all processes beside that of the undivided
encode; the film is so short that it has only two chunks, so a longer one pays for opening and joining less often.
"""

import multiprocessing
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec

from elasticrecode.media.profiles import Profile, resolve
from local.place import TOOLS
from worker.cuts.index import Film, Recipe, make_cut, open_index
from worker.cuts.objects import LocalFile
from worker.division import estimate, plan_chunks, span_name
from worker.joining.chunks import ChunkFile
from worker.joining.join import join
from worker.media import pieces
from worker.media.chunk import encode_chunk, target_of_file
from worker.media.encode import transcode
from worker.media.plan import make_plan
from worker.media.source import Source
from worker.sandbox.runner import Runner
from worker.settings import Settings

SECONDS = 80
_LEAST_OF_IDEAL = 0.85
_MOST_OVERHEAD = 1.03
_FFMPEG, _FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
_SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "n", "p", _FFMPEG, _FFPROBE)
_PROFILE = resolve(
    msgspec.convert(
        {"ffmpeg": {"codec": "h264", "scale": "720p", "quality": {"crf": 23}}, "audio": {"codec": "none"}}, Profile
    )
)


class _Task(NamedTuple):
    """A chunk, and what a worker needs to encode it."""

    clip: Path
    source: Source
    film: Film
    recipe: Recipe
    chunk: pieces.Chunk
    folder: Path


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """The wall time of two processes beside half of that of one, and the CPU time of both ways."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "input"
        bunny = str(TOOLS / "media" / "bigbuckbunny.mp4")
        loop = ["-v", "error", "-stream_loop", "-1", "-i", bunny, "-map", "0:v", "-c", "copy", "-t", str(SECONDS)]
        subprocess.run([_FFMPEG, *loop, "-f", "mp4", str(clip)], check=True)
        whole = _measured(lambda: _whole(clip, folder))
        parts: list[tuple[float, int]] = []
        divided = _measured(lambda: parts.extend(_divided(clip, folder / "parts", 2)))
    chunks = len(parts)
    label = f"{SECONDS} s of 720p, one process, and two with {chunks} chunks"
    yield (
        f"{label}: wall",
        f"{divided[1]:.1f} s",
        f"half of one's {whole[1] / 2:.1f} s",
        2 * divided[1] / whole[1],
        1 / _LEAST_OF_IDEAL,
    )
    yield f"{label}: CPU", f"{divided[0]:.2f} s", f"undivided {whole[0]:.2f} s", divided[0] / whole[0], _MOST_OVERHEAD
    cost, size = sum(cost for cost, _ in parts), sum(size for _, size in parts)
    yield (
        f"{label}: CPU besides encodes",
        f"{divided[0] - cost:.2f} s",
        f"{size / 1e6:.1f} MB",
        divided[0] - cost,
        float("inf"),
    )


def _whole(clip: Path, folder: Path) -> None:
    encode = _PROFILE.ffmpeg
    assert encode
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    nothing = (_SETTINGS, Runner(), lambda _: None)
    transcode(clip, folder / "whole", "s3://b/o.mp4", "mp4", _PROFILE, encode, *nothing, then_score=False)


def _divided(clip: Path, folder: Path, processes: int) -> list[tuple[float, int]]:
    """Divide, encode and join; the CPU seconds and bytes of each chunk's encode."""
    folder.mkdir()
    runner, encode = Runner(), _PROFILE.ffmpeg
    assert encode
    opened = folder / "opened"
    opened.mkdir()
    source, index = open_index(LocalFile(clip, runner), opened, _SETTINGS, runner)
    picture = make_plan(source, _PROFILE, encode, "mp4").picture
    grid, cost = pieces.grid(encode), estimate(_PROFILE, SECONDS, picture, None).total
    steps = [float(grid * step) for step in range(int(SECONDS / grid) + 1)]
    spans = plan_chunks(Fraction(SECONDS), grid, cost / SECONDS, weights=index.weights(steps))
    tasks = []
    for number, (start, end) in enumerate(spans):
        chunk = pieces.Chunk(start, end if number < len(spans) - 1 else None)
        until = None if chunk.end is None else float(end)
        recipe = index.recipe(float(start), until, pieces.lead(source.video))
        tasks.append(_Task(clip, source, index.film, recipe, chunk, folder / f"chunk-{number}"))
    context = multiprocessing.get_context("fork")
    cores = context.Queue()
    for number in range(processes):
        cores.put(sorted(os.sched_getaffinity(0))[number % len(os.sched_getaffinity(0))])
    with context.Pool(processes, lambda: os.sched_setaffinity(0, {cores.get()})) as pool:
        done = pool.map(_encoded, tasks, chunksize=1)
    files = [
        ChunkFile(file, span_name(start, end), int(start * ticks), int(end * ticks), frames)
        for (file, frames, ticks, _, _), (start, end) in zip(done, spans, strict=True)
    ]
    files[-1] = files[-1]._replace(end=None)
    joined = join(files, folder / "joined.mp4", done[0][2], _FFPROBE, runner)
    assert joined.frames == sum(file.frames or 0 for file in files)
    return [(cost, size) for _, _, _, cost, size in done]


def _encoded(task: _Task) -> tuple[Path, int, int, float, int]:
    """The file of a chunk, its frames and ticks, and the CPU seconds and bytes of its encode."""
    task.folder.mkdir()
    runner, encode, cut = Runner(), _PROFILE.ffmpeg, task.folder / "cut"
    assert encode
    make_cut(task.film, task.recipe, LocalFile(task.clip, runner), cut, runner)
    video = task.source.video._replace(demuxer=task.film.demuxer, stream=task.film.stream, entry=0.0)
    piece = pieces.Piece(task.chunk, task.film.filters)
    target = target_of_file(task.source._replace(video=video), _PROFILE, encode, piece, task.folder / "chunk.mp4")
    seconds = float((task.chunk.end or Fraction(SECONDS)) - task.chunk.start)
    figures = encode_chunk({0: target}, cut, seconds, _SETTINGS, runner, lambda _: None)[0]
    return target.file, figures.frames, target.ticks, figures.cpuSeconds, figures.bytes


def _measured(run: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of a call in a process on one core, with those that it starts on the others."""
    allowed = os.sched_getaffinity(0)
    before, started = _used(), time.monotonic()
    run()
    spent = _used() - before, time.monotonic() - started
    os.sched_setaffinity(0, allowed)
    return spent


def _used() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
