"""Answers of the routes that submit and retry jobs."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from elasticrecode.jobs.job import Job


class Outcome(Struct):
    """The outcome of a submitted job, as the wire contract spells it. A job that `failed` was not stored."""

    event: Literal["JobSummit"]
    status: Literal["success", "failed"]


class SubmittedJob(Struct):
    """A submitted transcode."""

    userid: str
    jobid: str
    input: str
    output: str
    status: Outcome


class SubmittedScore(Job, frozen=True, kw_only=True):
    """A submitted quality score, with its profile resolved."""

    status: Outcome


class Retried(Struct):
    """The number of jobs that run again; `more` where failed jobs are left."""

    retried: int
    more: Literal[True] | UnsetType = UNSET
