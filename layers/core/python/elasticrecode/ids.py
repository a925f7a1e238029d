"""Ids of jobs, parts, plans and batches.

The id of a batch's job is the batch's id and the job's position in it. The id of a part is its job's id, the attempt
that divided the job, and the part's number. The id of a plan begins with `plan-`. Users choose no ids, and no other
job's id has these forms.
"""

import re
import uuid

_DIGITS = 7
JOB = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(\d{7})", re.ASCII)
"""The id of a batch's job: the batch's id, and the position in 7 digits."""

_SINGLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

PART = re.compile(r"(.+)\.(\d+)\.(\d+)", re.ASCII)
"""The id of a part: its job's id, the attempt that divided the job, and the part's number."""


_PLAN = "plan-"


def new() -> str:
    """A new id for a job or a batch: a random UUID."""
    return str(uuid.uuid4())


def job_id(batch_id: str, position: int) -> str:
    """The id of a batch's job. Positions are 0 to 9,999,999."""
    return f"{batch_id}-{position:0{_DIGITS}d}"


def batch_of(job_id: str) -> str | None:
    """The id of the batch that a job belongs to; None for a job of no batch."""
    match = JOB.fullmatch(job_id)
    return match[1] if match else None


def position(job_id: str) -> int:
    """A job's position in its batch. Raises ValueError for a job of no batch."""
    match = JOB.fullmatch(job_id)
    if not match:
        raise ValueError(job_id)
    return int(match[2])


def part_id(job_id: str, attempt: int, number: int) -> str:
    """The id of a part of a job that `attempt` divided. Numbers count from 0."""
    return f"{job_id}.{attempt}.{number}"


def is_job(text: str) -> bool:
    """Whether a text has the form of a job's id. Ids of batches have it as well."""
    return bool(_SINGLE.fullmatch(text) or JOB.fullmatch(text))


def is_part(job_id: str) -> bool:
    """Whether an id is that of a part of a job."""
    return PART.fullmatch(job_id) is not None


def plan_id(job_id: str) -> str:
    """The id of a plan, made of a new id."""
    return _PLAN + job_id


def is_plan(job_id: str) -> bool:
    """Whether an id is that of a plan."""
    return job_id.startswith(_PLAN)


def is_unlisted(job_id: str) -> bool:
    """Whether a job is in no list and shows no events: a part or a plan."""
    return is_plan(job_id) or is_part(job_id)
