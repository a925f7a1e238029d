"""Answers requests about worker queues, their backlog, its history and the Deployments; pauses and resumes queues."""

import time
from typing import Any

from elasticrecode.api import http
from elasticrecode.contract.routes import (
    PAUSE_QUEUE,
    RESUME_QUEUE,
    WORKER_BACKLOG,
    WORKER_DEPLOYMENTS,
    WORKER_HISTORY,
    WORKER_QUEUES,
)
from elasticrecode.contract.settings import WorkersSettings
from elasticrecode.errors import NotFound, Refused, Unavailable
from elasticrecode.jobs.placement import GROUPS
from elasticrecode.runtime import compose
from elasticrecode.workers.answers import QueuePause, Queues, deployment_records, queue_backlog
from elasticrecode.workers.fleet import PAGE_KEY, PAGE_LIMIT
from elasticrecode.workers.history import History
from elasticrecode.workers.loads import LoadMeter
from elasticrecode.workers.registry import Registry
from elasticrecode.workers.routing import Router

_LISTED_NAMES = 20


class Workers:
    """The routes about workers."""

    def __init__(self, settings: WorkersSettings) -> None:
        self._discovery = settings.discovery
        self._registry = Registry(settings.registry_table, settings.queues, settings.first_generation)
        self._meter = LoadMeter(self._registry)
        self._history = History(settings.registry_table)

    def queues(self, _: http.Request) -> http.Response:
        """Names of the queues that have workers or are configured, by group."""
        served = [queue for queue in self._registry.queues() if queue.url and not queue.is_orphaned]
        return http.Response(
            Queues(**{group: [queue.name for queue in served if queue.group == group] for group in GROUPS})
        )

    def deployments(self, request: http.Request) -> http.Response:
        """A page of the Deployments of workers. Raises Refused where discovery is off."""
        if not self._discovery:
            raise Refused("Discovery is off in this deployment (option discovery), so no Deployments are known.")
        return _page(request, deployment_records(self._registry.read().clusters, time.time()))

    def backlog(self, request: http.Request) -> http.Response:
        """A page of the loads of all queues; empty orphaned queues are left out, except in an outage.

        Raises Unavailable where no queue is known because clusters are out of reach.
        """
        self._meter.measure(traffic=False)
        queues = self._registry.queues(fresh=True)
        shown, now = [queue for queue in queues if queue.is_shown], time.time()
        if not shown and (outages := str(self._registry.read().outages(now))):
            raise Unavailable(f"No queue is known. {outages}")
        router = Router(queues)
        rows = {f"{queue.name} {queue.group}": queue_backlog(queue, router.wait(queue, now)) for queue in shown}
        page = _page(request, rows)
        return page._replace(content=list(page.content.values()))

    def history(self, _: http.Request) -> http.Response:
        """The samples of the last hour, oldest first."""
        return http.Response(self._history.read())

    def pause(self, request: http.Request) -> http.Response:
        """Pause a queue. Raises NotFound for an unknown one."""
        queue = request.parameters["queue"]
        known = sorted({each.name for each in self._registry.queues()})
        if queue not in known:
            more = ", …" if len(known) > _LISTED_NAMES else ""
            raise NotFound(f"There is no queue {queue}; there are {', '.join(known[:_LISTED_NAMES])}{more}.")
        self._registry.pause(queue)
        return http.Response(QueuePause(queue, True))

    def resume(self, request: http.Request) -> http.Response:
        """Resume a queue, also one that is not known any more."""
        queue = request.parameters["queue"]
        self._registry.resume(queue)
        return http.Response(QueuePause(queue, False))


def _page(request: http.Request, entries: dict[str, Any]) -> http.Response:
    """The page of entries that a request asks for, in the order of their keys."""
    limit, after = request.page(PAGE_LIMIT, PAGE_KEY)
    keys = sorted(key for key in entries if key > after)
    last = keys[limit - 1] if len(keys) > limit else ""
    return http.Response({key: entries[key] for key in keys[:limit]}, headers=request.next_link(last))


def build(settings: WorkersSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    workers = Workers(settings)
    return http.handler(
        {
            WORKER_QUEUES: workers.queues,
            WORKER_DEPLOYMENTS: workers.deployments,
            WORKER_BACKLOG: workers.backlog,
            WORKER_HISTORY: workers.history,
            PAUSE_QUEUE: workers.pause,
            RESUME_QUEUE: workers.resume,
        },
        settings,
    )


handler = compose(build, WorkersSettings)
