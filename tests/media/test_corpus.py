"""Any source comes out right: every case of the corpus has the outcome that its row promises."""

from pathlib import Path

import pytest

from tests.media.case import Case, make
from tests.media.table import PAGE, cases, page
from worker.media.subtitles import has_fonts

CASES = {case.name: case for _, case in cases()}


@pytest.mark.parametrize("name", CASES)
def test_the_source_comes_out_right(tmp_path: Path, name: str) -> None:
    case: Case = CASES[name]
    if case.profile.get("subtitles", {}).get("burn") and not has_fonts():
        pytest.skip("this machine has no fonts to burn subtitles in")
    (tmp_path / "source").mkdir()
    (tmp_path / "job").mkdir()
    made = make(tmp_path / "job", case.make(tmp_path / "source"), case.profile)
    expected = {measure.__name__: value for measure, value in case.right.items()}
    actual = {measure.__name__: measure(made) for measure in case.right}
    assert actual == expected, made.notices


def test_the_page_of_sources_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.media.table"


def test_the_names_of_the_cases_differ() -> None:
    assert len(CASES) == len(cases())
