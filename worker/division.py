"""Whether and how a job is divided among workers: the time that one would need, and the chunks of its film. Pure.

The CPU seconds are measured, on a processor core of a cloud's common machines, and rounded. They differ with pictures
and processors; a choice between one worker and several needs no better than a factor of two.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Profile
from elasticrecode.parts.part import MOST_PARTS, PartKind
from worker.media.ladder import Ladder
from worker.media.plan import Picture

_CPU_SECONDS: Mapping[str, Mapping[str, float]] = {
    "h264": {"fast": 0.017, "medium": 0.041, "slow": 0.07},
    "hevc": {"fast": 0.06, "medium": 0.084, "slow": 0.19},
    "av1": {"fast": 0.033, "medium": 0.09, "slow": 0.16},
}
"""Codec and speed → CPU seconds of an encoder for a million pixels."""
_SCORE_SECONDS = 0.022
"""CPU seconds of a score for a million pixels, at the size of the largest rung."""
_UNKNOWN_SECONDS = 3600.0
_UNKNOWN_RATE = 30.0

LONGEST_SECONDS = 60.0
"""The longest chunk by default."""
_LEAST_MEAN_SECONDS = 15.0
"""Chunks are as long on average, as each one's lookahead and rate control begin anew."""
_LEAST_MEAN_COST = 40.0
"""CPU seconds of a mean chunk, beside which the constant cost of one (a claim, processes, requests) is about 2 %."""
_FIRST, _LAST = 1.6, 0.4
"""The cost of the first and of the last chunk beside their mean: a worker that ends last has little to do alone."""
_FEW = 4
"""Fewer chunks are equally long."""
_BYTES_POWER = 0.3
"""The cost of a picture is proportional to this power of its coded bytes in the source: measured from titles that stand
still to noise, whose bytes differ by 3000 and costs by 14."""
_LEAST_BYTES = 0.001
"""The least bytes of a step that count, beside their mean."""
_MOST_STEPS = 40_000
_HALVINGS = 12


class Estimate(NamedTuple):
    """CPU seconds of a job's encodes with their scores: those of the file, and those of each rung of the package."""

    file: float = 0.0
    rungs: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """CPU seconds of the whole job."""
        return self.file + sum(self.rungs)


class Choice(NamedTuple):
    """Into which kind of parts a job is divided, None for none; the seconds of one worker; and the reason in words."""

    kind: PartKind | None
    seconds: float
    reason: str


def estimate(profile: Profile, length: float | None, file: Picture | None, ladder: Ladder | None) -> Estimate:
    """The work of a job with this `file`, this `ladder`, or both.

    `length` is that of the output in seconds, None where unknown: such a film counts as one of an hour.
    """
    seconds = _UNKNOWN_SECONDS if length is None else length
    alone = _seconds(file, seconds * (file.rate or _UNKNOWN_RATE), file, profile) if file else 0.0
    rungs: list[float] = []
    for plan in ladder.rungs if ladder else ():
        frames = float(seconds * ladder.rate) * plan.picture.gop / ladder.gop if ladder else 0.0
        top = ladder.rungs[0].picture if ladder else plan.picture
        rungs.append(_seconds(plan.picture, frames, top, profile))
    return Estimate(alone, tuple(rungs))


def _seconds(picture: Picture, frames: float, scored_at: Picture, profile: Profile) -> float:
    encode, size, compared = picture.encode, picture.size, scored_at.size
    speeds = _CPU_SECONDS[encoder_of(encode.codec)[0].stream]
    score = _SCORE_SECONDS * compared.width * compared.height if profile.vmaf else 0.0
    return frames * (speeds[encode.speed or "medium"] * size.width * size.height + score) / 1e6


def choose(work: Estimate, cores: int, bound: float, uncuttable: str = "", *, never: bool = False) -> Choice:
    """Whether a job is divided among workers with so many cores, of which one may be busy for `bound` seconds.

    `uncuttable` says why the film can't be divided into chunks; then the rungs of a package are parts, if it has
    several. `never` is the profile's wish.
    """
    exactly = work.total / max(1, cores)
    seconds = round(exactly, 1)
    if never:
        return Choice(None, seconds, 'The profile says "split": "never".')
    fits = exactly <= bound
    needs = f"One worker needs about {seconds:g} s, {'not more than' if fits else 'more than'} {bound:g} s."
    if fits:
        return Choice(None, seconds, needs)
    if not uncuttable:
        return Choice("chunk", seconds, needs)
    if len(work.rungs) > 1:
        return Choice("rung", seconds, f"{needs} {uncuttable}")
    return Choice(None, seconds, f"{uncuttable} It has one rung." if work.rungs else uncuttable)


def plan_chunks(
    length: Fraction,
    grid: Fraction,
    cost_per_second: float,
    longest: float = LONGEST_SECONDS,
    weights: Sequence[float] | None = None,
    *,
    least: float = _LEAST_MEAN_SECONDS,
) -> list[tuple[Fraction, Fraction]]:
    """The chunks of a film of `length` seconds, in order: start and end, which are multiples of `grid` but at the end.

    `grid` is the time from one keyframe of the output to the next, `cost_per_second` the mean CPU seconds for a second
    of the film, and `weights` the coded bytes of the source in each step of the grid, where known. Chunks are `least`
    seconds long on average, or longer.

    The first chunks are the longest, up to `longest` seconds, and they become shorter towards the end, where workers
    that have no more to do wait for the last one. They are as many as workers may need, but each is worth its constant
    cost, and they are at most MOST_PARTS. Where `longest` is short, all are that long.
    """
    if (length / grid) > _MOST_STEPS:
        grid, weights = grid * math.ceil(length / grid / _MOST_STEPS), None
    steps = max(1, math.ceil(length / grid))
    shares = _shares(length, grid, steps, weights)
    wanted = min(MOST_PARTS, cost_per_second * float(length) / _LEAST_MEAN_COST, float(length) / least)
    most = max(1, int(longest / grid), math.ceil(steps / MOST_PARTS))
    bounds = _bounds(shares, max(1.0, wanted), most)
    if len(bounds) > MOST_PARTS:
        few, many = 1.0, wanted
        for _ in range(_HALVINGS):
            middle = (few + many) / 2
            few, many = (few, middle) if len(_bounds(shares, middle, most)) > MOST_PARTS else (middle, many)
        bounds = _bounds(shares, few, most)
    starts = [0, *bounds[:-1]]
    return [(start * grid, min(end * grid, length)) for start, end in zip(starts, bounds, strict=True)]


def with_short_start(chunks: Sequence[tuple[Fraction, Fraction]], grid: Fraction) -> list[tuple[Fraction, Fraction]]:
    """The chunks of `plan_chunks` with short ones in front, so that the start of the film is encoded soon.

    The first has one step of the grid, and each further one twice as much, up to the length of the others.
    """
    ends = [end for _, end in chunks]
    short: list[Fraction] = []
    done, step = Fraction(0), grid
    while step < next((end - max(start, done) for start, end in chunks if end > done), Fraction(0)):
        done += step
        short.append(done)
        step *= 2
    longest = max(end - start for start, end in chunks)
    rest = [end for end in ends if end > done]
    if len(short) > 1 and rest and rest[0] - done < step / 4 and rest[0] - short[-2] <= longest:
        short.pop()
    while len(short) + len(rest) > MOST_PARTS:
        before = [*short[-1:], *rest]
        del rest[min(range(len(rest) - 1), key=lambda n: before[n + 2] - before[n])]
    bounds = [Fraction(0), *short, *rest]
    return list(pairwise(bounds))


def _bounds(shares: Sequence[float], wanted: float, most: int) -> list[int]:
    """The steps at which chunks end: about `wanted` chunks, but none has more than `most` steps."""
    slope = _FIRST - _LAST if wanted >= _FEW else 0.0
    largest = math.log(_FIRST / _LAST) / slope / wanted * _FIRST if slope else 1 / round(wanted)
    bounds: list[int] = []
    done, step = 0.0, 0
    while step < len(shares):
        target = largest * (1 - slope / _FIRST * done)
        cost, start = shares[step], step
        step += 1
        while step < len(shares) and step - start < most and cost + shares[step] / 2 <= target:
            cost += shares[step]
            step += 1
        done += cost
        bounds.append(step)
    before = bounds[-3] if len(bounds) > 2 else 0
    if len(bounds) > 1 and cost < target / 2 and bounds[-1] - before <= most:
        del bounds[-2]
    return bounds


def chunk_costs(
    chunks: Sequence[tuple[Fraction, Fraction]], grid: Fraction, total: float, weights: Sequence[float] | None = None
) -> list[float]:
    """The CPU seconds of each chunk of `plan_chunks`, of `total` for the film, by its frames and `weights`."""
    length = chunks[-1][1]
    shares = _shares(length, grid, max(1, math.ceil(length / grid)), weights)
    return [
        round(max(0.01, total * sum(shares[int(start / grid) : math.ceil(end / grid)])), 2) for start, end in chunks
    ]


def _shares(length: Fraction, grid: Fraction, steps: int, weights: Sequence[float] | None) -> list[float]:
    """The share of each step of the grid in the cost of the film. Weights that are no use count as equal ones."""
    times = [1.0] * (steps - 1) + [float((length - (steps - 1) * grid) / grid)]
    known = [max(0.0, weight) for weight in weights or () if math.isfinite(weight)]
    bytes_of_second = sum(known) / sum(times) if len(known) == steps else 0.0
    if bytes_of_second > 0:
        densities = [weight / bytes_of_second / time for weight, time in zip(known, times, strict=True)]
        times = [
            time * max(density, _LEAST_BYTES) ** _BYTES_POWER for time, density in zip(times, densities, strict=True)
        ]
    total = sum(times)
    return [time / total for time in times]


def span_name(start: Fraction, end: Fraction) -> str:
    """The name of a chunk: where it lies in the output, such as `00:12:00-00:13:00`; milliseconds where it needs them.

    Times are rounded down, so names of different chunks may be equal where they are shorter than a millisecond.
    """
    return "-".join(map(_clock, (start, end)))


def _clock(time: Fraction) -> str:
    seconds, milliseconds = divmod(int(time * 1000), 1000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{milliseconds:03d}" if milliseconds else text
