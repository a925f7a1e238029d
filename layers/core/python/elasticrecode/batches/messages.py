"""Messages between the functions that survey, expand and count batches."""

from typing import Literal

from msgspec import Struct

from elasticrecode.batches.counting import Change
from elasticrecode.batches.progress import StoredBatch


class SurveyMessage(Struct):
    """Tells `survey` to read the inputs of a batch."""

    batchID: str


class PageMessage(Struct):
    """Tells `expand` to create the jobs of a page (`make`), cancel them (`sweep`), or cancel all pages (`cancel`).

    `run` is the survey that stored the page.
    """

    batchID: str
    do: Literal["make", "sweep", "cancel"]
    run: str = ""
    page: int = 0


class TallyMessage(Struct):
    """Tells `tally` to count changes of a batch's jobs; without changes, to check whether the batch has ended."""

    batchID: str
    changes: list[Change] = []


def page_messages(stored: StoredBatch, do: Literal["make", "sweep"]) -> list[PageMessage]:
    """A message for each page of a batch."""
    pages = stored.survey.pages if stored.survey else 0
    return [PageMessage(stored.batch.batchID, do, stored.run, n) for n in range(pages)]
