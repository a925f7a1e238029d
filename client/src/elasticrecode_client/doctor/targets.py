"""Which queues get a job of doctor, and which not and why. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from elasticrecode_client.doctor.results import Finding, failed, skipped, warning

_ANY = (0, 100)


class Target(NamedTuple):
    """A queue that a job should reach: its group, and the priority and price model by which routing prefers it."""

    queue: str
    group: str
    priority: int = 50
    price: str = "normal"

    def profile(self) -> dict[str, Any]:
        """The smallest profile that a worker of the group can do."""
        spot = {"ec2": {"priceModel": "spot"}} if self.price == "spot" else {}
        if self.group == "vmaf":
            return {"vmaf": {"scale": "240p"}, **spot}
        encode = {"codec": "h264", "scale": "240p", "bitrate": "1M", "profile": "quality", "platform": self.group}
        return {"ffmpeg": encode, **spot}


def targets(backlog: Sequence[Mapping[str, Any]], resume: str, start: str) -> tuple[list[Target], list[Finding]]:
    """The queues of GET /worker/backlog that can get a job, and findings about the others.

    `resume` is the command that resumes a queue, without its name, `start` what starts workers.
    """
    able, findings = [], []
    for row in backlog:
        finding = _obstacle(row, f"{resume} {row['queue']}", start)
        if finding:
            findings.append(finding)
        else:
            low, high = row.get("priority") or _ANY
            able.append(Target(row["queue"], _group(row), (low + high) // 2, row.get("priceModel", "normal")))
    return able, findings


def targets_by_name(queues: Mapping[str, Iterable[str]]) -> list[Target]:
    """The queues of GET /worker/queues, of which callers who are no operators know the names alone."""
    return [Target(name, group) for group, names in queues.items() for name in names]


def _group(row: Mapping[str, Any]) -> str:
    return "vmaf" if row["kind"] == "vmaf" else str(row["platform"])


def _obstacle(row: Mapping[str, Any], resume: str, start: str) -> Finding | None:
    """Why a queue can do no job now; None where it can."""
    where, ready = f"queue {row['queue']}", row.get("readyReplicas")
    if row.get("outage"):
        return failed(where, str(row["outage"]), "kubectl get pods -A -l app.kubernetes.io/part-of=elasticrecode")
    if row.get("fault"):
        finding = warning if ready == 0 else failed
        remedy = f"aws sqs create-queue --queue-name {row['queue']}   (or name another in the Deployment's QUEUE_NAME)"
        return finding(where, f"No job can use it: {row['fault']}.", remedy)
    if row.get("paused"):
        return warning(where, "The queue is paused, so no new job goes to it.", resume)
    if row.get("weight") == 0:
        return skipped(where, "The weight of its workers is 0, so routing sends nothing.", "")
    if ready == 0:
        return warning(where, "None of its workers is ready, so its jobs would wait.", start)
    return None
