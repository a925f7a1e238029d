"""POST /v1/jobs: check, choose a queue, store. The table's stream hands what is stored to `dispatch`."""

import random
import time
import uuid

from elasticrecode import http, routing
from elasticrecode.jobs import BODY_LIMIT, read_jobs
from elasticrecode.observe import logger
from elasticrecode.settings import SUBMIT, SubmitSettings, compose
from elasticrecode.table import JobsTable, Record


def build(settings: SubmitSettings) -> http.LambdaHandler:
    """The handler over one table."""
    table = JobsTable(settings.jobs_table)
    rng = random.SystemRandom()

    def submit(request: http.Request) -> http.Response:
        jobs = read_jobs(request.body(BODY_LIMIT), lambda: str(uuid.uuid4()))
        now = time.time_ns() // 1_000_000
        records = [Record(job, routing.choose(job, settings.queues, rng), now) for job in jobs]
        refused = table.accept(records, settings.retention_days * 86400)
        logger.info("accepted", extra={"jobs": len(jobs) - len(refused), "refused": len(refused)})
        return http.Response(
            [
                {
                    "userid": job.userid,
                    "jobid": job.jobid,
                    "input": job.input,
                    "output": job.output,
                    "status": {"event": "JobSummit", "status": "failed" if job.jobid in refused else "success"},
                }
                for job in jobs
            ]
        )

    return http.handler({SUBMIT: submit}, cors=settings.cors)


handler = compose(build, SubmitSettings)
