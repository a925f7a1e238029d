"""What a job asks of a queue, and the queue that was chosen for it."""

from typing import Literal, NamedTuple, get_args

from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import PriceModel, platform

Group = Literal["cpu", "gpu", "vmaf"]
"""Workers that can do the same jobs: those that transcode on cpu or gpu, and those that score."""

GROUPS: tuple[Group, ...] = get_args(Group)


class Want(NamedTuple):
    """What a job asks of a queue."""

    group: Group
    price: PriceModel
    priority: int


class Choice(NamedTuple):
    """A queue's name, empty while the job is held, and the reason for the choice, for the job's user."""

    queue: str
    reason: str


def wanted(job: Job) -> Want:
    """What a job asks of a queue."""
    ec2 = job.profile.ec2
    return Want(
        group="vmaf" if job.kind == "vmaf" else platform(job.profile),
        price=(ec2.priceModel if ec2 else None) or "normal",
        priority=job.priority or 0,
    )
