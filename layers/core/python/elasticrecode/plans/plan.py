"""Plans as clients see them, and the profiles of jobs that carry them out."""

from typing import NamedTuple

from msgspec import UNSET, Raw, Struct, structs

from elasticrecode.jobs.events import Failure, Progress
from elasticrecode.jobs.job import Budget, Job
from elasticrecode.jobs.lifecycle import State
from elasticrecode.media.planned import Basis, Planned, PlannedRung
from elasticrecode.media.profiles import Profile, Target


class PlanTaken(Struct):
    """A new plan."""

    planID: str
    state: State


class PlanRecord(Struct, kw_only=True):
    """A plan as clients see it. Times are in Unix seconds; a field without a value is null.

    `seconds` is how long one worker needs for the job, and `dollars` what that costs at the deployment's price of the
    profile's price model. `profile` is what a job by this plan encodes; before the plan has finished, what was asked
    for.
    """

    planID: str
    userID: str
    state: State
    input: str
    output: str
    profile: Raw
    budget: Budget | None
    rungs: list[PlannedRung] | None
    seconds: float | None
    dollars: float | None
    basis: Basis | None
    createdAt: float
    progress: Progress | None
    error: Failure | None


class Plan(NamedTuple):
    """A stored plan: its job, its record, and what its worker has reported, None until then."""

    job: Job
    record: PlanRecord
    planned: Planned | None


def planned_profile(profile: Profile, planned: Planned) -> Profile:
    """The profile of a job that carries out a plan: with the constant rate factor and the ladder that it has chosen."""
    encode, package = profile.ffmpeg, profile.package
    if encode and planned.crf is not UNSET:
        encode = structs.replace(encode, quality=Target(crf=planned.crf))
    if package and planned.ladder is not UNSET:
        package = structs.replace(package, ladder=planned.ladder, auto=UNSET)
    return structs.replace(profile, ffmpeg=encode, package=package)
