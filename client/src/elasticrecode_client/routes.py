"""The routes of the API, and which requests may be sent again when no answer came."""

from enum import Enum


class Repeat(Enum):
    """Whether a request whose answer was lost, or is 502, 503 or 504, is sent again.

    Every request is sent again that certainly had no effect: the connection failed, or the answer was 429.
    """

    SAFE = "changes nothing, or the same once more"
    KEYED = "carries an Idempotency-Key, by which the API recognises it"
    NEVER = "would act twice"


GET, KEYED = Repeat.SAFE, Repeat.KEYED

REPEATS: dict[str, Repeat] = {
    "GET /v1": GET,
    "GET /v1/schema": GET,
    "GET /v1/health": GET,
    "GET /v1/openapi.json": GET,
    "GET /v1/asyncapi.json": GET,
    "POST /v1/jobs": KEYED,
    "POST /v1/vmaf": KEYED,
    "POST /v1/plans": KEYED,
    "GET /v1/plans/{planID}": GET,
    "GET /v1/jobs/{jobID}": GET,
    "GET /v1/{userID}/jobs": GET,
    "GET /v1/logs/{userID}": GET,
    "GET /v1/jobs/{jobID}/status": GET,
    "GET /v1/jobs/{jobID}/parts": GET,
    "GET /v1/jobs": GET,
    "GET /v1/overview": GET,
    "DELETE /v1/jobs/{jobID}": Repeat.NEVER,  # the second is refused, as the job has ended
    "POST /v1/jobs/{jobID}/retry": Repeat.NEVER,  # the second is refused, as the job runs
    "POST /v1/jobs/retry": Repeat.SAFE,  # the second finds the failed jobs that are left
    "GET /v1/jobs/{jobID}/links": GET,
    "POST /v1/jobs/{jobID}/links": Repeat.SAFE,  # only reads
    "POST /v1/uploads": KEYED,
    "GET /v1/uploads/{uploadID}": GET,
    "POST /v1/uploads/{uploadID}/links": Repeat.SAFE,  # only signs
    "POST /v1/uploads/{uploadID}/complete": Repeat.SAFE,  # answers the same again
    "DELETE /v1/uploads/{uploadID}": Repeat.NEVER,  # the second is not found
    "POST /v1/batches": KEYED,
    "GET /v1/batches": GET,
    "GET /v1/batches/{batchID}": GET,
    "DELETE /v1/batches/{batchID}": Repeat.NEVER,  # the second is refused, as the batch has ended
    "GET /v1/worker/queues": GET,
    "GET /v1/worker/deployments": GET,
    "GET /v1/worker/backlog": GET,
    "GET /v1/worker/history": GET,
    "POST /v1/worker/queues/{queue}/pause": Repeat.SAFE,
    "POST /v1/worker/queues/{queue}/resume": Repeat.SAFE,
    "POST /v1/webhooks": Repeat.NEVER,  # would make a second webhook
    "GET /v1/webhooks": GET,
    "DELETE /v1/webhooks/{webhookID}": Repeat.NEVER,  # the second is not found
    "POST /v1/webhooks/{webhookID}/test": Repeat.NEVER,  # would post a second event
    "GET /v1/webhooks/{webhookID}/failures": GET,
    "POST /v1/webhooks/{webhookID}/failures/retry": Repeat.SAFE,  # the second finds the deliveries that are left
    "GET /v1/presets": GET,
    "PUT /v1/presets/{name}": Repeat.SAFE,
    "DELETE /v1/presets/{name}": Repeat.NEVER,  # the second is not found
    "POST /v1/socket-tickets": Repeat.SAFE,  # a ticket that nobody uses ends after a minute
}
"""All routes but `GET /`, which answers like `GET /v1`."""
