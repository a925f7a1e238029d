"""All chunks of a film have one quality, the film has its size, and no window of it exceeds its cap."""

import heapq
import math
import random
from collections.abc import Mapping, Sequence

import pytest
from msgspec import json

from elasticrecode.media.profiles import Ffmpeg, Target, bits
from worker.media import rates
from worker.media.bucket import overflow
from worker.media.rates import Coded, RatePlan, Span

RUNG = Ffmpeg(codec="libx264", scale="480:270", bitrate="300K", maxBitrate="450K", buffersize="450K")
PIXELS = 480 * 270 * 24.0
WINDOW = 2.0


class Film:
    """A film in scenes, window by window: the weight of each, and the bits that an encoder makes of it at a factor."""

    def __init__(self, seed: int, windows: int, trust: float = 0.5) -> None:
        chance = random.Random(seed)
        self.levels: list[float] = []
        self.spans: list[Span] = []
        while len(self.levels) < windows:
            scene, grain = chance.gauss(0, 0.4), chance.gauss(0, 0.3)
            for _ in range(chance.randint(3, 30)):
                level = scene + chance.gauss(0, 0.2)
                self.levels.append(level)
                self.spans.append(Span(WINDOW, 1e6 * math.exp(trust * level + grain)))
        del self.levels[windows:], self.spans[windows:]

    def bits(self, window: int, crf: float) -> float:
        """Bits of a window: the size halves every five steps, and more slowly where it is small already."""
        return WINDOW * 300_000 * math.exp(self.levels[window] - 0.14 * (crf - 23) + 0.001 * (crf - 23) ** 2)

    def size(self, crf: float) -> float:
        return sum(self.bits(window, crf) for window in range(len(self.spans)))


def analyse(film: Film, encode: Ffmpeg) -> tuple[RatePlan, int]:
    """The plan for a film, and the rounds that it took."""
    chosen, probes, rounds = rates.windows(film.spans), list[Coded](), 0
    crf: float | None = rates.first_crf(encode, PIXELS)
    while crf is not None:
        rounds += 1
        probes += [Coded(film.spans[window], crf, film.bits(window, crf)) for window in chosen]
        crf = rates.next_crf(encode, film.spans, probes)
    return rates.analysed(encode, film.spans, probes), rounds


def encoded(film: Film, plan: RatePlan, length: int, workers: int) -> tuple[float, list[float]]:
    """The bits of a film by those that its target has, and the factors of its chunks of so many windows."""
    places = [range(at, at + length) for at in range(0, len(film.spans), length)]
    chunks = [Span(WINDOW * length, sum(film.spans[window].weight for window in place)) for place in places]
    finished: dict[int, Coded] = {}
    started: dict[int, float] = {}
    chance, running = random.Random(1), list[tuple[float, int]]()
    now = 0.0
    for number in range(len(chunks)):
        if len(running) == workers:
            now, done = heapq.heappop(running)
            finished[done] = coded(film, places, chunks, started, done)
        started[number] = rates.chunk_crf(plan, chunks, finished, started)
        heapq.heappush(running, (now + chance.uniform(1, 1.5), number))
    every = [coded(film, places, chunks, started, number) for number in range(len(chunks))]
    return sum(one.bits for one in every) / plan.target, list(started.values())


def coded(
    film: Film, places: Sequence[range], chunks: Sequence[Span], started: Mapping[int, float], number: int
) -> Coded:
    crf = started[number]
    return Coded(chunks[number], crf, sum(film.bits(window, crf) for window in places[number]))


def test_a_job_with_a_quality_has_it_in_every_chunk() -> None:
    encode = Ffmpeg(codec="libx265", scale="source", quality=Target(crf=21.5))
    plan = rates.analysed(encode, [Span(60.0)] * 3)
    finished = {0: Coded(Span(60.0), 21.5, 9e9)}
    assert rates.chunk_crf(plan, [Span(60.0)] * 3, finished) == 21.5
    chunk = rates.chunk_encode(encode, plan, 21.5, 60.0, at_end=False)
    assert (chunk.quality, chunk.maxBitrate, chunk.bitrate) == (Target(crf=21.5), encode.maxBitrate, encode.bitrate)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "h264_nvenc"])
def test_a_mean_bitrate_caps_chunks_as_it_caps_the_whole(codec: str) -> None:
    encode = Ffmpeg(codec=codec, scale="source", bitrate="4M", buffersize="8M")
    plan = RatePlan(23.0, target=1e9, slope=0.12, peak=4e6, buffer=8e6)
    assert rates.analysed(encode, [Span(2.0)] * 9, [Coded(Span(2.0), 23.0, 8e6)]).peak == plan.peak
    last = rates.chunk_encode(encode, plan, 24.123, 60.0, at_end=True)
    inner = rates.chunk_encode(encode, plan, 24.123, 60.0, at_end=False)
    assert last.quality == Target(crf=24.12)
    assert not last.bitrate
    assert last.maxBitrate == "4M"
    assert inner.maxBitrate
    assert inner.buffersize
    assert 0.98 * 4e6 < bits(inner.maxBitrate) < 4e6
    assert bits(inner.buffersize) <= 8e6 / 1.9


def test_svt_av1_has_no_cap_at_a_mean_bitrate_unless_the_encode_has_one() -> None:
    mean = Ffmpeg(codec="libsvtav1", scale="source", bitrate="4M", buffersize="8M")
    probes = [Coded(Span(2.0), 30.0, 8e6)]
    assert rates.analysed(mean, [Span(2.0)] * 9, probes).peak == 0
    capped = Ffmpeg(codec="libsvtav1", scale="source", bitrate="4M", maxBitrate="6M", buffersize="6M")
    assert rates.analysed(capped, [Span(2.0)] * 9, probes).peak == 6e6


def spent(rate: float, buffer: float, start: float, ticks: int, chance: random.Random) -> list[int]:
    """Bytes for each 25th of a second of a chunk, as greedy as its encoder's buffer lets them be."""
    level, sizes = start, []
    for _ in range(ticks):
        wish = level if chance.random() < 0.05 else chance.choice([0.0, 0.0, rate / 25, level / 2])
        sizes.append(int(min(wish, level) / 8))
        level = min(buffer, level - 8 * sizes[-1] + rate / 25)
    # The end takes all that is left, and so does the beginning of the next chunk.
    sizes[-1] += int(max(0.0, level - rate / 25) / 8)
    return sizes


@pytest.mark.parametrize("seed", range(30))
def test_no_window_over_any_seams_exceeds_the_cap(seed: int) -> None:
    chance = random.Random(seed)
    rate, buffer = 2_000_000, chance.choice([1_000_000, 4_000_000, 20_000_000])
    plan = RatePlan(23.0, peak=rate, buffer=buffer)
    lengths = [chance.choice([1, 50, 150, 1500]) for _ in range(6)]
    safe, full = list[int](), list[int]()
    for number, ticks in enumerate(lengths):
        chunk = rates.chunk_encode(RUNG, plan, 23.0, ticks / 25, at_end=number in (0, len(lengths) - 1))
        assert chunk.maxBitrate
        assert chunk.buffersize
        own = bits(chunk.buffersize)
        safe += spent(bits(chunk.maxBitrate), own, 0.9 * own, ticks, chance)
        full += spent(rate, buffer, 0.9 * buffer, ticks, chance)
    assert overflow(enumerate(safe), 25, rate, buffer) == 0
    assert overflow(enumerate(full), 25, rate, buffer) > 0


def test_windows_are_few_and_stand_for_calm_and_busy_parts_alike() -> None:
    film = Film(3, 3600)
    chosen = rates.windows(film.spans)
    assert len(chosen) == 12
    assert chosen == sorted(set(chosen))
    ranks = sorted(sorted(span.weight for span in film.spans).index(film.spans[one].weight) for one in chosen)
    assert all(number * 300 <= rank < (number + 1) * 300 for number, rank in enumerate(ranks))
    assert len({one // 300 for one in chosen}) >= 10
    assert len(rates.windows(film.spans[:400])) == 6
    assert len(rates.windows(film.spans[:60])) == 4
    assert rates.windows(film.spans[:1]) == [0]


def test_windows_are_spread_evenly_where_the_source_tells_nothing() -> None:
    chosen = rates.windows([Span(2.0)] * 3600)
    assert len({one // 300 for one in chosen}) == 12


@pytest.mark.parametrize("bitrate", ["40K", "300K", "2M"])
@pytest.mark.parametrize(("trust", "most"), [(0.0, 0.2), (1.0, 0.12)])
def test_an_analysis_finds_the_factor_in_two_rounds(bitrate: str, trust: float, most: float) -> None:
    errors = []
    for seed in range(8):
        film = Film(seed, 3600, trust)
        encode = Ffmpeg(codec="libx264", scale="480:270", bitrate=bitrate, maxBitrate="99M")
        plan, rounds = analyse(film, encode)
        assert rounds <= 2
        errors.append(math.log(film.size(plan.crf) / plan.target))
    assert math.sqrt(sum(error**2 for error in errors) / len(errors)) < most


@pytest.mark.parametrize(("workers", "most"), [(1, 0.01), (4, 0.01), (20, 0.025)])
def test_finished_chunks_correct_the_size_of_the_whole(workers: int, most: float) -> None:
    for seed in range(8):
        film = Film(seed, 3600)
        plan, _ = analyse(film, RUNG)
        ratio, factors = encoded(film, plan, 30, workers)
        assert abs(ratio - 1) < most
        assert max(abs(crf - plan.crf) for crf in factors) <= 3.0


def test_a_plan_travels_as_json() -> None:
    plan, _ = analyse(Film(1, 300), RUNG)
    assert json.decode(json.encode(plan), type=RatePlan) == plan


def test_factors_of_svt_av1_are_quarters() -> None:
    encode = Ffmpeg(codec="libsvtav1", scale="480:270", bitrate="300K")
    plan, _ = analyse(Film(1, 300), encode)
    chunks = [Span(60.0)] * 10
    crf = rates.chunk_crf(plan, chunks, {0: Coded(chunks[0], plan.crf, plan.target / 8.9)})
    assert (plan.crf * 4).is_integer()
    assert (crf * 4).is_integer()
    assert crf > plan.crf


def test_pictures_of_nothing_have_a_factor_within_the_limits() -> None:
    spans = [Span(2.0, 0.0)] * 300
    plan = rates.analysed(RUNG, spans, [Coded(spans[0], 20.0, 0.0)])
    assert plan.crf == 8.0
    assert rates.chunk_crf(plan, spans, {0: Coded(spans[0], 8.0, 0.0)}) == 5.0
