"""Ids of jobs and batches. The id of a batch's job is the batch's id and the job's position in it."""

import re
import uuid

_DIGITS = 7
JOB = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(\d{7})", re.ASCII)
"""The id of a batch's job: the batch's id, and the position in 7 digits."""


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
