"""The items of the jobs table: how jobs and events are stored and read back.

    jobID  item              content
    ─────  ────────────────  ────────────────────────────────────────────────────────────────────────
    id     job               the record; it also stands for the job's JobSummit, and holds in `latest`
                             the last JobStart or JobProgress of the running attempt
    id     log#<position>    one other event; `position` follows from the event, so an event that
                             arrives twice is one item

The index `user` (userShard, at) holds records and events of one user in time order, in eight partitions; its keys never
change after the first write. The index `state` (userID, kind, stateShard, at) holds records by user, kind and state: a
move sets `stateShard` in the write that sets the state. The index `due` (dueShard, due) holds every job that has
not ended, by its queue and the time from which `reconcile` may look at it. Every item has a TTL, and no read returns an
expired one.
"""

import random
import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from elasticrecode.aws.dynamodb import Item, document, key_of, number, text
from elasticrecode.contract.tables import DUE_KEYS, JOBS_KEYS, STATE_KEYS, TTL, USER_KEYS
from elasticrecode.ids import batch_of, is_plan, is_unlisted
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.events import Action, Event, Failure, Progress, Result, submitted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import DIVISION, LATEST, State
from elasticrecode.jobs.placement import Choice, Group, wanted
from elasticrecode.jobs.record import Division, JobRecord

T = TypeVar("T")

RECORD = "job"
_LOG = "log#"
_OFF_FEED = "offFeed"
"""Attribute of a stored event that watchers have seen already, or that came too late to be shown in order."""
_CREATED = "createdMs"
"""Attribute of the record of a plan: when it was accepted."""

SHARDS = 8
"""Partitions of a user, and of a queue's jobs. A partition takes 1,000 writes a second; a batch brings more."""
NO_QUEUE = ""
_HELD = "held:"
"""Prefix under which jobs without a queue are watched; no queue name starts like that."""


class Accepted(Struct, frozen=True):
    """A new job, the choice of its queue, and the time it was accepted, in milliseconds."""

    job: Job
    choice: Choice
    created_ms: int


class Waiting(NamedTuple):
    """A job that has not moved on. Times are in milliseconds; `lease` is None when no worker holds a claim."""

    job: Job
    state: State
    since_ms: int
    attempt: int
    lease: int | None


class Entry(NamedTuple):
    """An event to store. `is_live` is False for one that the feed must not show, or has from the record."""

    event: Event
    is_live: bool = True


class Latest(Struct, array_like=True):
    """The attribute `latest` of a record: an event without the fields that the record has. An array, to stay short."""

    ts: int
    tsMs: int
    action: str
    eventID: str
    attempt: int | None
    workerType: str | None
    nodeName: str | None
    podName: str | None
    msg: str | None = None
    progress: Progress | None = None
    result: Result | None = None
    error: Failure | None = None


def record_key(job_id: str) -> Item:
    """The key of a job's record."""
    return key_of(JOBS_KEYS, job_id, RECORD)


def held_queue(group: Group) -> str:
    """The name under which held jobs of a group are watched."""
    return _HELD + group


def due_shard(queue: str) -> str:
    """A partition of the index `due` for a job of a queue."""
    return f"{queue}#{random.randrange(SHARDS)}"  # noqa: S311


def destination(choice: Choice, job: Job | None = None) -> dict[str, str]:
    """Attributes of a record whose job goes to the chosen queue. A job that is held has none, and `job` is required."""
    watched = choice.queue or (held_queue(wanted(job).group) if job else NO_QUEUE)
    return {"queue": choice.queue, "why": choice.reason, DUE_KEYS[0]: due_shard(watched)}


def record_item(accepted: Accepted, retention_seconds: int) -> Item:
    """The record of a new job."""
    job = accepted.job
    batch_id = batch_of(job.jobid)
    state: State = "queued" if accepted.choice.queue else "accepted"
    return {
        **record_key(job.jobid),
        "userID": text(job.userid),
        **({"batchID": text(batch_id)} if batch_id else {}),
        **_places(accepted),
        "kind": text(job.kind),
        **{name: text(value) for name, value in destination(accepted.choice, job).items()},
        DUE_KEYS[1]: number(accepted.created_ms + lifecycle.WATCHED_AFTER_MS[state]),
        "state": text(state),
        STATE_KEYS[2]: text(random.choice(lifecycle.state_shards(state))),  # noqa: S311
        "attempt": number(0),
        "strikes": number(0),
        "queuedMs": number(accepted.created_ms),
        "job": document(job),
        TTL: number(accepted.created_ms // 1000 + retention_seconds),
    }


def event_item(entry: Entry, retention_seconds: int) -> Item:
    """The item of an event other than JobSummit and JobProgress, which are on the record."""
    event = entry.event
    return {
        **key_of(JOBS_KEYS, event.jobID, _LOG + event.position),
        "event": document(event),
        "userID": text(event.userID),
        **_user_keys(event.userID, event.jobID, event.position),
        **({} if entry.is_live else {_OFF_FEED: text("yes")}),
        TTL: number(int(time.time()) + retention_seconds),
    }


def put_of(table: str, entry: Entry, retention_seconds: int) -> dict[str, Any]:
    """The part of a transaction that stores an event."""
    return {"Put": {"TableName": table, "Item": event_item(entry, retention_seconds)}}


def latest_of(event: Event) -> str:
    """A JobStart or JobProgress as the attribute `latest` of its record, in JSON."""
    latest = Latest(
        ts=event.ts,
        tsMs=event.tsMs,
        action=event.action,
        eventID=event.eventID,
        attempt=event.attempt or None,
        workerType=_or_none(event.workerType),
        nodeName=_or_none(event.nodeName),
        podName=_or_none(event.podName),
        msg=event.msg or None,
        progress=_or_none(event.progress),
        result=_or_none(event.result),
        error=_or_none(event.error),
    )
    return msgspec.json.encode(latest).decode()


def events_of(item: Item) -> list[Event]:
    """The events that an item stands for, without their job unless it is the record: its JobSummit and its progress.

    The record of a part or a plan stands for none.
    """
    if is_unlisted(item["jobID"]["S"]):
        return []
    if "job" not in item:
        return [msgspec.json.decode(item["event"]["S"], type=Event)] if "event" in item else []
    latest = _latest_event(item)
    return [_summit(item), *([latest] if latest and latest.action == Action.JOB_PROGRESS else [])]


def new_events(change: Mapping[str, Any]) -> list[Event]:
    """The events that a record of the table's stream brings to the feed, of those that `streams.FEED` lets through."""
    image, before = change["dynamodb"]["NewImage"], change["dynamodb"].get("OldImage")
    if is_unlisted(image["jobID"]["S"]):
        return []
    if "job" in image:
        latest = _latest_event(image) if before and before.get(LATEST) != image.get(LATEST) else None
        return [latest] if latest else [_summit(image)] if before is None else []
    return [] if before or _OFF_FEED in image else events_of(image)


def record_of(item: Item, now: float) -> JobRecord:
    """A job's record as clients see it at `now`, in Unix seconds."""
    job = msgspec.json.decode(item["job"]["S"], type=Job)
    state: Any = item["state"]["S"]
    seen = lifecycle.as_seen(state, int(item["lease"]["N"]) if "lease" in item else None, int(now * 1000))
    is_lost = seen != state
    published = item if "outputs" in item else {}
    seconds = {name: int(item[name]["N"]) / 1000 for name in ("queuedMs", "startedMs", "endedMs") if name in item}
    latest = None if is_lost else _latest_event(item)
    return JobRecord(
        jobID=job.jobid,
        userID=job.userid,
        kind=job.kind,
        state=seen,
        attempt=int(item["attempt"]["N"]),
        priority=job.priority or 0,
        queue=item["queue"]["S"] or None,
        queueReason=item["why"]["S"] if "why" in item else None,
        input=job.input,
        origin=job.origin or None,
        output=job.output,
        profile=Raw(msgspec.json.encode(job.profile)),
        batchID=batch_of(job.jobid),
        createdAt=_created_ms(item) / 1000,
        queuedAt=seconds.get("queuedMs"),
        startedAt=None if is_lost else seconds.get("startedMs"),
        endedAt=seconds.get("endedMs"),
        progress=_progress(latest, seen) if latest else None,
        outputs=Raw(item["outputs"]["S"].encode()) if "outputs" in item else None,
        copyOf=item["copyOf"]["S"] if "copyOf" in item else None,
        quality=Raw(item["quality"]["S"].encode()) if "quality" in item else None,
        ladder=Raw(item["ladder"]["S"].encode()) if "ladder" in item else None,
        warnings=Raw(item["warnings"]["S"].encode()) if "warnings" in item else None,
        division=msgspec.json.decode(item[DIVISION]["S"], type=Division) if DIVISION in item else None,
        plan=job.plan.planID if job.plan else None,
        budget=job.budget or None,
        error=msgspec.json.decode(item["failure"]["S"], type=Failure) if "failure" in item else None,
        replaces=msgspec.json.decode(published["replaces"]["S"], type=list[str]) if "replaces" in published else None,
        replacedBy=published["replacedBy"]["S"] if "replacedBy" in published else None,
    )


def waiting_of(item: Item) -> Waiting:
    """A record as `reconcile` looks at it."""
    state: Any = item["state"]["S"]
    lease = int(item["lease"]["N"]) if "lease" in item else None
    since = item.get("startedMs", item["queuedMs"])
    job = msgspec.json.decode(item["job"]["S"], type=Job)
    return Waiting(job, state, int(since["N"]), int(item["attempt"]["N"]), lease)


def unknown_job(event: Event) -> Raw:
    """The job of an event that a worker reports about a job without a record."""
    return Raw(msgspec.json.encode({"userid": event.userID, "jobid": event.jobID}))


def _progress(latest: Event, state: str) -> Progress | None:
    """The latest progress of a job; 100 percent once it has finished, if its percentage was known."""
    progress = _or_none(latest.progress)
    if progress and progress.percent is not None and state == "finished":
        return structs.replace(progress, percent=100.0, etaSeconds=0.0)
    return progress


def _latest_event(item: Item) -> Event | None:
    if LATEST not in item:
        return None
    latest = msgspec.json.decode(item[LATEST]["S"], type=Latest)
    return Event(
        ts=latest.ts,
        userID=item["userID"]["S"],
        jobID=item["jobID"]["S"],
        action=latest.action,
        nodeName=_or_unset(latest.nodeName),
        podName=_or_unset(latest.podName),
        workerType=_or_unset(latest.workerType),
        msg=latest.msg or UNSET,
        eventID=latest.eventID,
        tsMs=latest.tsMs,
        attempt=latest.attempt or UNSET,
        progress=latest.progress or UNSET,
        result=latest.result or UNSET,
        error=latest.error or UNSET,
    )


def _or_none(value: T | UnsetType) -> T | None:
    return None if isinstance(value, UnsetType) else value


def _or_unset(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _summit(item: Item) -> Event:
    return submitted(item["job"]["S"].encode(), item["userID"]["S"], item["jobID"]["S"], _created_ms(item))


def _user_keys(user_id: str, job_id: str, at: str) -> Item:
    """Attributes under which the index `user` finds an item."""
    shard = f"{user_id}#{zlib.crc32(job_id.encode()) % SHARDS}"
    return {USER_KEYS[0]: text(shard), USER_KEYS[1]: text(at)}


def _places(accepted: Accepted) -> Item:
    """Attributes under which lists and counts find a new record; a plan has the time alone, and is in none."""
    job, created = accepted.job, accepted.created_ms
    if is_plan(job.jobid):
        return {_CREATED: number(created)}
    at = submitted(b"", job.userid, job.jobid, created).position
    return {**_user_keys(job.userid, job.jobid, at), lifecycle.COUNTED: number(1)}


def _created_ms(item: Item) -> int:
    return int(item[_CREATED]["N"]) if _CREATED in item else int(item["at"]["S"].split("#", 1)[0])
