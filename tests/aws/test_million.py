"""A batch of a million: the functions that look through it stay as small as they are for a thousand."""

import pytest

from elasticrecode.batches.survey import JOBS_LIMIT, PAGE_JOBS
from infra.batches import SURVEY_MIB
from tests.fakes.weighing import weigh

RUNTIME_MIB = 112
"""What Lambda's own runtime may take beside the function, amply."""


def test_a_million_lines_are_looked_through_within_the_memory_and_the_time_there_are() -> None:
    weight = weigh(JOBS_LIMIT)
    assert weight.pages == JOBS_LIMIT // PAGE_JOBS
    assert weight.surveyed < SURVEY_MIB - RUNTIME_MIB
    # At its memory's share of a core a look may take 600 s; a tenth of that leaves room for whatever runs beside it.
    assert weight.survey_cpu < 60 * SURVEY_MIB / 1769


def test_expanding_page_after_page_takes_no_more_memory_than_the_first() -> None:
    first, later = (weigh(30 * PAGE_JOBS, pages) for pages in (1, 30))
    assert later.expanded == pytest.approx(first.expanded, abs=16)
