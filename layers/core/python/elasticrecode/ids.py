"""Names of batches and of the jobs in them: a job's follows from its batch and its position in it."""

import re
import uuid

_DIGITS = 7
JOB = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(\d{7})", re.ASCII)
"""The id of a batch's job: the batch, and the position."""


def new() -> str:
    """A new job's or batch's id."""
    return str(uuid.uuid4())


def job_id(batch_id: str, position: int) -> str:
    """The id of a batch's job. Positions begin at 0."""
    return f"{batch_id}-{position:0{_DIGITS}d}"


def batch_of(job_id: str) -> str | None:
    """The batch that a job belongs to."""
    match = JOB.fullmatch(job_id)
    return match[1] if match else None


def position(job_id: str) -> int:
    """A job's position in its batch. ValueError when it is in none."""
    match = JOB.fullmatch(job_id)
    if not match:
        raise ValueError(job_id)
    return int(match[2])
