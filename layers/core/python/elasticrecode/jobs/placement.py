"""What a job requires of a worker queue, and the queue chosen for it."""

from typing import Literal, NamedTuple, get_args

from elasticrecode.jobs.job import Job
from elasticrecode.media.generations import beyond_first
from elasticrecode.media.profiles import PriceModel, platform

Group = Literal["cpu", "gpu", "vmaf"]
"""Workers that can do the same jobs: those that transcode on cpu, those that transcode on gpu, those that score."""

GROUPS: tuple[Group, ...] = get_args(Group)


class Want(NamedTuple):
    """What a job requires of a worker queue; `priority` is 0 to 100.

    `beyond` names a field of the profile, `plan` or `budget`, that only workers of the second generation know, and is
    empty where the first can do the job.
    """

    group: Group
    price: PriceModel
    priority: int
    beyond: str = ""


class Choice(NamedTuple):
    """The name of the chosen queue, empty while the job is held, and the reason, in words for the job's user."""

    queue: str
    reason: str


def wanted(job: Job) -> Want:
    """What a job requires of a worker queue."""
    ec2 = job.profile.ec2
    return Want(
        group="vmaf" if job.kind == "vmaf" else platform(job.profile),
        price=(ec2.priceModel if ec2 else None) or "normal",
        priority=job.priority or 0,
        beyond=beyond_first(job.profile) or _beyond_first(job),
    )


def _beyond_first(job: Job) -> str:
    """What only workers of the second generation know beside a profile; empty for a job that has none of it."""
    return "plan" if job.planning or job.plan else "budget" if job.budget else ""
