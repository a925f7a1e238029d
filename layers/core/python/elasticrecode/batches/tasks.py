"""Messages between the functions that survey, expand and count batches."""

from typing import Literal

from msgspec import Struct

from elasticrecode.batches.counting import Change
from elasticrecode.batches.progress import Standing


class Search(Struct):
    """A message to `survey`: look through the inputs of a batch."""

    batchID: str


class Task(Struct):
    """A message to `expand`: make jobs of a page, cancel those of a page, or those of all pages."""

    batchID: str
    do: Literal["make", "sweep", "cancel"]
    run: str = ""
    page: int = 0


def tasks(standing: Standing, do: Literal["make", "sweep"]) -> list[Task]:
    """What is to be done with each page of a batch."""
    pages = standing.found.pages if standing.found else 0
    return [Task(standing.batch.batchID, do, standing.run, n) for n in range(pages)]


class Tally(Struct):
    """A message to `tally`: changes of a batch's jobs, none of them where only its end is to be looked for."""

    batchID: str
    changes: list[Change] = []
