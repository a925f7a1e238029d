"""What the routes that submit and retry jobs answer."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from elasticrecode.jobs.job import Job


class Outcome(Struct):
    """What became of a job that was submitted, as the contract says it; one that failed was not stored."""

    event: Literal["JobSummit"]
    status: Literal["success", "failed"]


class SubmittedJob(Struct):
    """A transcode that was submitted."""

    userid: str
    jobid: str
    input: str
    output: str
    status: Outcome


class SubmittedScore(Job, frozen=True, kw_only=True):
    """A quality score that was submitted, its profile resolved."""

    status: Outcome


class Retried(Struct):
    """How many jobs run again; `more` where there are more that failed."""

    retried: int
    more: Literal[True] | UnsetType = UNSET
