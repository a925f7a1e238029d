"""A batch of a million jobs: the memory of its functions does not grow with the batch."""

import pytest

from elasticrecode.batches.survey import JOBS_LIMIT, PAGE_JOBS
from infra.batches import SURVEY_MIB
from tests.fakes.weighing import weigh
from tests.sizes import sized

RUNTIME_MIB = 112
"""A generous allowance for Lambda's own runtime."""


LINES = sized(JOBS_LIMIT // 5, JOBS_LIMIT, JOBS_LIMIT)


def test_the_longest_manifest_is_surveyed_within_the_functions_memory_and_time() -> None:
    weight = weigh(LINES)
    assert weight.pages == LINES // PAGE_JOBS
    assert weight.surveyed < SURVEY_MIB - RUNTIME_MIB
    # With its memory's share of a core a survey may take 600 s. A tenth of that leaves room for a busy machine.
    assert weight.survey_cpu < 60 * SURVEY_MIB / 1769 * LINES / JOBS_LIMIT


def test_expanding_30_pages_takes_no_more_memory_than_one() -> None:
    first, later = (weigh(30 * PAGE_JOBS, pages) for pages in (1, 30))
    assert later.expanded == pytest.approx(first.expanded, abs=16)
