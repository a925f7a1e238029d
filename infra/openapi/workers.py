"""Operations on workers and their queues."""

from elasticrecode.contract.routes import (
    PAUSE_QUEUE,
    RESUME_QUEUE,
    WORKER_BACKLOG,
    WORKER_DEPLOYMENTS,
    WORKER_HISTORY,
    WORKER_QUEUES,
)
from elasticrecode.workers.answers import DeploymentRecord, FleetSample, QueueBacklog, QueuePause, Queues
from elasticrecode.workers.fleet import PAGE_KEY, PAGE_LIMIT, SAMPLED_LIMIT
from infra.openapi import examples
from infra.openapi.operation import Area, Link, Operation

AREA = Area(
    "Workers",
    "Worker queues, their backlogs, and the Deployments that serve them.",
    {
        WORKER_QUEUES: Operation(
            "listQueues",
            "List worker queues",
            "Lists the names of the worker queues by group: `cpu`, `gpu` and `vmaf`.",
            {200: Queues},
            (503,),
            links=[Link(route, "queue", "$response.body#/cpu/0") for route in (PAUSE_QUEUE, RESUME_QUEUE)],
            examples={"queues": examples.QUEUES},
        ),
        WORKER_DEPLOYMENTS: Operation(
            "listDeployments",
            "List Deployments",
            "Lists the discovered Deployments by name. Answers 409 where discovery is off.",
            {200: dict[str, DeploymentRecord]},
            (409, 503),
            cursor=PAGE_KEY.pattern,
            limit=PAGE_LIMIT,
        ),
        WORKER_BACKLOG: Operation(
            "listBacklog",
            "List backlogs",
            "Lists each worker queue with its backlog, the Deployments that serve it, its fault and the outage "
            "of the clusters of its workers. Answers 503 while no queue is known and a cluster is out of reach.",
            {200: list[QueueBacklog]},
            (503,),
            cursor=PAGE_KEY.pattern,
            limit=PAGE_LIMIT,
        ),
        WORKER_HISTORY: Operation(
            "listHistory",
            "List the history of the queues",
            "Lists the figures of the worker queues in each minute of the last hour, oldest first. Of more than "
            f"{SAMPLED_LIMIT} queues a sample has those with most jobs.",
            {200: list[FleetSample]},
            (503,),
        ),
        PAUSE_QUEUE: Operation(
            "pauseQueue",
            "Pause a queue",
            "Stops sending new jobs to a queue, within 3 seconds. Its workers go on with the jobs that it holds; those "
            "that other queues would finish clearly sooner go there.",
            {200: QueuePause},
            (503,),
        ),
        RESUME_QUEUE: Operation(
            "resumeQueue",
            "Resume a queue",
            "Sends jobs to a paused queue again, within 3 seconds; held jobs follow within two minutes.",
            {200: QueuePause},
            (503,),
        ),
    },
)
