"""Sharing the parts of a job among workers: shares are disjoint, complete, and nearly as short as possible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode import ids
from elasticrecode.parts.part import whole_of
from elasticrecode.parts.sharing import share

WORKERS = ["w0", "w1", "w2", "w3"]
costs_of = st.dictionaries(st.integers(0, 40), st.floats(0.1, 1000), min_size=1, max_size=20)


@given(costs_of, st.data())
def test_workers_that_see_the_same_take_every_part_once(costs: dict[int, float], data: st.DataObject) -> None:
    held = data.draw(st.dictionaries(st.sampled_from(sorted(costs)), st.sampled_from(WORKERS)))
    free = data.draw(st.sets(st.sampled_from(WORKERS)))
    unclaimed = set(costs) - set(held)
    workers = {*held.values(), *free} or {"w0"}
    shares = [share(costs, held, unclaimed, workers, worker) for worker in sorted(workers)]
    assert sorted(part for some in shares for part in some) == sorted(unclaimed)


@given(costs_of, st.integers(1, 4))
def test_no_worker_gets_much_more_than_the_mean(costs: dict[int, float], count: int) -> None:
    """The bound of list scheduling: the worker that ends last had the least to do before it took its last part."""
    workers = WORKERS[:count]
    loads = [sum(costs[part] for part in share(costs, {}, costs, workers, worker)) for worker in workers]
    assert max(loads) <= sum(costs.values()) / count + max(costs.values()) * (count - 1) / count + 1e-6


@given(costs_of, st.integers(0, 3))
def test_a_worker_alone_takes_all_that_nobody_holds(costs: dict[int, float], me: int) -> None:
    assert sorted(share(costs, {}, costs, (), WORKERS[me])) == sorted(costs)


def test_a_worker_that_holds_the_longest_part_gets_less_of_the_rest() -> None:
    costs = {0: 45.0, 1: 25.0, 2: 15.0, 3: 8.0, 4: 4.0, 5: 3.0}
    assert share(costs, {0: "a", 1: "b"}, [2, 3, 4, 5], (), "b") == [2, 3, 5]
    assert share(costs, {0: "a", 1: "b"}, [2, 3, 4, 5], (), "a") == [4]


def test_the_id_of_a_part_names_its_job_its_division_and_its_number() -> None:
    job_id = ids.job_id(ids.new(), 7)
    part = ids.part_id(job_id, 2, 5)
    assert ids.is_part(part)
    assert whole_of(part) == (job_id, 2, 5)
    assert not ids.is_part(job_id)
    assert ids.batch_of(part) is None
    with pytest.raises(ValueError, match=job_id):
        whole_of(job_id)
