"""POST /v1/vmaf: check, choose a queue, store. The table's stream hands what is stored to `dispatch`."""

import random
import time
import uuid

import msgspec

from elasticrecode import http, routing
from elasticrecode.jobs import BODY_LIMIT, read_vmaf
from elasticrecode.settings import SUBMIT_VMAF, SubmitSettings, compose
from elasticrecode.table import JobsTable, Record


def build(settings: SubmitSettings) -> http.LambdaHandler:
    """The handler over one table."""
    table = JobsTable(settings.jobs_table)
    rng = random.SystemRandom()

    def submit(request: http.Request) -> http.Response:
        job = read_vmaf(request.body(BODY_LIMIT), lambda: str(uuid.uuid4()))
        now = time.time_ns() // 1_000_000
        table.accept([Record(job, routing.choose(job, settings.queues, rng), now)], settings.retention_days * 86400)
        return http.Response({**msgspec.to_builtins(job), "status": {"event": "JobSummit", "status": "success"}})

    return http.handler({SUBMIT_VMAF: submit}, cors=settings.cors)


handler = compose(build, SubmitSettings)
