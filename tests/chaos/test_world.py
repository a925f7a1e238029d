"""(b) AWS refuses, answers too late and in part, and every process dies between any two of its calls."""

import random
from collections import Counter
from itertools import count

import pytest

from tests.chaos.world import World
from tests.conftest import Tell
from tests.fakes.clock import Clock
from tests.sizes import SEED, sized

JOBS = sized(1_000, 3_000, 100_000)
JOBS_A_WORLD = 1_000
ZERO = ("lost", "stuck", "doubled", "illegal", "wrong answers", "published after the end")


@pytest.mark.timeout(sized(300, 600, 7200))
def test_no_job_is_lost_doubled_or_stuck_when_aws_calls_fail(clock: Clock, tell: Tell) -> None:
    counts: Counter[str] = Counter()
    for n in count():
        clock.ahead = 0.0
        with pytest.MonkeyPatch.context() as patch:
            world = World(random.Random(SEED + n), clock, patch)
            world.live(JOBS_A_WORLD)
            counts += world.judged()
            assert not any(counts[name] for name in ZERO), (
                SEED + n,
                {name: counts[name] for name in ZERO},
                world.wrong,
            )
        if counts["accepted"] >= JOBS:
            break
    tell("AWS calls that fail", {name: counts[name] for name in (*ZERO, *sorted(counts.keys() - ZERO))})
