"""Relocates jobs from queues without ready workers, or with too many jobs, to queues that finish them sooner."""

import time
from functools import partial
from typing import Literal, NamedTuple

from elasticrecode import wire
from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import Letter, Receiver
from elasticrecode.clock import now_ms
from elasticrecode.effort import Effort
from elasticrecode.errors import Refused
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.store import JobsTable
from elasticrecode.workers.registry import Registry
from elasticrecode.workers.routing import Router

_RELIEF_SECONDS = 15
_HIDDEN_SECONDS = 60
"""Seconds for which a message is hidden from workers while its job is relocated."""


class Transfer(NamedTuple):
    """A job that goes to another queue, with its message."""

    letter: Letter
    job: Job
    choice: Choice


class Relief:
    """Relieves queues of their surplus."""

    def __init__(self, table: JobsTable, registry: Registry) -> None:
        self._table, self._registry, self._receiver = table, registry, Receiver()

    def relieve_all(self, effort: Effort) -> int:
        """Relocate the surplus of each queue to others, small amounts first; how many jobs."""
        until = time.monotonic() + _RELIEF_SECONDS
        queues = self._registry.queues(fresh=True)
        router, urls = Router(queues), {queue.name: queue.url for queue in queues if queue.url}
        surplus = sorted(router.surplus(time.time()).items(), key=lambda each: each[1])
        known = [(name, count) for name, count in surplus if name in urls]
        return effort.each(lambda each: self._relieve(effort, router, urls[each[0]], *each, until), known)

    def _relieve(self, effort: Effort, router: Router, url: str, name: str, count: int, until: float) -> int:
        """Take up to `count` jobs from a queue, no message twice: each receive counts towards the dead letters."""
        relocated, kept = 0, list[Letter]()
        try:
            while count > 0 and time.monotonic() < until:
                letters = self._receiver.take(url, count, _HIDDEN_SECONDS)
                count -= len(letters)
                planned = [effort.tried(partial(_elsewhere, router, name), letter) for letter in letters]
                transfers = [transfer for transfer in planned if transfer]
                ends = side_by_side(partial(effort.tried, self.relocate), transfers)
                done = [each.letter for each, end in zip(transfers, ends, strict=True) if end in ("relocated", "ended")]
                relocated += ends.count("relocated")
                handles = {letter.handle for letter in done}
                kept += [letter for letter in letters if letter.handle not in handles]
                if not done:
                    break
                self._receiver.remove(url, done)
        finally:
            if kept:
                self._receiver.show(url, kept)
        return relocated

    def relocate(self, transfer: Transfer) -> Literal["relocated", "ended", "stays"]:
        """Point a job's record to another queue. Its message is to be deleted only then, or when the job has ended."""
        now, job_id = now_ms(), transfer.job.jobid
        self._table.postpone([job_id], now)
        if self._table.resume(job_id, transfer.choice, now):
            return "relocated"
        record = self._table.record(job_id)
        return "ended" if record and record.state in lifecycle.ENDED else "stays"


def _elsewhere(router: Router, queue: str, letter: Letter) -> Transfer | None:
    """Where the job of a message on a queue goes; None when it stays."""
    job = wire.decode(letter.body, Job)
    try:
        choice = router.choose(wanted(job), time.time(), queue)
    except Refused:
        return None
    return Transfer(letter, job, choice) if choice.queue else None
