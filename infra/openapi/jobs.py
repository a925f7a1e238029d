"""Operations on jobs."""

from elasticrecode import ids
from elasticrecode.api.http import CURSOR
from elasticrecode.contract.routes import (
    CANCEL,
    JOB_PARTS,
    JOB_STATUS,
    JOBS,
    OVERVIEW,
    RETRY,
    RETRY_FAILED,
    SUBMIT,
    SUBMIT_VMAF,
)
from elasticrecode.jobs.answers import Retried, SubmittedJob, SubmittedScore
from elasticrecode.jobs.job import LISTED
from elasticrecode.jobs.lifecycle import STATES
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.requests import (
    REQUEST_JOBS,
    JobRequest,
    JobsRequest,
    RetryRequest,
    VmafRequest,
)
from elasticrecode.lists.filters import ORDERS, TIME
from elasticrecode.overview.counts import Overview
from elasticrecode.parts.part import PartRecord
from elasticrecode.plans.request import PlannedRequest
from infra.openapi import examples
from infra.openapi.operation import USER, Area, Body, Operation, Query, job_links, name_schema

_TIME = {"type": "string", "pattern": f"^(?:{TIME.pattern})$"}
_FILTERS = (
    USER,
    Query("state", "List only jobs in this state.", {"type": "string", "enum": list(STATES)}),
    Query("kind", "List only jobs of this kind.", {"type": "string", "enum": list(LISTED)}),
    Query("batchID", "List only jobs of this batch of the user. `userID` is required beside it.", name_schema()),
    Query("since", "List only jobs created at this time or later, in Unix seconds.", _TIME),
    Query("until", "List only jobs created before this time, in Unix seconds.", _TIME),
    Query(
        "text",
        "List only jobs with this text anywhere in the URI of their input, origin or output, or at the beginning of "
        "their id or that of their batch. Upper and lower case are the same. A page ends after some thousand jobs that "
        "do not match, with fewer jobs than `limit` or none: follow the link. The whole id of a job finds it at once.",
        name_schema(),
    ),
    Query("code", "List only failed jobs with this code in `error`.", name_schema()),
    Query("order", "Which jobs come first.", {"type": "string", "enum": list(ORDERS), "default": ORDERS[0]}),
)

AREA = Area(
    "Jobs",
    f"Transcodes and quality scores, one at a time or up to {REQUEST_JOBS:,} in a request.",
    {
        SUBMIT: Operation(
            "submitJobs",
            "Submit jobs",
            f"Submits one transcode with `input`, or up to {REQUEST_JOBS:,} with `batchInputs`, all with one profile. "
            "With `plan` it carries out that plan. Answers an array with an entry for each job; an entry with the "
            "status `failed` was not stored.",
            {200: list[SubmittedJob]},
            (409, 503),
            body=Body(
                (JobRequest, JobsRequest, PlannedRequest),
                {"job": examples.JOB, "jobs": examples.JOBS, "by a plan": examples.PLANNED},
            ),
            has_key=True,
            links=job_links("/0/jobid"),
            examples={"jobs": examples.SUBMITTED},
        ),
        SUBMIT_VMAF: Operation(
            "submitScore",
            "Submit a quality score",
            "Submits a job that scores `input` against its original, `origin`. Answers the job with its profile "
            "resolved.",
            {200: SubmittedScore},
            (409, 503),
            body=Body((VmafRequest,), {"score": examples.VMAF}),
            has_key=True,
            links=job_links("/jobid"),
            examples={"score": examples.VMAF_SUBMITTED},
        ),
        JOB_STATUS: Operation(
            "showJob",
            "Show a job",
            "Answers the record of a job: its state, attempt, queue, progress, outputs and error.",
            {200: JobRecord},
            (503,),
            links=job_links("/jobID"),
        ),
        JOB_PARTS: Operation(
            "listParts",
            "List the parts of a job",
            "Lists the parts of a divided job, each of which one worker encodes: chunks of its film, with names such "
            "as `00:00:00-00:01:00`, or rungs of its package. The list is empty for a job that has no parts: "
            "`division` of its record says why.",
            {200: list[PartRecord]},
            (503,),
        ),
        JOBS: Operation(
            "listJobs",
            "List jobs",
            "Lists the records of a user's jobs, or those of one batch, newest first unless `order` says otherwise. A "
            "page may hold fewer than `limit` where records are large, or with `text` or `code`; follow the link.",
            {200: list[JobRecord]},
            (503,),
            query=_FILTERS,
            cursor=f"{CURSOR.pattern}|{ids.JOB.pattern}",
            links=job_links("/0/jobID"),
        ),
        OVERVIEW: Operation(
            "showOverview",
            "Show the overview of jobs",
            "Answers how many jobs of a user are in each state, which codes they failed with and what to do about "
            "each, and how many were submitted and have ended in each minute of the last hour. Without `userID` it "
            "counts the jobs of all users, for operators only. Counts follow the jobs within seconds.",
            {200: Overview},
            (403, 503),
            query=(USER._replace(description="The user whose jobs are counted.", required=False),),
        ),
        CANCEL: Operation(
            "cancelJob",
            "Cancel a job",
            "Cancels a job that has not ended; its worker stops the encoder. Answers 409 for a job that has ended.",
            {202: JobRecord},
            (409, 503),
        ),
        RETRY: Operation(
            "retryJob",
            "Retry a job",
            "Runs a failed or cancelled job again. Answers 409 for a job in another state.",
            {202: JobRecord},
            (409, 503),
        ),
        RETRY_FAILED: Operation(
            "retryJobs",
            "Retry failed jobs",
            "Runs all failed jobs of a user again, or those of a batch. One request handles a part of many: repeat it "
            "while the answer has `more`.",
            {202: Retried},
            (404, 503),
            body=Body((RetryRequest,), {"all": examples.RETRY}),
        ),
    },
)
