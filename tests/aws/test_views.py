"""What a view of the home page costs when it opens, whatever the number of jobs behind it."""

from collections import Counter

import pytest

from elasticrecode.contract.routes import ROUTES
from elasticrecode.workers import loads
from tests.aws.test_batches import taken, uris, work
from tests.aws.test_links import OUTPUTS, finished
from tests.aws.test_lists import USER, calls, small_pages, store
from tests.aws.test_webhooks import WebhookStack
from tests.aws.test_webhooks import stack as webhooks
from tests.fakes.stack import Stack
from tests.support import call
from tests.views import FOR_OPERATORS, FRAME, VIEWS, View

__all__ = ["calls", "small_pages", "webhooks"]

pytestmark = pytest.mark.timeout(180)

COSTS = {
    "frame": {},
    "now": {"GetItem": 1, "Query": 2, "BatchGetItem": 1},
    "jobs": {"Query": 8, "BatchGetItem": 1},
    "jobs of a state": {"Query": 2, "BatchGetItem": 1},
    "a job": {"BatchGetItem": 2, "Query": 1},
    "watch": {"BatchGetItem": 2},
    "batches": {"Query": 2, "BatchGetItem": 1},
    "a batch": {"GetItem": 2, "Query": 3},
    "send work": {"Query": 1},
    "webhooks": {"Query": 1},
    "presets": {"Query": 1},
}
OPERATORS_COSTS = {
    "now": {"GetItem": 1, "Query": 4, "BatchGetItem": 1},
    "fleet": {"Query": 4},
}
MEASURED = {"GetQueueAttributes": 2, "PutItem": 1}
"""What a view adds that measures a fleet of two queues. Their lengths are kept for the views after it."""


def test_the_calls_behind_each_view_are_few(
    stack: Stack, webhooks: WebhookStack, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for state in ("finished", "running", "failed"):
        store("ffmpeg", state, 300)
    batch_id = taken(stack, inputs=uris(120))
    work(stack)
    names = {"job": finished(stack, OUTPUTS), "batch": batch_id}

    def cost(view: View) -> dict[str, int]:
        """With functions that keep nothing from before."""
        functions = {route: next(name for name, some in ROUTES.items() if route in some) for route, _ in view.asks}
        build = stack.build
        handlers = {name: webhooks.api if name == "webhooks" else build(name) for name in functions.values()}
        calls.clear()
        for route, query in view.asks:
            filled = {"userID": USER} | {key: value.format(**names) for key, value in query.items()}
            answer = call(handlers[functions[route]], route, None, {"jobID": names["job"], "batchID": batch_id}, filled)
            assert answer.status == 200, (route, answer.body)
        return dict(calls)

    assert {name: cost(view) for name, view in [("frame", View("", (FRAME,))), *VIEWS.items()]} == COSTS
    monkeypatch.setattr(loads, "MEASURE_SECONDS", 0)
    assert {name: cost(view) for name, view in FOR_OPERATORS.items()} == {
        name: counted | MEASURED for name, counted in OPERATORS_COSTS.items()
    }
    monkeypatch.setattr(loads, "MEASURE_SECONDS", 3600)
    assert {name: cost(view) for name, view in FOR_OPERATORS.items()} == OPERATORS_COSTS
