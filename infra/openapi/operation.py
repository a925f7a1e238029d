"""What the declaration of an operation consists of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from elasticrecode.api.http import PAGE_DEFAULT, PARAMETER_LENGTH
from elasticrecode.contract.routes import (
    BATCH,
    CANCEL,
    CANCEL_BATCH,
    JOB_EVENTS,
    JOB_STATUS,
    JOBS,
    REMOVE_WEBHOOK,
    RETRY,
    RETRY_WEBHOOK,
    TEST_WEBHOOK,
    WEBHOOK_FAILURES,
)

Json = dict[str, Any]


class Body(NamedTuple):
    """A request body: any of several types, with examples by name."""

    kinds: Sequence[type]
    examples: Mapping[str, Json]


class Query(NamedTuple):
    """A parameter of the query."""

    name: str
    description: str
    schema: Json
    required: bool = False


class Link(NamedTuple):
    """A request that follows from an answer: `source` is where the answer or request has the value of `parameter`."""

    route: str
    parameter: str
    source: str


class Operation(NamedTuple):
    """The documentation of one route.

    `answers` maps a status to the type of the answer, `refusals` are further statuses, beside those that follow from
    the route and its body. A list in pages has a `cursor`, a regular expression, and `limit` entries on a page by
    default.
    """

    id: str
    summary: str
    description: str
    answers: Mapping[int, Any]
    refusals: Sequence[int] = ()
    query: Sequence[Query] = ()
    body: Body | None = None
    has_key: bool = False
    cursor: str = ""
    limit: int = PAGE_DEFAULT
    links: Sequence[Link] = ()
    examples: Mapping[str, Any] = {}


class Area(NamedTuple):
    """Operations under one tag, by their routes."""

    tag: str
    description: str
    operations: Mapping[str, Operation]


def name_schema(**more: Any) -> Json:
    """The schema of an id or a name in a path or a query."""
    return {"type": "string", "minLength": 1, "maxLength": PARAMETER_LENGTH, **more}


USER = Query("userID", "The user who owns them.", name_schema(), required=True)


def job_links(pointer: str) -> list[Link]:
    """Links from an answer that has a job's id at a JSON pointer."""
    routes = (JOB_STATUS, JOB_EVENTS, CANCEL, RETRY)
    return [Link(route, "jobID", f"$response.body#{pointer}") for route in routes]


def batch_links() -> list[Link]:
    """Links from an answer that is a batch."""
    return [Link(route, "batchID", "$response.body#/batchID") for route in (BATCH, CANCEL_BATCH, JOBS)]


def webhook_links(pointer: str) -> list[Link]:
    """Links from an answer that has a webhook's id at a JSON pointer."""
    routes = (TEST_WEBHOOK, WEBHOOK_FAILURES, RETRY_WEBHOOK, REMOVE_WEBHOOK)
    return [Link(route, "webhookID", f"$response.body#{pointer}") for route in routes]
