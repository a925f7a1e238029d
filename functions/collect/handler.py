"""Creates a job for each file that is put under a drop, once for each version of the object.

S3 notifies at least once, and not in order. The job's id follows from the version, and a job is stored only where its
id is new: a repeated notification changes nothing. When a job can't be stored, the queue delivers the message again. A
job that no queue serves is accepted and held, and `reconcile` hands it to a queue later.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.s3 import Objects
from elasticrecode.aws.sqs import failed_items
from elasticrecode.clock import now_ms
from elasticrecode.contract.metrics import FILES_LEFT_OUT, METRICS
from elasticrecode.contract.settings import CollectSettings
from elasticrecode.drops import rules
from elasticrecode.drops.rules import Drop, NewObject
from elasticrecode.errors import Invalid, Refused
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.uris import MARK
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.registry import Registry

T = TypeVar("T")
R = TypeVar("R")

_DAY_SECONDS = 86_400
_LOGGED_LENGTH = 4000


class File(NamedTuple):
    """A file that may become a job, and the message that its notification came in."""

    message_id: str
    put: NewObject
    job: Job


class Collector:
    """Creates jobs of the files that notifications name.

    Raises Invalid, once the buckets' names are known, when a drop has faults.
    """

    def __init__(self, settings: CollectSettings) -> None:
        faults = list(rules.faults(settings.drops))
        if faults:
            logger.error(
                "the drops have faults", extra={"faults": [f"{each.pointer} {each.detail}" for each in faults]}
            )
            raise Invalid(faults)
        self._drops = msgspec.convert(settings.drops, list[Drop])
        self._retention_seconds = settings.retention_days * _DAY_SECONDS
        self._table, self._objects = JobsTable(settings.jobs_table), Objects()
        self._registry = Registry(settings.registry_table, settings.queues, settings.first_generation)
        self._metrics = Metrics(namespace=METRICS, service="collect")

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Create the jobs of messages. Returns the messages to deliver again, in the shape that Lambda expects."""
        files = [file for record in event["Records"] for file in self.files(record["messageId"], record["body"])]
        checks = side_by_side(lambda file: _try(self.is_wanted, file), files)
        wanted_files = [file for file, is_wanted in zip(files, checks, strict=True) if is_wanted]
        now = now_ms()
        accepted = [Accepted(file.job, choice, now) for file in wanted_files if (choice := _try(self._choose, file))]
        stored = set(side_by_side(lambda each: _try(self._store, each), accepted))
        failed = {file.message_id for file, is_wanted in zip(files, checks, strict=True) if is_wanted is None}
        failed |= {file.message_id for file in wanted_files if file.job.jobid not in stored}
        logger.info("files collected", extra={"jobs": len(stored - {None}), "again": len(failed)})
        return failed_items(sorted(failed))

    def files(self, message_id: str, body: str) -> list[File]:
        """The files of a message that can become jobs. Others are logged, and those that a user may miss counted."""
        try:
            objects = rules.new_objects(body)
        except ValueError as error:
            self._leave_out("not a notification of S3", reason=str(error), body=body[:_LOGGED_LENGTH])
            return []
        return [File(message_id, put, job) for put in objects if (job := self.job(put))]

    def job(self, put: NewObject) -> Job | None:
        """The job of a file; None where no drop makes one of it."""
        if put.key.endswith("/") or not put.size:
            logger.info("file ignored: a folder or an empty object", extra={"uri": put.uri})
            return None
        drop = next((drop for drop in self._drops if drop.covers(put.bucket, put.key)), None)
        if not drop:
            self._leave_out("no drop covers it any more", uri=put.uri)
            return None
        try:
            return drop.job(put)
        except ValueError as error:
            self._leave_out("it can't be a job", uri=put.uri, reason=str(error))
            return None

    def is_wanted(self, file: File) -> bool:
        """Whether a file still exists and is not the output of a job."""
        metadata = self._objects.metadata(file.put.bucket, file.put.key)
        if metadata is None:
            logger.info("file ignored: it does not exist any more", extra={"uri": file.put.uri})
            return False
        if MARK in metadata:
            logger.info("file ignored: it is the output of a job", extra={"uri": file.put.uri, "job": metadata[MARK]})
            return False
        return True

    def _choose(self, file: File) -> Choice:
        try:
            (choice,) = self._registry.choose([wanted(file.job)])
        except Refused as error:
            logger.error("no queue serves the job", extra={"job": file.job.jobid, "reason": str(error)})
            return Choice("", str(error))
        return choice

    def _store(self, accepted: Accepted) -> str:
        self._table.accept([accepted], self._retention_seconds)
        return accepted.job.jobid

    def _leave_out(self, kind: str, **details: str) -> None:
        logger.error(f"file left out: {kind}", extra=details)
        self._metrics.add_metric(FILES_LEFT_OUT, MetricUnit.Count, 1)
        self._metrics.flush_metrics()


def _try(do: Callable[[T], R], argument: T) -> R | None:
    """The result of a call; None when it raises, and the queue delivers the message again."""
    try:
        return do(argument)
    except Exception:  # noqa: BLE001
        logger.exception("a file could not become a job; its message is delivered again")
        return None


def build(settings: CollectSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler. Raises Invalid when a drop has faults."""
    return Collector(settings).handle


handler = compose(build, CollectSettings)
