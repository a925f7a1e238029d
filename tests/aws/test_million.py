"""A batch of a million: the functions that look through it stay as small as they are for a thousand."""

import pytest

from elasticrecode.batches.survey import JOBS_LIMIT, PAGE_JOBS
from infra.batches import SURVEY_MIB
from tests.fakes.weighing import weigh
from tests.sizes import sized

RUNTIME_MIB = 112
"""What Lambda's own runtime may take beside the function, amply."""


LINES = sized(JOBS_LIMIT // 5, JOBS_LIMIT, JOBS_LIMIT)


def test_the_longest_manifest_is_surveyed_within_the_functions_memory_and_time() -> None:
    weight = weigh(LINES)
    assert weight.pages == LINES // PAGE_JOBS
    assert weight.surveyed < SURVEY_MIB - RUNTIME_MIB
    # At its memory's share of a core a look may take 600 s; a tenth of that leaves room for whatever runs beside it.
    assert weight.survey_cpu < 60 * SURVEY_MIB / 1769 * LINES / JOBS_LIMIT


def test_expanding_page_after_page_takes_no_more_memory_than_the_first() -> None:
    first, later = (weigh(30 * PAGE_JOBS, pages) for pages in (1, 30))
    assert later.expanded == pytest.approx(first.expanded, abs=16)
