"""S3's notifications of files that were put where a drop is: each becomes a job, once for each version of an object.

S3 tells of a file at least once, and not in order. The job's id follows from the version that was put, and it is
stored on condition that it is not there: a second telling changes nothing. What could not be stored, the queue tells
again. A job that no queue serves is accepted and held, and `reconcile` hands it on.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from elasticrecode.aws.clients import side_by_side
from elasticrecode.batches.inputs import Objects
from elasticrecode.contract.metrics import FILES_LEFT_OUT, METRICS
from elasticrecode.contract.settings import CollectSettings
from elasticrecode.errors import Invalid, Refused
from elasticrecode.jobs import drops
from elasticrecode.jobs.drops import MARK, Drop, NewObject
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.store import Accepted, JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.registry import Registry

T = TypeVar("T")
R = TypeVar("R")

_DAY_SECONDS = 86_400
_SHOWN = 4000


class _File(NamedTuple):
    """A file that may become a job, and the message that told of it."""

    message_id: str
    put: NewObject
    job: Job


def build(settings: CollectSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler over the table. Invalid when the drops can't be, now that the buckets' names are known."""
    wrong = list(drops.faults(settings.drops))
    if wrong:
        logger.error("the drops can't be", extra={"faults": [f"{fault.pointer} {fault.detail}" for fault in wrong]})
        raise Invalid(wrong)
    known = msgspec.convert(settings.drops, list[Drop])
    table, objects = JobsTable(settings.jobs_table), Objects()
    registry = Registry(settings.registry_table, settings.queues)
    metrics = Metrics(namespace=METRICS, service="collect")

    def take(batch: dict[str, Any], context: Any) -> dict[str, Any]:
        files = [file for record in batch["Records"] for file in _files(record["messageId"], record["body"])]
        looked = side_by_side(lambda file: _tried(_is_wanted, file), files)
        chosen = [file for file, is_wanted in zip(files, looked, strict=True) if is_wanted]
        now = time.time_ns() // 1_000_000
        accepted = [Accepted(file.job, choice, now) for file in chosen if (choice := _tried(_choice, file))]
        stored = set(side_by_side(lambda each: _tried(_store, each), accepted))
        failed = {file.message_id for file, is_wanted in zip(files, looked, strict=True) if is_wanted is None}
        failed |= {file.message_id for file in chosen if file.job.jobid not in stored}
        logger.info("taken", extra={"jobs": len(stored - {None}), "again": len(failed)})
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in sorted(failed)]}

    def _files(message_id: str, body: str) -> list[_File]:
        """The files of a message that can become jobs. What can't is logged, and counted where somebody may miss it."""
        try:
            told = drops.new_objects(body)
        except ValueError as error:
            _leave_out("not a notification of S3", reason=str(error), body=body[:_SHOWN])
            return []
        return [_File(message_id, put, job) for put in told if (job := _job(put))]

    def _job(put: NewObject) -> Job | None:
        if put.key.endswith("/") or not put.size:
            logger.info("left alone: a folder or an empty object", extra={"uri": put.uri})
            return None
        drop = next((drop for drop in known if drop.covers(put.bucket, put.key)), None)
        if not drop:
            _leave_out("no drop covers it any more", uri=put.uri)
            return None
        try:
            return drop.job(put)
        except ValueError as error:
            _leave_out("it can't be a job", uri=put.uri, reason=str(error))
            return None

    def _is_wanted(file: _File) -> bool:
        """Whether a file is there, and is not what a job has made."""
        metadata = objects.metadata(file.put.bucket, file.put.key)
        if metadata is None:
            logger.info("left alone: it is not there any more", extra={"uri": file.put.uri})
            return False
        if MARK in metadata:
            logger.info("left alone: a job made it", extra={"uri": file.put.uri, "job": metadata[MARK]})
            return False
        return True

    def _choice(file: _File) -> Choice:
        try:
            (choice,) = registry.choose([wanted(file.job)])
        except Refused as error:
            logger.error("no queue", extra={"job": file.job.jobid, "reason": str(error)})
            return Choice("", str(error))
        return choice

    def _store(accepted: Accepted) -> str:
        table.accept([accepted], settings.retention_days * _DAY_SECONDS)
        return accepted.job.jobid

    def _leave_out(why: str, **told: str) -> None:
        logger.error(f"left out: {why}", extra=told)
        metrics.add_metric(FILES_LEFT_OUT, MetricUnit.Count, 1)
        metrics.flush_metrics()

    return take


def _tried(do: Callable[[T], R], thing: T) -> R | None:
    """What came of doing it; None when it failed, and the queue tells again."""
    try:
        return do(thing)
    except Exception:  # noqa: BLE001
        logger.exception("it comes again")
        return None


handler = compose(build, CollectSettings)
