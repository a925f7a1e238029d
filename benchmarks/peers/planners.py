"""How other systems divide a film among workers: chunks in frames of it, in the order in which workers take them.

Av1an (rust-av/Av1an, `av1an-core/src/split.rs` and its documentation): a chunk is a scene of at least 24 frames, scenes
of more than 10 s are divided equally, and the longest chunk goes first. Its search for scenes reads the whole film
before; that time is left out here.

Equal chunks: one for each worker, or one for 3 minutes of the film, as Netflix began.
"""

import itertools
from collections.abc import Sequence

Frames = tuple[int, int]
"""The first frame of a chunk, and that behind its last."""
_LEAST_SCENE = 24
_MOST_SCENE_SECONDS = 10
_FIXED_SECONDS = 180


def scenes(cuts: Sequence[int], frames: int, rate: int) -> list[Frames]:
    """Av1an's chunks of a film with these first frames of scenes."""
    bounds = [0]
    for cut in cuts:
        if cut - bounds[-1] >= _LEAST_SCENE and frames - cut >= _LEAST_SCENE:
            bounds.append(cut)
    most = _MOST_SCENE_SECONDS * rate
    chunks: list[Frames] = []
    for start, end in zip(bounds, [*bounds[1:], frames], strict=True):
        pieces = (end - start) // most + 1 if end - start > most else 1
        edges = [start + (end - start) * piece // pieces for piece in range(pieces + 1)]
        chunks += itertools.pairwise(edges)
    return sorted(chunks, key=lambda chunk: chunk[0] - chunk[1])


def equal(count: int, frames: int) -> list[Frames]:
    """So many chunks of equal length, in the order of the film."""
    edges = [frames * chunk // count for chunk in range(count + 1)]
    return list(itertools.pairwise(edges))


def fixed(frames: int, rate: int) -> list[Frames]:
    """Chunks of 3 minutes, in the order of the film."""
    starts = range(0, frames, _FIXED_SECONDS * rate)
    return [(start, min(frames, start + _FIXED_SECONDS * rate)) for start in starts]
