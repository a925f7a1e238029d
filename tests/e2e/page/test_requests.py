"""A view asks the API what `tests/views.py` says, once, when it opens."""

import re
import time
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Request, expect

from elasticrecode.contract.routes import ROUTES, SOCKET_TICKET
from tests.e2e.conftest import TENANTS, Deployed, wait_for
from tests.e2e.page.conftest import Opened
from tests.e2e.page.test_jobs import FILM, submit
from tests.views import FOR_OPERATORS, FRAME, VIEWS

ANN = TENANTS[0]
STEP_MS, SETTLED_MS, AHEAD_SECONDS = 20, 1000, 60
"""By the page's clock, which only this test moves. Shorter than the pauses between later requests."""
PATTERNS = {
    route: re.compile(re.sub(r"\{\w+\}", "[^/]+", route.split(" ")[1]) + "$")
    for route in sorted((route for some in ROUTES.values() for route in some), key=lambda route: route.count("{"))
}
"""Of each route's path, those without parameters first."""


def route_of(request: Request) -> str:
    """The route of the API that a request is for."""
    path = urlsplit(request.url).path.removeprefix("/api")
    return next(
        route
        for route, pattern in PATTERNS.items()
        if route.split(" ")[0] == request.method and pattern.match(path.rstrip("/"))
    )


@pytest.fixture(scope="module")
def names(deployed: Deployed) -> dict[str, str]:
    """A finished job of ann's, and a batch that has ended."""
    uri = deployed.put(FILM, f"page/{ANN}/asked.mp4")
    job_id = submit(deployed, ANN, uri)
    body = {"userid": ANN, "inputs": [uri], "output": f"s3://{deployed.bucket}/page/{ANN}/batch/"}
    batch_id = deployed.call("POST", "/api/v1/batches", body | {"profile": {"preset": "h264-360p"}})[1]["batchID"]
    deployed.until(job_id, "finished")
    ended = f"/api/v1/batches/{batch_id}"
    wait_for(lambda: deployed.call("GET", ended)[1].get("endedAt"), "the batch's end")
    return {"job": job_id, "batch": batch_id}


@pytest.mark.parametrize("name", [*VIEWS, *(f"{name} of operators" for name in FOR_OPERATORS)])
def test_a_view_asks_no_more_than_it_shows(
    opened: Opened, deployed: Deployed, names: dict[str, str], name: str
) -> None:
    is_operators = name.endswith(" of operators")
    view = FOR_OPERATORS[name.removesuffix(" of operators")] if is_operators else VIEWS[name]
    wanted = Counter(route for route, _ in (*view.asks, FRAME, (SOCKET_TICKET, {})))
    page, seen, answered = (
        opened(None, acts_for=ANN) if is_operators else opened(None, ANN),
        list[Request](),
        set[int](),
    )
    page.on("request", lambda request: seen.append(request) if "/api/v1" in request.url else None)
    page.on("requestfinished", lambda request: answered.add(id(request)))
    page.clock.install()
    page.clock.pause_at(time.time() + AHEAD_SECONDS)  # a moment that no stall makes one of the past
    page.goto(f"{deployed.place.url}#{view.address.format(**names)}")

    def has_asked() -> bool:
        """Move the clock on where no answer is awaited."""
        page.clock.run_for(STEP_MS if all(id(request) in answered for request in seen) else 0)
        return wanted <= Counter(map(route_of, seen))

    wait_for(has_asked, f"all of {wanted}")
    expect(page.get_by_role("status").first).to_have_text("live")
    page.clock.run_for(SETTLED_MS)
    page.wait_for_load_state("networkidle")
    assert Counter(map(route_of, seen)) == wanted
    queries = [dict(parse_qsl(urlsplit(request.url).query)) for request in seen]
    for _, query in view.asks:
        filled = {key: value.format(**names) for key, value in query.items()}.items()
        assert any(filled <= given.items() for given in queries)
