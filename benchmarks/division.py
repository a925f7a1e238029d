"""A two-hour film divided among 1 to 200 simulated workers, beside Av1an's chunks and equal ones; and its ETA.

The efficiency of N workers is the time of one mean worker alone, divided by N times theirs. `docs/images/division.svg`
is the plot, and a run writes it anew. See `benchmarks.film` for the simulation.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import film, plot
from benchmarks.film import CORE_SECONDS, RATE, SECONDS, Chunk, Course, Crowd, Film, Host, Hosts
from benchmarks.peers import planners
from elasticrecode.jobs.events import Progress

_ROOT = Path(__file__).parents[1]
WORKERS = (1, 2, 4, 8, 16, 32, 64, 100, 150, 200)
_SEEDS = 5
_LEAST = {
    "even": {8: 0.85, 100: 0.7},
    "uneven": {8: 0.85, 64: 0.7},
    "spot": {8: 0.85, 64: 0.7},
}
"""The least efficiency of so many workers, and of fewer down to the next, by their fleet."""
_QUARTER = 0.25
_MOST_ERROR = 0.2
_ETA_WORKERS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 70, 100)
_MARGIN = 0.95
_FLEETS: dict[str, Hosts] = {"even": film.even, "uneven": film.uneven, "spot": film.spot}


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """The efficiency of each planner, the least that the product's may have, and the errors of its ETA."""
    films = [film.film(seed) for seed in range(_SEEDS)]
    frames = SECONDS * RATE
    names: dict[str, Callable[[Film, int], list[Chunk]]] = {
        "the product": lambda of, _: film.planned(of),
        "Av1an": lambda of, _: _expected(planners.scenes(of.cuts, frames, RATE)),
        "one chunk a worker": lambda _, workers: _expected(planners.equal(workers, frames)),
        "3 minutes": lambda *_: _expected(planners.fixed(frames, RATE)),
    }
    means: dict[tuple[str, str], list[float]] = {}
    for fleet, hosts in _FLEETS.items():
        for name, plan in names.items():
            means[fleet, name] = [_mean(films, plan, hosts, workers) for workers in WORKERS]
        for at, workers in enumerate(WORKERS):
            best, peer = max((means[fleet, name][at], name) for name in names if name != "the product")
            ours = means[fleet, "the product"][at]
            least = next((share for most, share in _LEAST[fleet].items() if workers <= most), 0.0)
            label = f"a film of 2 h, {workers} {fleet} workers: efficiency"
            limit = 1 / least if least else float("inf")
            yield label, f"{ours:.3f}", f"{peer} {best:.3f}", 1 / ours, limit
    lines = {name: means["uneven", name] for name in names}
    plot.draw(_ROOT / "docs" / "images" / "division.svg", WORKERS, lines)
    yield from _etas(films)


def _expected(chunks: Sequence[planners.Frames]) -> list[Chunk]:
    return [Chunk(start, end, CORE_SECONDS * (end - start) / RATE) for start, end in chunks]


def _mean(films: Sequence[Film], plan: Callable[[Film, int], list[Chunk]], hosts: Hosts, workers: int) -> float:
    shares = [film.efficiency(of, plan(of, workers), hosts(workers, seed))[1] for seed, of in enumerate(films)]
    return statistics.mean(shares)


def _etas(films: Sequence[Film]) -> Iterator[tuple[str, str, str, float, float]]:
    """The share of runs with a wrong ETA after a quarter, and the 95th percentile of the error."""
    for fleet, hosts in _FLEETS.items():
        errors = [error_after(_QUARTER, of, hosts(n, seed)) for seed, of in enumerate(films) for n in _ETA_WORKERS]
        yield _judged(f"1 to 100 {fleet} workers", errors, is_bounded=fleet != "spot")
    for begins in (0.0, 150.0):
        errors = [
            error_after(_QUARTER, of, film.uneven(n, seed), Crowd(begins, float("inf")))
            for seed, of in enumerate(films)
            for n in (4, 8, 16)
        ]
        yield _judged(f"another user from second {begins:.0f}", errors, is_bounded=not begins)


def _judged(label: str, errors: Sequence[float], *, is_bounded: bool) -> tuple[str, str, str, float, float]:
    worst = sorted(errors)[min(len(errors) - 1, int(_MARGIN * len(errors)))]
    right = sum(error <= _MOST_ERROR for error in errors) / len(errors)
    limit = _MOST_ERROR if is_bounded else float("inf")
    return f"ETA after a quarter, {label}: p95", f"{worst:.2f}", f"{right:.0%} right to 20 %", worst, limit


def error_after(share: float, of: Film, hosts: Sequence[Host], crowd: Crowd | None = None) -> float:
    """The error of the ETA when this share of the work is done, as a share of the time that is left then."""
    course = Course(of, film.planned(of), hosts, crowd)
    seen: list[tuple[float, float]] = []

    def watch(now: float, done: float, progress: Progress) -> None:
        if done >= share and not seen:
            seen.append((now, progress.etaSeconds if progress.etaSeconds is not None else float("inf")))

    ended = course.run(max(1.0, film.alone(of) / len(hosts) / 100), watch, until=share)
    (now, eta), *_ = seen
    return abs(eta - (ended - now)) / (ended - now)
