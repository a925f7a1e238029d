"""A film's rate is held against all windows of it."""

from hypothesis import given
from hypothesis import strategies as st

from worker.media.bucket import overflow

PACKETS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 50)), min_size=1, max_size=25)


@given(PACKETS, st.integers(1, 30), st.integers(1, 400), st.integers(1, 400))
def test_the_worst_excess_is_that_of_the_worst_window(
    steps: list[tuple[int, int]], ticks: int, rate: int, buffer: int
) -> None:
    time, packets = -7, list[tuple[int, int]]()
    for step, size in steps:
        time += step
        packets.append((time, size))
    excess = max(
        8 * ticks * sum(size for _, size in packets[first : last + 1])
        - ticks * buffer
        - rate * (packets[last][0] - packets[first][0])
        for first in range(len(packets))
        for last in range(first, len(packets))
    )
    assert overflow(packets, ticks, rate, buffer) == max(0, -(-excess // ticks))


def test_a_film_at_its_rate_overflows_by_nothing_and_by_all_that_is_too_much() -> None:
    even = [(n, 125) for n in range(1000)]  # 1000 bits a tick
    assert overflow(even, 10, 10_000, 1000) == 0
    assert overflow([*even, (1000, 250)], 10, 10_000, 1000) == 1000
