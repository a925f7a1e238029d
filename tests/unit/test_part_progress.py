"""The ETA of a divided job is right to a fifth after a quarter of the work, whoever encodes it."""

import pytest

from benchmarks import film
from benchmarks.division import error_after
from benchmarks.film import Course, Crowd, Host
from benchmarks.peers import planners
from elasticrecode.jobs.events import Progress
from elasticrecode.parts.part import StoredPart
from elasticrecode.parts.progress import overall
from tests.sizes import sized

_FILMS = [film.film(seed) for seed in range(sized(2, 6, 20))]
_WORKERS = (1, 2, 5, 12, 40, 100)


@pytest.mark.parametrize("hosts", [film.even, film.uneven], ids=["even", "uneven"])
def test_the_eta_of_a_constant_fleet_is_right_to_a_fifth_after_a_quarter(hosts: film.Hosts) -> None:
    errors = [error_after(0.25, of, hosts(n, seed)) for seed, of in enumerate(_FILMS) for n in _WORKERS]
    assert sum(error <= 0.2 for error in errors) >= 0.95 * len(errors)
    assert max(errors) < 0.3


@pytest.mark.parametrize("workers", [4, 16])
def test_other_users_who_wait_count(workers: int) -> None:
    """They take half of the workers' time; an ETA that did not know would be wrong by half."""
    hosts = film.uneven(workers, 1)
    assert error_after(0.25, _FILMS[0], hosts, Crowd(0.0, float("inf"))) < 0.2


def test_workers_that_come_and_go_count_at_once() -> None:
    base = [Host(1.0)] * 4
    gone = Course(_FILMS[0], film.planned(_FILMS[0]), [*base, *[Host(1.0, 0.0, 400.0)] * 4])
    more = Course(_FILMS[0], film.planned(_FILMS[0]), [*base, *[Host(1.0, 400.0)] * 4])
    for course in (gone, more):
        seen: list[tuple[float, float]] = []

        def watch(now: float, _: float, progress: Progress, seen: list[tuple[float, float]] = seen) -> None:
            seen.append((now, progress.etaSeconds or 0.0))

        ended = course.run(10.0, watch)
        errors = [abs(eta - (ended - now)) / (ended - now) for now, eta in seen if 500 < now < ended / 2]
        assert len(errors) > 20
        assert max(errors) < 0.1


def test_the_percent_never_falls_and_ends_at_all() -> None:
    shares: list[float] = []
    course = Course(_FILMS[0], film.planned(_FILMS[0]), film.uneven(8, 3))
    course.run(20.0, lambda _, __, progress: shares.append(progress.percent or 0.0))
    assert shares == sorted(shares)
    assert shares[-1] > 95


def _parts(moment: float) -> list[StoredPart]:
    course = Course(_FILMS[0], film.planned(_FILMS[0]), film.even(4, 0))
    course.run()
    return course.stored(moment)


def test_a_job_that_nobody_has_begun_has_no_eta() -> None:
    assert overall(_parts(0.0), {}, 0) == Progress(percent=0.0)
    assert overall([], {}, 0) == Progress()


def test_a_job_of_finished_parts_is_about_to_be_joined() -> None:
    parts = _parts(1e6)
    progress = overall(parts, {}, 10**9)
    size = sum(file.bytes for each in parts if each.result for file in each.result.files)
    assert progress.percent == 100.0
    join = size / film.JOIN_BYTES_PER_SECOND + len(parts) * film.JOIN_CHUNK_SECONDS
    assert progress.etaSeconds == pytest.approx(join, rel=0.01)


def test_the_sound_counts_until_it_has_been_made() -> None:
    parts = _parts(1e6)
    ended = max(each.ended_ms or 0 for each in parts)
    joined = overall(parts, {}, ended).etaSeconds
    later = [overall(parts, {}, ended + 1000 * seconds, 60.0).etaSeconds for seconds in (0, 20, 90)]
    assert joined is not None
    assert later == pytest.approx([joined + 60, joined + 40, joined], abs=0.1)


def test_what_a_worker_has_in_hand_is_newer_than_the_record() -> None:
    parts = _parts(300.0)
    running = next(each for each in parts if each.state == "running")
    before, after = (
        overall(parts, {running.part.number: Progress(percent=percent)}, 300_000).percent for percent in (0.0, 100.0)
    )
    cost = 100 * running.part.cost / sum(each.part.cost for each in parts)
    assert (after or 0) - (before or 0) == pytest.approx(cost, abs=0.02)


def test_peers_divide_by_their_rules() -> None:
    assert planners.scenes([100, 110, 1000], 2000, 25) == [
        *[(at, at + 225) for at in range(100, 1000, 225)],
        *[(at, at + 200) for at in range(1000, 2000, 200)],
        (0, 100),
    ]
    assert planners.equal(3, 100) == [(0, 33), (33, 66), (66, 100)]
    assert planners.fixed(10_000, 25) == [(0, 4500), (4500, 9000), (9000, 10_000)]
