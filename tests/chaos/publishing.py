"""A world of one jobs table, one bucket and two queues, with what workers publish: for `tests.fakes.steps`."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from elasticrecode.jobs import events
from elasticrecode.jobs.events import Action, Event, Output
from elasticrecode.jobs.items import Accepted, record_item
from elasticrecode.jobs.job import Job, products
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.reports import Reports
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.uris import MARK, split
from tests.fakes.memory import Item, holds, updated
from tests.fakes.steps import Answer, Request, at_once
from worker.produced import Produced
from worker.publication import Version
from worker.uploads import ENTRY_FILES

TABLE, QUEUE, CONTROL = "jobs", "ffmpeg_job", "control_plane"
LEASE_SECONDS = 30
MAX_STRIKES = 5
RETENTION_SECONDS = 604_800
BEGIN_MS = 1_900_000_000_000
_FORGOTTEN = {"JobStart", "JobProgress"}
"""Events that decide nothing."""
_interned: dict[str, int] = {}
_items: list[Item] = []


def _known(item: Item) -> int:
    """The number of an item; equal items have one number."""
    text = json.dumps(item, sort_keys=True)
    if text not in _interned:
        _interned[text] = len(_items)
        _items.append(item)
    return _interned[text]


class Object(NamedTuple):
    """An object of the bucket, or what an upload will make one."""

    content: bytes
    marks: tuple[tuple[str, str], ...]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}-1"'

    @property
    def job_id(self) -> str:
        """The job that wrote it."""
        return dict(self.marks).get(MARK, "")


class Upload(NamedTuple):
    """A multipart upload: its key, its parts, and whether it is `open`, `completed` or `aborted`."""

    key: str
    marks: tuple[tuple[str, str], ...]
    parts: tuple[tuple[int, bytes], ...] = ()
    state: str = "open"

    @property
    def object(self) -> Object:
        return Object(b"".join(content for _, content in self.parts), self.marks)


class Law(NamedTuple):
    """What may happen. `unconditional` names writes whose conditions AWS forgets, so that the model must find a flaw.

    `forgets` is whether S3 answers NoSuchUpload, and not again the same, for an upload that is completed already.
    """

    ticks: int = 1
    cancels: tuple[str, ...] = ()
    retries: tuple[str, ...] = ()
    forgets: bool = False
    unconditional: str = ""
    reduced: bool = True


class Shared(NamedTuple):
    """The world. Items are numbers of known ones; `now` counts leases."""

    law: Law
    items: dict[tuple[str, str], int]
    objects: dict[str, Object]
    uploads: dict[str, Upload]
    messages: frozenset[str]
    reports: frozenset[str]
    now: int = 0
    cancelled: frozenset[str] = frozenset()
    retried: frozenset[str] = frozenset()

    def key(self) -> Any:
        """All of it, in order."""
        return (
            sorted(self.items.items()),
            sorted((key, tuple(found)) for key, found in self.objects.items()),
            sorted((key, tuple(upload)) for key, upload in self.uploads.items()),
            sorted(self.messages),
            sorted(self.reports),
            self.now,
            sorted(self.cancelled),
            sorted(self.retried),
        )

    def record(self, job_id: str) -> Item:
        """A job's record."""
        return _items[self.items[job_id, "job"]]

    # What programs call

    def answered(self, request: Request) -> tuple[Self, Answer] | None:
        """The world after a call, and AWS's answer."""
        name = re.sub("(?<!^)(?=[A-Z])", "_", request.operation).lower()
        method: Callable[[dict[str, Any]], tuple[Self, Answer] | None] = getattr(self, f"_{name}")
        return method(request.arguments)

    def _now(self, _: dict[str, Any]) -> tuple[Self, Answer]:
        return self, Answer({"ns": (BEGIN_MS + self.now * (LEASE_SECONDS + 1) * 1000) * 1_000_000})

    def _receive_message(self, told: dict[str, Any]) -> tuple[Self, Answer] | None:
        """A message is received as long as it is not deleted, by any worker, at any time: SQS promises no more."""
        job_id = told["JobID"]
        if job_id not in self.messages:
            return None
        body = self.record(job_id)["job"]["S"]
        message = {"Body": body, "ReceiptHandle": job_id, "Attributes": {"ApproximateReceiveCount": "1"}}
        return self, Answer({"Messages": [message]})

    def _delete_message(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        return self._replace(messages=self.messages - {told["ReceiptHandle"]}), Answer()

    def _send_message(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        return self._replace(reports=self.reports | {told["MessageBody"]}), Answer()

    def _get_item(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        item = self._item(told["Key"])
        return self, Answer({"Item": item} if item else {})

    def _batch_get_item(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        found = {name: [self._item(key) for key in each["Keys"]] for name, each in told["RequestItems"].items()}
        there = {name: [item for item in items if item] for name, items in found.items()}
        return self, Answer({"Responses": there, "UnprocessedKeys": {}})

    def _batch_write_item(self, _: dict[str, Any]) -> tuple[Self, Answer]:
        return self, Answer({"UnprocessedItems": {}})  # stored events, which decide nothing

    def _update_item(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        before = self._item(told["Key"])
        if not self._allows(told):
            shown = {"Item": before} if before and "ReturnValuesOnConditionCheckFailure" in told else {}
            return self, Answer(shown, "ConditionalCheckFailedException")
        after = updated(before or told["Key"], told)
        shown = (before if told.get("ReturnValues") == "ALL_OLD" else after) or {}
        return self._with(after), Answer({"Attributes": shown} if shown else {})

    def _transact_write_items(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        updates = [write["Update"] for write in told["TransactItems"] if "Update" in write]
        allowed = [self._allows(update) for update in updates]
        if not all(allowed):
            reasons = [
                {"Code": "None"} if ok else self._refusal(each) for ok, each in zip(allowed, updates, strict=True)
            ]
            return self, Answer({"CancellationReasons": reasons}, "TransactionCanceledException")
        world = self
        for update in updates:
            world = world._with(updated(self._item(update["Key"]) or update["Key"], update))
        return world, Answer()

    def _refusal(self, told: dict[str, Any]) -> dict[str, Any]:
        """Why a transaction is cancelled: the condition of one of its writes."""
        item = self._item(told["Key"]) if "ReturnValuesOnConditionCheckFailure" in told else None
        return {"Code": "ConditionalCheckFailed"} | ({"Item": item} if item else {})

    def _item(self, key: Item) -> Item | None:
        number = self.items.get((key["jobID"]["S"], key["item"]["S"]))
        return None if number is None else _items[number]

    def _with(self, item: Item) -> Self:
        return self._replace(items={**self.items, (item["jobID"]["S"], item["item"]["S"]): _known(item)})

    def _allows(self, told: dict[str, Any]) -> bool:
        condition = told.get("ConditionExpression")
        if not condition or (self.law.unconditional and self.law.unconditional in told["UpdateExpression"]):
            return True
        names, values = told.get("ExpressionAttributeNames", {}), told.get("ExpressionAttributeValues", {})
        return holds(condition, self._item(told["Key"]) or {}, names, values)

    def _head_object(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        found = self.objects.get(told["Key"])
        if not found:
            return self, Answer(code="404")
        return self, Answer({"ETag": found.etag, "ContentLength": len(found.content), "Metadata": dict(found.marks)})

    def _create_multipart_upload(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        marks = tuple(sorted(told["Metadata"].items()))
        begun = f"{told['Key']} {' '.join(value for _, value in marks)}"
        upload_id = next(each for n in count() if (each := f"{begun} {n}") not in self.uploads)
        return self._uploaded(upload_id, Upload(told["Key"], marks)), Answer({"UploadId": upload_id})

    def _upload_part(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        upload = self._open(told)
        if not upload:
            return self, Answer(code="NoSuchUpload")
        content = told["Body"] if isinstance(told["Body"], bytes) else told["Body"].getvalue()
        parts = dict(upload.parts) | {told["PartNumber"]: content}
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        changed = upload._replace(parts=tuple(sorted(parts.items())))
        return self._uploaded(told["UploadId"], changed), Answer({"ETag": tag})

    def _list_parts(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        upload = self._open(told)
        if not upload:
            return self, Answer(code="NoSuchUpload")
        tags = [(n, f'"{hashlib.md5(content).hexdigest()}"') for n, content in upload.parts]
        return self, Answer({"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in tags], "IsTruncated": False})

    def _complete_multipart_upload(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        upload, there = self.uploads.get(told["UploadId"]), self.objects.get(told["Key"])
        if upload and upload.state == "completed" and not self.law.forgets:
            return self, Answer({"ETag": upload.object.etag})
        if not upload or upload.state != "open":
            return self, Answer(code="NoSuchUpload")
        if "IfMatch" in told and not there:
            return self, Answer(code="NoSuchKey")
        if ("IfNoneMatch" in told and there) or ("IfMatch" in told and there and there.etag != told["IfMatch"]):
            return self, Answer(code="PreconditionFailed")
        world = self._uploaded(told["UploadId"], upload._replace(state="completed"))
        return world._replace(objects={**self.objects, told["Key"]: upload.object}), Answer(
            {"ETag": upload.object.etag}
        )

    def _abort_multipart_upload(self, told: dict[str, Any]) -> tuple[Self, Answer]:
        upload = self._open(told)
        if not upload:
            return self, Answer(code="NoSuchUpload")
        return self._uploaded(told["UploadId"], upload._replace(state="aborted")), Answer()

    def _open(self, told: dict[str, Any]) -> Upload | None:
        upload = self.uploads.get(told["UploadId"])
        return upload if upload and upload.state == "open" else None

    def _uploaded(self, upload_id: str, upload: Upload) -> Self:
        return self._replace(uploads={**self.uploads, upload_id: upload})

    def alone(self, request: Request) -> bool:
        """Nobody sees parts of uploads to which no job has committed, nor reads a clock that goes no further."""
        if not self.law.reduced:
            return False
        match request.operation:
            case "Now":
                return self.now == self.law.ticks
            case "CreateMultipartUpload" | "UploadPart":
                upload_id = request.arguments.get("UploadId")
                return not upload_id or not any(
                    upload_id in _items[number].get("commit", {}).get("S", "") for number in self.items.values()
                )
        return False

    # What happens besides

    def moves(self) -> Iterator[tuple[str, Self]]:
        """A lease passes, a user acts, a report is consumed."""
        if self.now < self.law.ticks:
            yield "a lease passes", self._replace(now=self.now + 1)
        for report in sorted(self.reports):
            yield f"consumed: {json.loads(report)['action']}", self._consumed(report)
        for job_id in self.law.cancels:
            if job_id not in self.cancelled and (after := self._changed(Action.JOB_CANCELLED, job_id)):
                yield f"{job_id} is cancelled", after._replace(cancelled=self.cancelled | {job_id})
        for job_id in self.law.retries:
            if job_id not in self.retried and (after := self._changed(Action.JOB_RETRIED, job_id)):
                sent = after._replace(retried=self.retried | {job_id}, messages=after.messages | {job_id})
                yield f"{job_id} is retried", sent

    def _consumed(self, report: str) -> Self:
        def take() -> None:
            refused = Reports(JobsTable(TABLE), RETENTION_SECONDS, MAX_STRIKES).take(
                [events.read_report(report.encode())]
            )
            assert not refused

        left = self._replace(reports=self.reports - {report})
        world: Self = at_once(left, take)
        return world

    def _changed(self, action: Action, job_id: str) -> Self | None:
        """The world after a user's change of a job; None when it is refused."""
        moved: list[bool] = []

        def change() -> None:
            now = BEGIN_MS + self.now * (LEASE_SECONDS + 1) * 1000
            job = msgspec.json.decode(self.record(job_id)["job"]["S"], type=Job)
            event = Event(
                ts=now // 1000,
                userID=job.userid,
                jobID=job_id,
                action=action,
                job=msgspec.Raw(b"{}"),
                nodeName="",
                podName="",
                eventID=f"{action}-{job_id}",
                tsMs=now,
            )
            choice = Choice(QUEUE, "") if action == Action.JOB_RETRIED else None
            moved.append(JobsTable(TABLE).move_and_log(action, event, RETENTION_SECONDS, choice))

        world: Self = at_once(self, change)
        return world if moved == [True] else None

    # What must hold

    def flaw(self) -> str:
        """What does not fit: a finished record and its objects, or objects of a job that is cancelled."""
        if any("worker-error" in report for report in self.reports):
            return "a worker's own code failed"
        if broken := self._broken():
            return f"{broken} refers to files that are not there"
        if not self.reports and (stuck := self._stuck()):
            return f"{stuck} waits without a message, and its outputs are committed"
        for (job_id, kind), number in self.items.items():
            if kind != "job":
                continue
            record = _items[number]
            state = record["state"]["S"]
            if state == "finished" and "replacedBy" not in record:
                for output in json.loads(record["outputs"]["S"]):
                    found = self.objects.get(output["uri"].split("/", 3)[3])
                    if not found or hashlib.sha256(found.content).hexdigest() != output["sha256"]:
                        return f"{job_id} is finished, and its record names other bytes than {found}"
            if state == "cancelled" and any(found.job_id == job_id for found in self.objects.values()):
                return f"{job_id} is cancelled, and an object of it is there"
        return ""

    def _stuck(self) -> str:
        """A queued job that has committed and has no message, so that nobody adopts it until its queue is empty."""
        records = [_items[number] for (_, kind), number in self.items.items() if kind == "job"]
        waiting = (each["jobID"]["S"] for each in records if each["state"]["S"] == "queued" and "commit" in each)
        return next((job_id for job_id in waiting if job_id not in self.messages), "")

    def _broken(self) -> str:
        """An entry file that is there before all the files that it refers to."""
        for key, entry in self.objects.items():
            if key.endswith(ENTRY_FILES):
                folder, *names = entry.content.decode().split("\n")
                for name in names:
                    if folder + name not in self.objects or self.objects[folder + name].job_id != entry.job_id:
                        return key
        return ""

    def outcome(self) -> str:
        """The states of the jobs."""
        numbers = [number for (_, kind), number in sorted(self.items.items()) if kind == "job"]
        return "/".join(_items[number]["state"]["S"] for number in numbers)


def world(law: Law, jobs: list[Job]) -> Shared:
    """Jobs with a message each, nothing published."""
    shared = Shared(law, {}, {}, {}, frozenset(job.jobid for job in jobs), frozenset())
    for job in jobs:
        item = record_item(Accepted(job, Choice(QUEUE, ""), BEGIN_MS), RETENTION_SECONDS)
        shared = shared._with(item)
    return shared


def produced(pod: str, job: Job, folder: Path) -> Produced:
    """What an encoder makes of a job: bytes that no other attempt makes."""
    files = []
    for n, uri in enumerate(products(job)):
        file = folder / f"output-{n}"
        file.write_bytes(f"{job.jobid} by {pod}".encode())
        files.append((file, Output(uri=uri, bytes=file.stat().st_size)))
    return Produced(files, None, [])


def packaged(pod: str, job: Job, folder: Path) -> Produced:
    """A package of a listed track, an unlisted playlist, and an entry file that names them."""
    track, playlist, entry = (folder / name for name in ("track.mp4", "track.m3u8", "master.m3u8"))
    version = f"{job.output}x/{pod.replace(' ', '-')}/"
    track.write_bytes(f"{job.jobid} by {pod}".encode())
    playlist.write_bytes(b"of " + track.read_bytes())
    entry.write_text("\n".join([split(version)[1], track.name, playlist.name]))
    listed = {track: version + track.name, entry: f"{job.output}x/{entry.name}"}
    files = [(file, Output(uri=uri, bytes=file.stat().st_size)) for file, uri in listed.items()]
    return Produced(files, None, [], Version(version, [(playlist, version + playlist.name)]))
