"""Which queue a job goes to."""

import random
from collections.abc import Mapping

from elasticrecode.errors import Refused
from elasticrecode.jobs import Job
from elasticrecode.profiles import platform

_RNG = random.SystemRandom()


def choose(job: Job, queues: Mapping[str, Mapping[str, str]], rng: random.Random = _RNG) -> str:
    """The name of one of the queues that serve the job. Refused when there is none."""
    group = "vmaf" if job.kind == "vmaf" else platform(job.profile)
    serving = sorted(queues.get(group, ()))
    if not serving:
        others = ", ".join(name for name, members in queues.items() if members) or "nothing"
        raise Refused(f"No queue serves {group} jobs; this deployment has queues for {others}.")
    return rng.choice(serving)
