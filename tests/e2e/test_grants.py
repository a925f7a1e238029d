"""What functions and workers may do suffices for all that they do; `make iam-proof` shows that it is not too much."""

import pytest

from tests.grants.conftest import stage
from tests.grants.exercises import EXERCISES, Exercise
from tests.grants.stage import Stage

__all__ = ["stage"]


@pytest.mark.parametrize(
    "exercise",
    list(dict.fromkeys(exercise for exercises in EXERCISES.values() for exercise in exercises)),
    ids=lambda exercise: exercise.__name__,
)
def test_each_role_may_do_what_it_needs(stage: Stage, exercise: Exercise) -> None:
    exercise(stage)
