"""The routes of the REST API, below the stage `api`, and the function that answers each."""

SERVER = "GET /"
VERSION = "GET /v1"
SCHEMA = "GET /v1/schema"
HEALTH = "GET /v1/health"
OPENAPI = "GET /v1/openapi.json"
ASYNCAPI = "GET /v1/asyncapi.json"
SUBMIT = "POST /v1/jobs"
SUBMIT_VMAF = "POST /v1/vmaf"
SUBMIT_PLAN = "POST /v1/plans"
PLAN = "GET /v1/plans/{planID}"
JOB_EVENTS = "GET /v1/jobs/{jobID}"
USER_EVENTS = "GET /v1/{userID}/jobs"
USER_LOGS = "GET /v1/logs/{userID}"
JOB_STATUS = "GET /v1/jobs/{jobID}/status"
JOB_PARTS = "GET /v1/jobs/{jobID}/parts"
JOBS = "GET /v1/jobs"
OVERVIEW = "GET /v1/overview"
CANCEL = "DELETE /v1/jobs/{jobID}"
RETRY = "POST /v1/jobs/{jobID}/retry"
RETRY_FAILED = "POST /v1/jobs/retry"
JOB_LINKS = "GET /v1/jobs/{jobID}/links"
PACKAGE_LINKS = "POST /v1/jobs/{jobID}/links"
ADD_UPLOAD = "POST /v1/uploads"
UPLOAD = "GET /v1/uploads/{uploadID}"
UPLOAD_LINKS = "POST /v1/uploads/{uploadID}/links"
COMPLETE_UPLOAD = "POST /v1/uploads/{uploadID}/complete"
CANCEL_UPLOAD = "DELETE /v1/uploads/{uploadID}"
SUBMIT_BATCH = "POST /v1/batches"
BATCHES = "GET /v1/batches"
BATCH = "GET /v1/batches/{batchID}"
CANCEL_BATCH = "DELETE /v1/batches/{batchID}"
WORKER_QUEUES = "GET /v1/worker/queues"
WORKER_DEPLOYMENTS = "GET /v1/worker/deployments"
WORKER_BACKLOG = "GET /v1/worker/backlog"
WORKER_HISTORY = "GET /v1/worker/history"
PAUSE_QUEUE = "POST /v1/worker/queues/{queue}/pause"
RESUME_QUEUE = "POST /v1/worker/queues/{queue}/resume"
ADD_WEBHOOK = "POST /v1/webhooks"
WEBHOOKS = "GET /v1/webhooks"
REMOVE_WEBHOOK = "DELETE /v1/webhooks/{webhookID}"
TEST_WEBHOOK = "POST /v1/webhooks/{webhookID}/test"
WEBHOOK_FAILURES = "GET /v1/webhooks/{webhookID}/failures"
RETRY_WEBHOOK = "POST /v1/webhooks/{webhookID}/failures/retry"
PRESETS = "GET /v1/presets"
PUT_PRESET = "PUT /v1/presets/{name}"
REMOVE_PRESET = "DELETE /v1/presets/{name}"
SOCKET_TICKET = "POST /v1/socket-tickets"

ROUTES = {
    "schema": (SERVER, VERSION, SCHEMA, HEALTH, OPENAPI, ASYNCAPI),
    "submit": (SUBMIT,),
    "vmaf": (SUBMIT_VMAF,),
    "plans": (SUBMIT_PLAN, PLAN),
    "logs": (JOB_EVENTS, USER_EVENTS, USER_LOGS),
    "batch": (SUBMIT_BATCH, BATCHES, BATCH, CANCEL_BATCH),
    "jobs": (JOB_STATUS, JOB_PARTS, JOBS, OVERVIEW, CANCEL, RETRY, RETRY_FAILED),
    "files": (JOB_LINKS, PACKAGE_LINKS, ADD_UPLOAD, UPLOAD, UPLOAD_LINKS, COMPLETE_UPLOAD, CANCEL_UPLOAD),
    "workers": (WORKER_QUEUES, WORKER_DEPLOYMENTS, WORKER_BACKLOG, WORKER_HISTORY, PAUSE_QUEUE, RESUME_QUEUE),
    "webhooks": (ADD_WEBHOOK, WEBHOOKS, REMOVE_WEBHOOK, TEST_WEBHOOK, WEBHOOK_FAILURES, RETRY_WEBHOOK),
    "presets": (PRESETS, PUT_PRESET, REMOVE_PRESET),
    "tickets": (SOCKET_TICKET,),
}
"""Function → the routes it answers, below the stage `api`."""
PUBLIC_ROUTES = frozenset({HEALTH, OPENAPI, ASYNCAPI})
"""Routes without authentication."""
OPERATOR_ROUTES = frozenset(
    {WORKER_DEPLOYMENTS, WORKER_BACKLOG, WORKER_HISTORY, PAUSE_QUEUE, RESUME_QUEUE, PUT_PRESET, REMOVE_PRESET}
)
"""Routes that only operators may call, as they concern all users."""
