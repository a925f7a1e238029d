"""What each view of the home page asks of the API when it opens."""

from typing import NamedTuple

from elasticrecode.contract import routes


class View(NamedTuple):
    """`address` is behind `#`, with the fields `job` and `batch`; `asks` are routes, each with its query."""

    address: str
    asks: tuple[tuple[str, dict[str, str]], ...]


FRAME: tuple[str, dict[str, str]] = (routes.VERSION, {})
"""The page itself asks once who its user is."""
VIEWS = {
    "now": View("/now", ((routes.OVERVIEW, {}), (routes.JOBS, {"state": "running", "limit": "100"}))),
    "jobs": View("/jobs", ((routes.JOBS, {"limit": "100"}),)),
    "jobs of a state": View("/jobs?state=finished", ((routes.JOBS, {"state": "finished", "limit": "100"}),)),
    "a job": View(
        "/job/{job}", ((routes.JOB_STATUS, {}), (routes.JOB_LINKS, {}), (routes.JOB_EVENTS, {"limit": "1000"}))
    ),
    "watch": View("/watch/{job}", ((routes.JOB_STATUS, {}), (routes.JOB_LINKS, {}))),
    "batches": View("/batches", ((routes.BATCHES, {"limit": "50"}),)),
    "a batch": View(
        "/batch/{batch}",
        ((routes.BATCH, {}), (routes.JOBS, {"batchID": "{batch}", "state": "finished", "limit": "1000"})),
    ),
    "send work": View("/send", ((routes.OPENAPI, {}), (routes.PRESETS, {}))),
    "webhooks": View("/webhooks", ((routes.WEBHOOKS, {}), (routes.OPENAPI, {}))),
    "presets": View("/presets", ((routes.PRESETS, {}),)),
}
FOR_OPERATORS = {
    "now": View("/now", (*VIEWS["now"].asks, (routes.WORKER_BACKLOG, {}))),
    "fleet": View(
        "/fleet",
        ((routes.WORKER_HISTORY, {}), (routes.WORKER_BACKLOG, {"limit": "1000"}),
         (routes.WORKER_DEPLOYMENTS, {"limit": "1000"})),
    ),
}  # fmt: skip
