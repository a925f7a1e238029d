"""What functions and workers do that needs a grant, each in a second or so. `EXERCISES` has them by who does it.

An exercise prepares what it needs and looks at what comes of it, so it fails where one of its grants is missing.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
from botocore.config import Config
from msgspec import Raw
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.sync.client import ClientConnection

from elasticrecode import ids
from elasticrecode.access.callers import Caller
from elasticrecode.batches.counting import Change
from elasticrecode.batches.messages import PageMessage, TallyMessage
from elasticrecode.batches.request import read_batch
from elasticrecode.batches.survey import Line
from elasticrecode.contract.settings import DeliverSettings
from elasticrecode.jobs.commits import Commit, Ending
from elasticrecode.jobs.events import Output, WorkerEvent
from elasticrecode.jobs.items import Accepted, record_item
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import COUNTED, ENDED, Step
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.uris import output_name, split
from elasticrecode.media.presets import BUILT_IN
from elasticrecode.media.profiles import Package, Profile
from elasticrecode.overview.moves import CountedMove, MovesMessage, Place
from elasticrecode.parts.part import Part, PartJob
from elasticrecode.watch.connections import Watcher
from elasticrecode.watch.subscription import Cursor, Start, Watch
from elasticrecode.webhooks.webhook import BUS, Delivery, Webhook
from elasticrecode.webhooks.webhook import new as new_webhook
from elasticrecode.workers.fleet import ClusterView, RegisteredQueue
from local import users
from local.processes import Program, programs
from tests.conftest import ROOT, contract
from tests.e2e.conftest import FFMPEG
from tests.fakes.receiver import running, status
from tests.grants.stage import Missed, Stage, new, now_ms
from worker.errors import JobError
from worker.holding import remove as remove_results
from worker.job_role import JobRole
from worker.keys import content_key
from worker.publication import Publication
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage
from worker.uploads import FILES, Uploads
from worker.versions import remove

Exercise = Callable[[Stage], None]

EXERCISES: dict[str, list[Exercise]] = {}
_SLOW: list[Exercise] = []
WORKER, JOB = "worker", "job role"


def of(owner: str, *, slow: bool = False) -> Callable[[Exercise], Exercise]:
    """An exercise of a function, or of workers. Slow ones come last: the others may show already what they would."""

    def note(exercise: Exercise) -> Exercise:
        known = EXERCISES.setdefault(owner, [])
        known.insert(len(known) if slow else sum(one not in _SLOW for one in known), exercise)
        if slow:
            _SLOW.append(exercise)
        return exercise

    return note


# Taking jobs in


class Intake(NamedTuple):
    """A route that takes jobs in."""

    function: str
    path: str
    body: dict[str, Any]


def _intakes(stage: Stage) -> dict[str, Intake]:
    scoring = {"profile": {"vmaf": {"scale": "240p"}}, "origin": f"s3://{stage.bucket}/none/origin.mp4"}
    listed = {"inputs": [f"s3://{stage.bucket}/none/{n}.mp4" for n in range(2)]}
    batch = stage.request(new()) | listed
    del batch["input"]
    return {
        "submit": Intake("submit", "/jobs", stage.request(new())),
        "vmaf": Intake("vmaf", "/vmaf", stage.request(new()) | scoring),
        "plans": Intake("plans", "/plans", stage.request(new())),
        "batch": Intake("batch", "/batches", batch),
    }


def _intake(function: str, way: Callable[[Stage, Intake], None]) -> Exercise:
    def exercise(stage: Stage) -> None:
        way(stage, _intakes(stage)[function])

    exercise.__name__ = f"{function}_{way.__name__}"
    return of(function, slow=way in (takes_a_request_with_a_key, remembers_a_preset_that_is_gone))(exercise)


def takes_a_request_with_a_key(stage: Stage, intake: Intake) -> None:
    stage.cold(intake.function)
    stage.call("POST", intake.path, intake.body, {"Idempotency-Key": new()})


def goes_on_with_a_request_that_was_cut_off(stage: Stage, intake: Intake) -> None:
    key = new()
    stage.call("POST", intake.path, intake.body, {"Idempotency-Key": key})
    (row,) = _rows(stage, stage.stack["JobsTable"], f"key#{intake.body['userid']}#")
    stage.deployed.dynamodb.update_item(
        TableName=stage.stack["JobsTable"],
        Key={name: row[name] for name in ("jobID", "item")},
        UpdateExpression="SET locked = :never REMOVE refused",
        ExpressionAttributeValues={":never": {"N": "0"}},
    )
    stage.call("POST", intake.path, intake.body, {"Idempotency-Key": key})


def remembers_a_preset_that_is_gone(stage: Stage, intake: Intake) -> None:
    name, key = f"grants-{new()}", new()
    profile = intake.body["profile"]
    stage.call("PUT", f"/presets/{name}", {"profile": profile})
    body = intake.body | {"profile": {"preset": name}}
    stage.call("POST", intake.path, body, {"Idempotency-Key": key})
    stage.call("DELETE", f"/presets/{name}")
    stage.cold(intake.function)
    stage.call("POST", intake.path, body, {"Idempotency-Key": key})


def counts_what_a_user_asks_for(stage: Stage, intake: Intake) -> None:
    stage.call("POST", intake.path, intake.body | {"userid": users.USER}, user=users.USER)


for _function in ("submit", "vmaf", "plans", "batch"):
    _intake(_function, counts_what_a_user_asks_for)
    _intake(_function, takes_a_request_with_a_key)
    _intake(_function, goes_on_with_a_request_that_was_cut_off)
    _intake(_function, remembers_a_preset_that_is_gone)


@of("submit")
def submit_takes_several_jobs(stage: Stage) -> None:
    body = stage.request(new())
    body["batchInputs"] = [body.pop("input"), f"s3://{stage.bucket}/none/second.mp4"]
    answer = stage.call("POST", "/jobs", body)
    if any(one["status"]["status"] != "success" for one in answer):
        raise Missed("a job was not stored")


_KEY = "00112233445566778899aabbccddeeff"


def _locked(**key: str) -> dict[str, Any]:
    """A profile of a package that is encrypted."""
    return {"package": {"encryption": {"scheme": "cbcs", "keyUri": "https://keys.example/1", **key}}}


@of("submit")
def submit_seals_the_key_of_a_package(stage: Stage) -> None:
    (answer,) = stage.call("POST", "/jobs", stage.request(new(), profile=_locked(key=_KEY)))
    if answer["status"]["status"] != "success":
        raise Missed("the job was not stored")


@of("plans")
def plans_seals_the_key_of_a_package(stage: Stage) -> None:
    stage.call("POST", "/plans", stage.request(new(), profile=_locked(key=_KEY)))


@of("batch")
def batch_seals_the_key_of_a_package(stage: Stage) -> None:
    body = stage.request(new(), profile=_locked(key=_KEY))
    stage.call("POST", "/batches", body | {"inputs": [body.pop("input")]})


def _rows(stage: Stage, table: str, start: str) -> list[dict[str, Any]]:
    pages = stage.deployed.dynamodb.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="begins_with(jobID, :start)",
        ExpressionAttributeValues={":start": {"S": start}},
        ConsistentRead=True,
    )
    return [row for page in pages for row in page["Items"]]


# Where jobs stand


@of("logs")
def logs_lists_a_job_and_a_user(stage: Stage) -> None:
    job = stage.job()
    stage.call("GET", f"/jobs/{job.jobid}")
    stage.call("GET", f"/{job.userid}/jobs")


@of("logs")
def logs_knows_that_there_is_no_job(stage: Stage) -> None:
    status, _, _ = stage.deployed.call("GET", f"/api/v1/jobs/{new()}")
    if status != 404:
        raise Missed(f"a job that is not there answers {status}")


@of("jobs", slow=True)
def jobs_cancels_and_retries(stage: Stage) -> None:
    job = stage.job()
    stage.cold("jobs")
    stage.call("GET", f"/jobs?userID={job.userid}")
    stage.call("GET", f"/jobs?userID={job.userid}&state=queued")
    stage.call("DELETE", f"/jobs/{job.jobid}")
    stage.call("POST", f"/jobs/{job.jobid}/retry")


@of("jobs")
def jobs_retries_what_failed_of_a_batch(stage: Stage) -> None:
    batch_id, user = _expanded(stage, 1)
    stage.call("GET", f"/jobs?userID={user}&batchID={batch_id}&state=queued")
    stage.call("POST", "/jobs/retry", {"userID": user, "batchID": batch_id})


@of("jobs")
def jobs_reopens_the_batch_of_a_retried_job(stage: Stage) -> None:
    batch_id, user = _expanded(stage, 1)
    job = stage.job(user=user, job_id=ids.job_id(batch_id, 0))
    stage.call("DELETE", f"/jobs/{job.jobid}")
    stage.call("POST", f"/jobs/{job.jobid}/retry")
    stored = stage.batches.get(batch_id)
    if not stored or not stored.retries:
        raise Missed("the batch was not reopened")


@of("jobs")
def jobs_counts_what_a_user_asks_for(stage: Stage) -> None:
    stage.call("DELETE", f"/jobs/{stage.job(user=users.USER).jobid}", user=users.USER)


# Files


@of("files")
def files_links_what_a_job_has(stage: Stage) -> None:
    job = msgspec.structs.replace(stage.job(user=users.USER), jobid=new(), input=f"s3://{stage.bucket}/grants/in.mp4")
    stage.s3.put_object(Bucket=stage.bucket, Key="grants/in.mp4", Body=b"-")
    stage.jobs.accept([Accepted(job, Choice("ffmpeg_job", "for an exercise"), now_ms())], 3600)
    (link,) = stage.call("GET", f"/jobs/{job.jobid}/links", user=users.USER)["links"]
    with urllib.request.urlopen(link["url"], timeout=60) as answer:
        if answer.read() != b"-":
            raise Missed("the link leads elsewhere")


@of("files")
def files_counts_what_a_user_asks_for(stage: Stage) -> None:
    status, answer, _ = stage.deployed.call("POST", f"/api/v1/jobs/{new()}/links", {"uris": []}, user=users.USER)
    if status != 404:
        raise Missed(f"a job that is not there answers {status}: {answer}")


@of("files")
def files_takes_an_upload(stage: Stage) -> None:
    body = {"userID": users.USER, "name": "film.mov", "bytes": 3}
    path = f"/uploads/{stage.call('POST', '/uploads', body, user=users.USER)['uploadID']}"
    url = stage.call("POST", f"{path}/links", {"parts": [1]}, user=users.USER)["urls"]["1"]
    urllib.request.urlopen(urllib.request.Request(url, b"abc", method="PUT"), timeout=60).close()
    if stage.call("GET", path, user=users.USER)["uploaded"] != [1]:
        raise Missed("S3 does not have the part")
    stage.call("POST", f"{path}/complete", user=users.USER)


@of("files")
def files_removes_an_upload(stage: Stage) -> None:
    body = {"userID": users.USER, "name": "film.mov", "bytes": 3}
    upload_id = stage.call("POST", "/uploads", body, user=users.USER)["uploadID"]
    stage.call("DELETE", f"/uploads/{upload_id}", user=users.USER)


# Batches


def _batch(stage: Stage, count: int = 1, **places: Any) -> tuple[str, str]:
    """A batch that is stored, and whose it is; with inputs that are listed unless it has other ones."""
    user, batch_id = new(), new()
    body = stage.request(user)
    del body["input"]
    inputs = [f"s3://{stage.bucket}/none/{n}.mp4" for n in range(count)]
    body |= places or {"inputs": inputs}
    batch, _ = read_batch(json.dumps(body).encode(), batch_id, now_ms(), BUILT_IN)
    saved = None if places else stage.batches.store_pages(batch, [Line(n, uri) for n, uri in enumerate(inputs, 1)])
    stage.batches.create(batch, saved)
    return batch_id, user


def _expanded(stage: Stage, count: int) -> tuple[str, str]:
    """A batch with jobs, counted."""
    batch_id, user = _batch(stage, count)
    stage.batches.count(batch_id, 0, [Change(n, 0, "queued") for n in range(count)])
    return batch_id, user


def _task(stage: Stage, batch_id: str, do: Any = "make") -> PageMessage:
    stored = stage.batches.get(batch_id)
    if not stored:
        raise Missed("the batch is not there")
    return PageMessage(batch_id, do, stored.run, 0)


@of("batch")
def batch_shows_and_cancels(stage: Stage) -> None:
    batch_id, _ = _expanded(stage, 1)
    stage.call("GET", f"/batches/{batch_id}")
    stage.call("DELETE", f"/batches/{batch_id}")


@of("batch")
def batch_lists_those_of_a_user(stage: Stage) -> None:
    _, user = _batch(stage)
    stage.call("GET", f"/batches?userID={user}")


@of("survey", slow=True)
def survey_looks_through_a_prefix(stage: Stage) -> None:
    stage.s3.put_object(Bucket=stage.bucket, Key="grants/one.mp4", Body=b"-")
    batch_id, _ = _batch(stage, prefix=f"s3://{stage.bucket}/grants/")
    stage.sqs.send_message(QueueUrl=stage.surveys, MessageBody=json.dumps({"batchID": batch_id}))
    _until_surveyed(stage, batch_id)


@of("survey", slow=True)
def survey_reads_a_manifest(stage: Stage) -> None:
    text = f"s3://{stage.bucket}/none/one.mp4\n".encode()
    stage.s3.put_object(Bucket=stage.bucket, Key="grants/manifest.txt", Body=text)
    batch_id, _ = _batch(stage, manifest=f"s3://{stage.bucket}/grants/manifest.txt")
    stage.sqs.send_message(QueueUrl=stage.surveys, MessageBody=json.dumps({"batchID": batch_id}))
    _until_surveyed(stage, batch_id)


def _until_surveyed(stage: Stage, batch_id: str) -> None:
    def is_surveyed() -> bool:
        stored = stage.batches.get(batch_id)
        if stored and stored.failure:
            raise Missed(stored.failure.message)
        return bool(stored and stored.survey)

    stage.until(is_surveyed, "a look through the inputs")
    stage.until(lambda: _made(stage, batch_id), "the jobs of the batch")


def _made(stage: Stage, batch_id: str) -> bool:
    stored = stage.batches.get(batch_id)
    return bool(stored and stored.settled)


@of("survey", slow=True)
def survey_tells_of_a_batch_without_inputs(stage: Stage) -> None:
    batch_id, _ = _batch(stage, prefix=f"s3://{stage.bucket}/nothing/here/")
    stage.sqs.send_message(QueueUrl=stage.surveys, MessageBody=json.dumps({"batchID": batch_id}))
    stage.until(lambda: _has_ended(stage, batch_id), "the end of the batch")


def _has_ended(stage: Stage, batch_id: str) -> bool:
    stored = stage.batches.get(batch_id)
    return bool(stored and stored.endedMs)


@of("expand", slow=True)
def expand_makes_one_job(stage: Stage) -> None:
    batch_id, _ = _batch(stage)
    stage.cold("expand")
    stage.hand("expand", _task(stage, batch_id))


@of("expand", slow=True)
def expand_makes_several_jobs_again(stage: Stage) -> None:
    batch_id, _ = _batch(stage, 2)
    task = _task(stage, batch_id)
    stage.batches.lease_page(task, now_ms(), now_ms() - 1)
    stage.hand("expand", task)
    stage.until(lambda: _made(stage, batch_id), "the page settled", 0)


@of("expand")
def expand_cancels(stage: Stage) -> None:
    batch_id, _ = _batch(stage)
    task = _task(stage, batch_id)
    stage.hand("expand", task)
    stage.batches.cancel(batch_id, now_ms())
    stage.hand("expand", PageMessage(batch_id, "cancel"))
    stage.hand("expand", PageMessage(batch_id, "sweep", task.run, 0))
    (record,) = stage.jobs.records_of([ids.job_id(batch_id, 0)])
    if record.state != "cancelled":
        raise Missed(f"the job is {record.state}")


@of("expand", slow=True)
def expand_takes_pages_from_its_queue(stage: Stage) -> None:
    batch_id, _ = _batch(stage)
    body = msgspec.json.encode(_task(stage, batch_id)).decode()
    stage.sqs.send_message(QueueUrl=stage.pages, MessageBody=body)
    stage.until(lambda: _made(stage, batch_id), "the jobs of the batch")


@of("tally")
def tally_counts_and_ends(stage: Stage) -> None:
    batch_id, user = _batch(stage)
    stage.batches.settle_page(_task(stage, batch_id))
    stage.hand("tally", TallyMessage(batch_id, [Change(0, 1, "failed")]))
    if not _has_ended(stage, batch_id):
        raise Missed("the batch has not ended")
    if [event.action for event in stage.lists.job_events(batch_id, 10, "").events] != ["BatchFinished"]:
        raise Missed(f"nothing tells {user} of it")


@of("tally")
def tally_counts_the_jobs_of_a_user(stage: Stage) -> None:
    user, mark = new(), base64.b64encode(os.urandom(8)).decode()
    stage.hand("tally", MovesMessage({user: [CountedMove(mark, 5, None, Place("queued"))]}))
    if stage.call("GET", f"/overview?userID={user}")["states"]["queued"] != 1:
        raise Missed("the job is not counted")


@of("tally", slow=True)
def tally_takes_counts_from_its_queue(stage: Stage) -> None:
    batch_id, _ = _batch(stage)
    body = msgspec.json.encode(TallyMessage(batch_id, [Change(0, 0, "queued")])).decode()
    stage.sqs.send_message(QueueUrl=stage.tallies, MessageBody=body)
    stage.until(lambda: stage.batches.strips(batch_id), "a strip of the batch")


# Queues and workers, for operators


@of("presets")
def presets_are_put_listed_and_removed(stage: Stage) -> None:
    name = f"grants-{new()}"
    stage.call("PUT", f"/presets/{name}", {"profile": {"vmaf": {"scale": "240p"}}})
    stage.call("GET", "/presets")
    stage.call("DELETE", f"/presets/{name}")


@of("workers", slow=True)
def workers_pauses_and_resumes(stage: Stage) -> None:
    stage.cold("workers")
    stage.call("POST", "/worker/queues/vmaf_job/pause")
    stage.call("POST", "/worker/queues/vmaf_job/resume")


@of("workers", slow=True)
def workers_looks_at_queues(stage: Stage) -> None:
    stage.forget("loads")
    stage.cold("workers")
    shown = {one["queue"]: one for one in stage.call("GET", "/worker/backlog")}
    for name in ("ffmpeg_job", "vmaf_job"):
        if not shown[name]["lookedAt"]:
            raise Missed(f"{name} was not looked at")


@of("discover")
def discover_looks_into_the_cluster_for_queues(stage: Stage) -> None:
    known = stage.known().registered
    now = time.time()
    # One that its workers brought along and nobody could find is looked up again.
    unfound = {
        "ffmpeg_spot": RegisteredQueue(groups=("cpu",), fault="not yet", seen=now, served=now),
        "vmaf_more": RegisteredQueue(groups=("vmaf",), fault="not yet", seen=now, served=now),
    }
    stage.registry.save_queues({name: one for name, one in known.items() if name not in unfound} | unfound)
    stage.registry.save_cluster(ClusterView(name="gone", seen=now))
    with _deployment(stage, "worker-more", "vmaf_more", "vmaf"):
        stage.until(lambda: not stage.invoke("discover", {})["unreachable"], "a look into the cluster")
    after = stage.known()
    for name in unfound:
        if after.registered[name].fault != "there is no such queue":
            raise Missed(f"{name} was not looked up: {after.registered[name].fault}")
    if "gone" in {view.name for view in after.clusters}:
        raise Missed("a cluster that is gone is still known")


@contextmanager
def _deployment(stage: Stage, name: str, queue: str, kind: str) -> Iterator[None]:
    """A Deployment of workers that are not ready."""
    path = "/apis/apps/v1/namespaces/elasticrecode/deployments"
    made = stage.deployed.cluster("GET", f"{path}/worker-{'vmaf' if kind == 'vmaf' else 'cpu'}")[1]
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": dict(made["metadata"]), "spec": made["spec"]}
    made["metadata"] |= {"name": name}
    made["metadata"].pop("resourceVersion")
    made["spec"] = json.loads(json.dumps(made["spec"])) | {"replicas": 0}
    for variable in made["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "QUEUE_NAME":
            variable["value"] = queue
    status, answer = stage.deployed.cluster("POST", path, made)
    if status != 201:
        raise Missed(f"{answer}")
    try:
        yield
    finally:
        stage.deployed.cluster("DELETE", f"{path}/{name}")


# From the table to workers, and back


def _image(job: Job, queue: str) -> dict[str, Any]:
    """The record of a job as the stream tells of it."""
    return {
        "jobID": {"S": job.jobid},
        "userID": {"S": job.userid},
        "queue": {"S": queue},
        "state": {"S": "queued"},
        "job": {"S": msgspec.json.encode(job).decode()},
    }


def _inserted(image: dict[str, Any]) -> dict[str, Any]:
    created = {"ApproximateCreationDateTime": now_ms() // 1000}
    return {"Records": [{"eventName": "INSERT", "dynamodb": {"NewImage": image, **created}}]}


@of("dispatch", slow=True)
def dispatch_sends_to_each_kind_of_queue(stage: Stage) -> None:
    stage.cold("dispatch")
    for queue in ("ffmpeg_job", "vmaf_job"):
        job = msgspec.structs.replace(_job(), jobid=new())
        stage.invoke("dispatch", _inserted(_image(job, queue)))
        stage.find(_url(stage, queue), job.jobid)


def _job() -> Job:
    return msgspec.convert(
        {"userid": "grants", "jobid": new(), "input": "s3://b/in.mp4", "output": "s3://b/out/", "profile": {}}, Job
    )


def _url(stage: Stage, queue: str) -> str:
    return next(url for group in stage.queues.values() for name, url in group.items() if name == queue)


@of("dispatch", slow=True)
def dispatch_looks_at_queues(stage: Stage) -> None:
    finished = _image(_job(), "ffmpeg_job") | {"state": {"S": "finished"}}

    def looked() -> bool:
        stage.forget("loads")
        stage.cold("dispatch")
        stage.invoke("dispatch", _inserted(finished))
        loads = stage.known().loads
        return all(name in loads and loads[name].at for name in ("ffmpeg_job", "vmaf_job"))

    stage.until(looked, "a look at both queues")  # one that the stream has just begun may say that it looked


@of("dispatch")
def dispatch_marks_what_no_queue_takes(stage: Stage) -> None:
    job = stage.job("ffmpeg_job")
    stage.invoke("dispatch", _inserted(_image(job, "ffmpeg_nowhere")))
    record = stage.jobs.record(job.jobid)
    if not record or record.state != "accepted":
        raise Missed("the job is not marked")


@of("dispatch")
def dispatch_tells_of_a_batchs_jobs(stage: Stage) -> None:
    batch_id, user = _batch(stage)
    job = msgspec.structs.replace(_job(), jobid=ids.job_id(batch_id, 0), userid=user)
    image = _image(job, "ffmpeg_job") | {"batchID": {"S": batch_id}, "state": {"S": "cancelled"}}
    stage.invoke("dispatch", _inserted(image))


@of("dispatch")
def dispatch_counts_what_the_queue_does_not_take(stage: Stage) -> None:
    user, count = new(), 6000  # a report of more than the 1 MiB that SQS takes

    def failed(n: int, code: str, moves: int) -> dict[str, Any]:
        failure = {"S": json.dumps({"code": code * 64, "message": ""})}
        places = {"jobID": {"S": f"{user}-{n}"}, "userID": {"S": user}, "state": {"S": "failed"}, "failure": failure}
        return places | {"moves": {"N": str(moves)}, COUNTED: {"N": "1"}}

    changes = [
        {"OldImage": failed(n, "a", 1), "NewImage": failed(n, "b", 2), "ApproximateCreationDateTime": 5}
        for n in range(count)
    ]
    stage.invoke("dispatch", {"Records": [{"eventName": "MODIFY", "dynamodb": change} for change in changes]})
    if stage.call("GET", f"/overview?userID={user}")["failures"][0]["jobs"] != count:
        raise Missed("the moves are not counted")


@of("dispatch", slow=True)
def dispatch_follows_the_table(stage: Stage) -> None:
    job = stage.job("ffmpeg_job")
    stage.find(_url(stage, "ffmpeg_job"), job.jobid)


def _event(job: Job, action: str = "JobStart") -> str:
    told = WorkerEvent(action=action, job=Raw(msgspec.json.encode(job)), ts=now_ms() // 1000, eventID=new())
    return msgspec.json.encode(told).decode()


@of("consume")
def consume_keeps_what_a_worker_says_and_moves_the_job(stage: Stage) -> None:
    job = stage.job()
    stage.hand("consume", _event(job))
    record = stage.jobs.record(job.jobid)
    if not record or record.state != "running":
        raise Missed("the job does not run")


@of("consume")
def consume_keeps_what_moves_no_job(stage: Stage) -> None:
    job = stage.job()
    stage.hand("consume", _event(job, "JobNote"))
    if "JobNote" not in [event.action for event in stage.lists.job_events(job.jobid, 10, "").events]:
        raise Missed("the event is not stored")


@of("consume")
def consume_puts_aside_what_is_none(stage: Stage) -> None:
    stage.hand("consume", f"no event {new()}")


@of("consume", slow=True)
def consume_takes_from_the_control_queue(stage: Stage) -> None:
    job = stage.job()
    stage.sqs.send_message(QueueUrl=stage.stack["ControlQueue"], MessageBody=_event(job))
    stage.until(lambda: _state(stage, job.jobid) == "running", "a job that runs")


def _state(stage: Stage, job_id: str) -> str:
    record = stage.jobs.record(job_id)
    return record.state if record else ""


# What was left lying


def _reconcile(stage: Stage) -> None:
    stage.invoke("reconcile", {})


@of("reconcile", slow=True)
def reconcile_brings_a_lost_message_back(stage: Stage) -> None:
    job = stage.job()
    stage.find(_url(stage, "ffmpeg_job"), job.jobid)  # dispatch has sent it, and now it is lost
    stage.empty(_url(stage, "ffmpeg_job"))
    stage.cold("reconcile")
    _due(stage, job.jobid)
    _reconcile(stage)
    stage.find(_url(stage, "ffmpeg_job"), job.jobid)


def _due(stage: Stage, job_id: str, **more: dict[str, str]) -> None:
    """Let a job be looked at now."""
    values = {"due": {"N": "1"}} | more
    stage.deployed.dynamodb.update_item(
        TableName=stage.stack["JobsTable"],
        Key={"jobID": {"S": job_id}, "item": {"S": "job"}},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
        ExpressionAttributeNames={f"#{name}": name for name in values},
        ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
    )


@of("reconcile")
def reconcile_buries_dead_letters(stage: Stage) -> None:
    job = stage.job()
    body = msgspec.json.encode(job).decode()
    stage.sqs.purge_queue(QueueUrl=stage.stack["DeadLetterQueue"])
    stage.sqs.send_message(QueueUrl=stage.stack["DeadLetterQueue"], MessageBody=body)
    _reconcile(stage)
    if _state(stage, job.jobid) != "failed":
        raise Missed("the job has not failed")
    _is_gone(stage, "DeadLetterQueue")


@of("reconcile", slow=True)
def reconcile_gives_events_back(stage: Stage) -> None:
    job = stage.job()
    stage.sqs.purge_queue(QueueUrl=stage.stack["EventDeadLetterQueue"])
    stage.sqs.send_message(QueueUrl=stage.stack["EventDeadLetterQueue"], MessageBody=_event(job))
    _reconcile(stage)
    stage.until(lambda: _state(stage, job.jobid) == "running", "a job that runs")
    _is_gone(stage, "EventDeadLetterQueue")


def _is_gone(stage: Stage, output: str) -> None:
    """Missed where a queue holds anything."""
    if stage.held(stage.stack[output]):
        raise Missed(f"the letter is still in {output}")


def _relieve(stage: Stage, left: str, taker: str, group: Any) -> None:
    """Let jobs wait where no worker has been for long: one that can leave, and one that a worker has."""
    long_ago = time.time() - 3600
    registered = stage.known().registered
    with stage.queue(left) as url:
        one = RegisteredQueue(groups=(group,), url=url, seen=long_ago, served=long_ago)
        stage.registry.save_queues(registered | {left: one})
        try:
            waits, stays = stage.job(left), stage.job(left)
            stage.jobs.move(stays.jobid, Step.CLAIM, None, now_ms(), {"lease": now_ms() + 60_000, "worker": "somebody"})
            for job in (waits, stays):
                body = msgspec.json.encode(job).decode()
                stage.sqs.send_message(QueueUrl=url, MessageBody=body)

            def has_left() -> bool:
                stage.forget("loads")  # dispatch may have looked at the queue before it had the messages
                stage.cold("reconcile")
                _reconcile(stage)
                record = stage.jobs.record(waits.jobid)
                return bool(record and record.queue == taker)

            stage.until(has_left, f"a job that leaves for {taker}")
            stage.find(url, stays.jobid)
        finally:
            stage.registry.save_queues(registered)


@of("reconcile", slow=True)
def reconcile_takes_jobs_elsewhere(stage: Stage) -> None:
    _relieve(stage, "ffmpeg_left", "ffmpeg_job", "cpu")


@of("reconcile", slow=True)
def reconcile_takes_scores_elsewhere(stage: Stage) -> None:
    _relieve(stage, "vmaf_left", "vmaf_job", "vmaf")


# Drops


def _put(stage: Stage, key: str, *, there: bool = True) -> str:
    """A notification of S3 of an object."""
    if there:
        stage.s3.put_object(Bucket=stage.bucket, Key=key, Body=b"-")
    place = {"bucket": {"name": stage.bucket}, "object": {"key": key, "size": 1, "eTag": new(), "sequencer": new()}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": place}]})


@of("collect", slow=True)
def collect_makes_a_job_of_a_file(stage: Stage) -> None:
    stage.cold("collect")
    stage.hand("collect", _put(stage, f"drop/{new()}.mp4"))


@of("collect")
def collect_leaves_alone_what_is_gone(stage: Stage) -> None:
    stage.hand("collect", _put(stage, f"drop/{new()}.mp4", there=False))


@of("collect", slow=True)
def collect_hears_of_files(stage: Stage) -> None:
    key = f"drop/{new()}.mp4"
    stage.s3.put_object(Bucket=stage.bucket, Key=key, Body=b"-")
    table = stage.stack["JobsTable"]

    def has_come() -> bool:
        # A scan ends after 1 MB, whatever the filter leaves of it.
        pages = stage.deployed.dynamodb.get_paginator("scan").paginate(
            TableName=table,
            FilterExpression="contains(job, :key)",
            ExpressionAttributeValues={":key": {"S": key}},
            ConsistentRead=True,
        )
        return any(page["Items"] for page in pages)

    stage.until(has_come, "a job of a file")


# Watchers


@of("append", slow=True)
def append_takes_events(stage: Stage) -> None:
    stage.job()
    stage.cold("append")
    item = _record_of(stage.job())
    stage.invoke("append", _inserted(item))


def _record_of(job: Job) -> dict[str, Any]:
    return record_item(Accepted(job, Choice("ffmpeg_job", ""), now_ms()), 60)


@of("append", slow=True)
def append_follows_the_table(stage: Stage) -> None:
    user = new()
    before = stage.feed.head()
    job = stage.job(user=user)

    def is_told() -> bool:
        chunks = stage.feed.read(Cursor(before), 100)
        return any(event.jobID == job.jobid for chunk in chunks for _, event in chunk.events)

    stage.until(is_told, "an event in the feed")


@contextmanager
def _watching(stage: Stage, user: str, query: str = "") -> Iterator[ClientConnection]:
    with stage.deployed.watch(f"userID={user}{query}") as socket:
        yield socket


def _stored(stage: Stage, user: str) -> list[dict[str, Any]]:
    """The items of who watches a user's jobs, also of those whose time is over."""
    items: list[dict[str, Any]] = stage.deployed.dynamodb.query(
        TableName=stage.stack["ConnectionsTable"],
        KeyConditionExpression="topic = :topic",
        ExpressionAttributeValues={":topic": {"S": f"userID#{user}"}},
        ConsistentRead=True,
    )["Items"]
    return items


def _watcher(stage: Stage, user: str) -> Watcher | None:
    """The watcher of a user's jobs."""
    rows = _stored(stage, user)
    return stage.connections.get(rows[0]["topic"]["S"], rows[0]["connectionID"]["S"]) if rows else None


def _receive(stage: Stage, socket: ClientConnection) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(socket.recv(timeout=6 * stage.patience))
    except TimeoutError:
        raise Missed("nothing was pushed") from None
    return found


def _coming(user: str, operator: bool, connection: str) -> dict[str, Any]:
    """A connection that a user opens, as API Gateway tells of it."""
    context = {"connectionId": connection, "requestId": "exercise", "eventType": "CONNECT"}
    authorizer = Caller(user, operator).context()
    query = {"userID": user}
    return {"requestContext": context | {"authorizer": authorizer}, "queryStringParameters": query}


@of("sockets")
def sockets_lets_come_and_go(stage: Stage) -> None:
    user, connection = new(), new()
    _is_let_in(stage, _coming(user, True, connection))
    leaving = {"connectionId": connection, "requestId": "exercise", "eventType": "DISCONNECT"}
    stage.invoke("sockets", {"requestContext": leaving})
    if _watcher(stage, user):
        raise Missed("who has left is still known")


@of("sockets")
def sockets_counts_who_comes(stage: Stage) -> None:
    _is_let_in(stage, _coming(new(), False, new()))


def _is_let_in(stage: Stage, coming: dict[str, Any]) -> None:
    answer = stage.invoke("sockets", coming)
    if answer["statusCode"] != 200:
        raise Missed(f"sockets answers {answer}")


@of("tickets")
def tickets_makes_one_for_a_user(stage: Stage) -> None:
    stage.call("POST", "/socket-tickets", user=users.USER)


@of("authorize")
def authorize_takes_a_ticket(stage: Stage) -> None:
    ticket = stage.call("POST", "/socket-tickets")["ticket"]
    with stage.deployed.watch(f"ticket={ticket}", user=None):
        pass


@of("disconnect", slow=True)
def disconnect_ends_who_has_no_token_any_more(stage: Stage) -> None:
    user = new()
    with _watching(stage, user) as socket:
        watcher = stage.until(lambda: _watcher(stage, user), "a watcher")
        ended = int(time.time()) - 1
        stage.connections.add(watcher.connection_id, watcher.watch, Start("now"), ended)

        def is_forgotten() -> bool:
            stage.invoke("disconnect", {})  # a connection that API Gateway is slow to end stays for the next run
            return not _stored(stage, user)

        stage.until(is_forgotten, "the end of who has no token any more")
        _until_closed(stage, socket)


def _until_closed(stage: Stage, socket: ClientConnection) -> None:
    until = time.monotonic() + 6 * stage.patience
    with suppress(ConnectionClosed, TimeoutError):
        while time.monotonic() < until:
            socket.recv(timeout=6 * stage.patience)
        raise Missed("the connection has not ended")
    if socket.state is State.OPEN:
        raise Missed("the connection has not ended")


@of("sockets")
def sockets_answers(stage: Stage) -> None:
    with _watching(stage, new()) as socket:
        socket.send("ping")
        try:
            socket.recv(timeout=4 * stage.patience)
        except TimeoutError:
            raise Missed("no pong came") from None


@of("push", slow=True)
def push_takes_a_watcher_over(stage: Stage) -> None:
    user = new()
    with _watching(stage, user) as socket:

        def state() -> str:
            return getattr(_watcher(stage, user), "state", "")

        def is_taken_over() -> bool:
            stage.until(lambda: state() in ("joining", "live"), "a watcher that joins")
            stage.chunk(stage.told("JobStart", "somebody else"))
            stage.invoke("push", stage.chunk(stage.told("JobStart", user)))
            return state() == "live"

        stage.until(is_taken_over, "a watcher that is not left to replay")  # which may have been faster, or push late
        while _receive(stage, socket)["action"] != "JobStart":
            pass


@of("push")
def push_forgets_who_is_gone(stage: Stage) -> None:
    def is_forgotten() -> bool:
        user, connection = new(), new()
        _known_watcher(stage, user, connection, "live", Cursor(stage.feed.head()))
        stage.invoke("push", stage.chunk(stage.told("JobStart", user)))
        return not stage.connections.get(f"userID#{user}", connection)  # a post that is late leaves it to replay

    stage.until(is_forgotten, "the end of a watcher that is gone")


@of("push")
def push_looks_for_what_came_while_a_watcher_joined(stage: Stage) -> None:
    user, connection = new(), new()
    _known_watcher(stage, user, connection, "joining", Cursor(stage.feed.head()))
    stage.chunk(stage.told("JobStart", "somebody else"))
    stage.invoke("push", stage.chunk(stage.told("JobStart", user)))
    _until_forgotten(stage, user, connection)


def _until_forgotten(stage: Stage, user: str, connection: str) -> None:
    """Who is gone is forgotten: by the function that was called, or by one that its stream has called before."""
    stage.until(lambda: not stage.connections.get(f"userID#{user}", connection), "the end of a watcher that is gone")


@of("push", slow=True)
def push_follows_the_feed(stage: Stage) -> None:
    user = new()
    with _watching(stage, user) as socket:
        stage.until(lambda: getattr(_watcher(stage, user), "state", "") == "joining", "a watcher that joins")
        stage.chunk(stage.told("JobStart", user))
        _receive(stage, socket)


def _known_watcher(stage: Stage, user: str, connection: str, state: str, at: Cursor) -> dict[str, Any]:
    """A watcher that came long ago; its item."""
    stage.connections.add(connection, Watch(userID=user), Start("now"))
    item: dict[str, Any] = {
        "topic": {"S": f"userID#{user}"},
        "connectionID": {"S": connection},
        "watch": {"S": json.dumps({"userID": user})},
        "state": {"S": state},
        "at": {"S": str(at)},
        "connected": {"N": "1"},
        "expires": {"N": str(int(time.time()) + 600)},
    }
    stage.deployed.dynamodb.put_item(TableName=stage.stack["ConnectionsTable"], Item=item)
    return item


@of("replay", slow=True)
def replay_tells_what_was(stage: Stage) -> None:
    user, began = new(), time.time() - 1
    stage.chunk(stage.told("JobStart", user))
    with _watching(stage, user, f"&lastMod={began:.3f}") as socket:
        while _receive(stage, socket)["action"] != "JobStart":
            pass
        stage.until(lambda: getattr(_watcher(stage, user), "state", "") != "catching-up", "a watcher that has all")


@of("replay", slow=True)
def replay_finds_history_by_the_index(stage: Stage) -> None:
    user = new()
    stage.invoke("publish", stage.chunk(stage.told("JobStart", user)))
    with _watching(stage, user, "&lastMod=0") as socket:
        while _receive(stage, socket)["action"] != "JobStart":
            pass


@of("replay")
def replay_forgets_who_is_gone(stage: Stage) -> None:
    user, connection, before = new(), new(), Cursor(stage.feed.head())
    stage.chunk(stage.told("JobStart", user))
    item = _known_watcher(stage, user, connection, "catching-up", before)
    stage.invoke("replay", {"Records": [{"dynamodb": {"NewImage": item}}]})
    _until_forgotten(stage, user, connection)


@of("replay", slow=True)
def replay_ends_the_connection_of_who_takes_nothing(stage: Stage) -> None:
    user, role = new(), stage.role("replay")
    denied = {"Effect": "Deny", "Action": "execute-api:ManageConnections", "Resource": "*/POST/@connections/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    with _watching(stage, user) as socket:
        stage.until(lambda: getattr(_watcher(stage, user), "state", "") == "joining", "a watcher that joins")
        watcher = _watcher(stage, user)
        if not watcher:
            raise Missed("the watcher is gone")
        before = Cursor(stage.feed.head())
        stage.chunk(stage.told("JobStart", user))
        stage.iam.put_role_policy(RoleName=role, PolicyName="takes-nothing", PolicyDocument=policy)
        try:
            item = _known_watcher(stage, user, watcher.connection_id, "catching-up", before)
            stage.invoke("replay", {"Records": [{"dynamodb": {"NewImage": item}}]})
            _until_closed(stage, socket)
        finally:
            stage.iam.delete_role_policy(RoleName=role, PolicyName="takes-nothing")


# The bus, and webhooks


@of("publish", slow=True)
def publish_puts_events_on_the_bus(stage: Stage) -> None:
    stage.cold("publish")  # after a refusal it leaves the bus alone for a while
    size, role = stage.log.stat().st_size, stage.role("publish")
    stage.invoke("publish", stage.chunk(stage.told("JobStart", new())))
    if stage.denied_since(size, role, "events:PutEvents"):
        raise Missed("publish left the event to deliver")


@of("publish")
def publish_makes_deliveries(stage: Stage) -> None:
    webhook = _webhook(stage, "http://localhost:9/hook")
    if stage.invoke("publish", stage.chunk(stage.told("JobStart", webhook.userID)))["batchItemFailures"]:
        raise Missed("the deliveries queue did not take the delivery")


@of("publish")
def publish_indexes_chunks(stage: Stage) -> None:
    stage.invoke("publish", stage.chunk(stage.told("JobStart", new())))


@of("publish", slow=True)
def publish_follows_the_feed(stage: Stage) -> None:
    with running() as receiver:
        webhook = _webhook(stage, receiver.url)
        stage.chunk(stage.told("JobStart", webhook.userID))
        stage.until(lambda: receiver.taken, "a delivery", 12)


def _webhook(stage: Stage, url: str) -> Webhook:
    webhook = new_webhook(new(), url, ["JobStart"])
    stage.webhooks.create(webhook)
    return webhook


def _told_to(webhook: Webhook) -> dict[str, Any]:
    """An event that a webhook wants, as it is told."""
    job_id = new()
    return {
        "userID": webhook.userID, "jobID": job_id, "action": "JobStart", "eventID": new(), "ts": 1, "tsMs": now_ms(),
    }  # fmt: skip


def _delivery(webhook: Webhook) -> Delivery:
    event = Raw(msgspec.json.encode(_told_to(webhook)))
    return Delivery(userID=webhook.userID, webhookID=webhook.webhookID, event=event)


@of("deliver")
def deliver_posts_and_notes_it(stage: Stage) -> None:
    with running() as receiver:
        webhook = _webhook(stage, receiver.url)
        stage.hand("deliver", _delivery(webhook), MessageGroupId=new())
        if not receiver.taken:
            raise Missed("nothing was delivered")


@of("deliver")
def deliver_keeps_what_is_given_up(stage: Stage) -> None:
    webhook = _webhook(stage, "http://localhost:9/hook")
    stage.webhooks.disable(webhook, "for an exercise")
    stage.hand("deliver", _delivery(webhook), MessageGroupId=new())
    if not stage.webhooks.failures(webhook.webhookID, 10, "").failures:
        raise Missed("the delivery was not kept")


@of("deliver")
def deliver_puts_on_the_bus_what_publish_could_not(stage: Stage) -> None:
    webhook = _webhook(stage, "http://localhost:9/hook")
    delivery = msgspec.structs.replace(_delivery(webhook), webhookID=BUS)
    stage.hand("deliver", delivery, MessageGroupId=new())


@of("deliver", slow=True)
def deliver_tries_again_soon(stage: Stage) -> None:
    with running() as receiver:
        receiver.answers = [status(500)]
        webhook = _webhook(stage, receiver.url)
        body = msgspec.json.encode(_delivery(webhook)).decode()
        url = _deliveries(stage)
        stage.sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=new(), MessageDeduplicationId=new())
        stage.until(lambda: receiver.posts, "a first try", 8)
        stage.until(lambda: receiver.taken, "a second try", 10)


def _deliveries(stage: Stage) -> str:
    return stage.settings("deliver", DeliverSettings).deliveries_queue


@of("webhooks")
def webhooks_are_made_listed_and_removed(stage: Stage) -> None:
    body = {"userID": new(), "url": "http://localhost:9/hook", "actions": ["JobStart"]}
    made = stage.call("POST", "/webhooks", body)
    stage.call("GET", f"/webhooks?userID={body['userID']}")
    stage.call("DELETE", f"/webhooks/{made['webhookID']}")


@of("webhooks")
def webhooks_counts_what_a_user_asks_for(stage: Stage) -> None:
    body = {"userID": users.USER, "url": "http://localhost:9/hook", "actions": ["JobStart"]}
    made = stage.call("POST", "/webhooks", body, user=users.USER)
    stage.call("DELETE", f"/webhooks/{made['webhookID']}", user=users.USER)


@of("webhooks")
def webhooks_sends_again_what_was_given_up(stage: Stage) -> None:
    webhook = _webhook(stage, "http://localhost:9/hook")
    stage.webhooks.give_up(webhook.webhookID, msgspec.json.encode(_told_to(webhook)), "for an exercise")
    stage.call("GET", f"/webhooks/{webhook.webhookID}/failures")
    sent = stage.call("POST", f"/webhooks/{webhook.webhookID}/failures/retry")
    if sent != {"sent": 1}:
        raise Missed(f"{sent}")


# Workers


def _works(stage: Stage, kind: str, request: dict[str, Any]) -> None:
    """Let a worker do a job from its queue. Missed as soon as AWS refuses it anything."""
    stage.sqs.purge_queue(QueueUrl=_url(stage, f"{kind}_job"))
    path = "/vmaf" if kind == "vmaf" else "/jobs"
    answer = stage.call("POST", path, request)
    job_id = (answer if kind == "vmaf" else answer[0])["jobid"]
    name = f"worker-{kind}-0"
    (program,) = [one for one in programs(stage.deployed.place, stage.stack) if one.name == name]
    with tempfile.TemporaryFile("w+") as output, _running(program, output) as process:

        def has_ended() -> str:
            output.seek(0)
            said = output.read()
            if "AccessDenied" in said or process.poll() is not None:
                raise Missed(said.strip().rpartition("\n")[2])
            state = _state(stage, job_id)
            return state if state in ENDED else ""

        state = stage.until(has_ended, "the end of the job", 40)
        if state != "finished":
            raise Missed(f"the job {state}")
        stage.until(lambda: not stage.held(_url(stage, program.environment["QUEUE_NAME"])), "the message deleted")
        has_ended()


@contextmanager
def _running(program: Program, output: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = kept | dict(program.environment) | {"POD_NAME": "worker-of-an-exercise"}
    with subprocess.Popen(program.command, env=environment, stdout=output, stderr=output, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def _clip(stage: Stage) -> str:
    """A second of a picture on S3."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        made = ("-f", "lavfi", "-i", "testsrc2=size=64x36:rate=10:duration=1")
        subprocess.run([FFMPEG, "-v", "error", *made, path], check=True)
        return stage.deployed.put(path, "grants/clip.mp4")


def _as_worker(stage: Stage, kind: str, code: str) -> None:
    """Run Python code in the place of a worker. Missed when it fails."""
    (program,) = [one for one in programs(stage.deployed.place, stage.stack) if one.name == f"worker-{kind}-0"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-c", code]
    environment = kept | dict(program.environment)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    if done.returncode:
        raise Missed(done.stderr.strip()[-2000:])


_GIVING_BACK = """
import os, boto3
from worker.lease import Lease
from worker.sandbox.runner import Runner
sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName=os.environ["QUEUE_NAME"])["QueueUrl"]
while not (messages := sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages")):
    pass  # a worker that was stopped may have been given it
Lease(sqs, url, messages[0]["ReceiptHandle"], 30, Runner()).return_after(0)
"""
_READING_PARTS = """
import os
from elasticrecode.jobs.record import Division
from elasticrecode.parts.store import PartsTable
PartsTable(os.environ["JOBS_TABLE"]).read("none", Division(parts=2, estimatedSeconds=1, reason="-", attempt=1))
"""


@of(WORKER, slow=True)
def worker_gives_a_message_back(stage: Stage) -> None:
    for kind in ("ffmpeg", "vmaf"):
        url = _url(stage, f"{kind}_job")
        stage.sqs.send_message(QueueUrl=url, MessageBody="-")
        _as_worker(stage, kind, _GIVING_BACK)
        stage.sqs.purge_queue(QueueUrl=url)


@of(WORKER, slow=True)
def worker_reads_the_parts_of_a_job(stage: Stage) -> None:
    _as_worker(stage, "ffmpeg", _READING_PARTS)


@of(JOB, slow=True)
@of(WORKER, slow=True)
def worker_transcodes(stage: Stage) -> None:
    request = stage.request(new(), input=_clip(stage), output=f"s3://{stage.bucket}/grants/{new()}/")
    request["profile"] = {"ffmpeg": request["profile"]["ffmpeg"] | {"scale": "240p"}}
    _works(stage, "ffmpeg", request)


@of(JOB, slow=True)
@of(WORKER, slow=True)
def worker_scores(stage: Stage) -> None:
    clip = _clip(stage)
    request = stage.request(new(), input=clip, origin=clip, output=f"s3://{stage.bucket}/grants/{new()}/")
    request["profile"] = {"vmaf": {"scale": "240p"}}
    _works(stage, "vmaf", request)


def _published(stage: Stage) -> tuple[Job, str]:
    """A job, and where its film goes."""
    places = {"input": f"s3://{stage.bucket}/grants/clip.mp4", "output": f"s3://{stage.bucket}/grants/{new()}/"}
    job = msgspec.convert(contract("queue_message") | places | {"jobid": new(), "userid": new()}, Job)
    return job, job.output + output_name(job.input)


@of(JOB)
def worker_leaves_no_part_of_an_upload_that_failed(stage: Stage) -> None:
    job, uri = _published(stage)
    storage = Storage(lambda: JobRole(stage.stack["JobRole"], Config()).s3(job))
    with tempfile.NamedTemporaryFile() as file, suppress(OSError, JobError):
        file.truncate(9 * 1024 * 1024)

        def fail(_: list[Output]) -> Ending:
            raise OSError("the disk can't be read")

        Publication(job, 1, storage, Runner()).publish([(Path(file.name), Output(uri, 9 * 1024 * 1024))], fail)
    if stage.s3.list_multipart_uploads(Bucket=stage.bucket, Prefix=uri.split("/", 3)[3]).get("Uploads"):
        raise Missed("parts of the upload are still there")


def _key_of(stage: Stage, job: Job) -> bytes:
    """The key of a job's package, read with the role for jobs."""
    environment = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "ffmpeg_job", "CONTROL_PLANE": "control_plane"}
    return content_key(job, Settings.read(environment | {"JOBS_TABLE": "jobs", "JOB_ROLE": stage.stack["JobRole"]}))


@of(JOB)
def worker_opens_the_sealed_key_of_a_job(stage: Stage) -> None:
    (answer,) = stage.call("POST", "/jobs", stage.request(new(), profile=_locked(key=_KEY)))
    rows = _rows(stage, stage.stack["JobsTable"], answer["jobid"])
    (row,) = [row for row in rows if row["item"]["S"] == "job"]
    if _KEY in json.dumps(row):
        raise Missed("the record holds the key")
    job = msgspec.json.decode(row["job"]["S"], type=Job)
    if _key_of(stage, job) != bytes.fromhex(_KEY):
        raise Missed("the key is another one")


@of(JOB)
def worker_reads_the_secret_of_a_job(stage: Stage) -> None:
    user = new()
    name = f"elasticrecode/{user}/film"
    stage.secrets.create_secret(Name=name, SecretString=_KEY)
    job = msgspec.convert(
        contract("queue_message") | {"jobid": new(), "userid": user, "profile": _locked(secretId=name)}, Job
    )
    if _key_of(stage, job) != bytes.fromhex(_KEY):
        raise Missed("the key is another one")


@of(JOB)
def worker_completes_what_another_has_uploaded(stage: Stage) -> None:
    job, uri = _published(stage)
    storage = Storage(lambda: JobRole(stage.stack["JobRole"], Config()).s3(job))
    first = Uploads(storage, job.jobid, 1, Runner())
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"-")
        file.flush()
        upload = first.begin(uri, 1)
        first.send(Path(file.name), upload)
    ending = Ending("JobFinished")
    Publication(job, 1, storage, Runner()).resume(Commit([upload], ending))
    if not stage.deployed.keys(uri.split("/", 3)[3]):
        raise Missed("the object is not there")
    first.complete(upload, "")


@of(JOB)
def worker_removes_an_old_version_of_a_package(stage: Stage) -> None:
    job = msgspec.structs.replace(_published(stage)[0], profile=Profile(package=Package()))
    folder = f"{job.output}clip/0123456789/"
    for name, text in (("track.mp4", "-"), (FILES, "track.mp4\n")):
        stage.s3.put_object(Bucket=stage.bucket, Key=split(folder + name)[1], Body=text.encode())
    remove(Storage(lambda: JobRole(stage.stack["JobRole"], Config()).s3(job)), folder)
    if stage.deployed.keys(split(folder + FILES)[1].removesuffix(FILES)):
        raise Missed("files of the version are still there")


@of(JOB)
def worker_stores_the_result_of_a_part_and_removes_it(stage: Stage) -> None:
    job = msgspec.structs.replace(_published(stage)[0], profile=Profile(package=Package()))
    bucket = stage.stack["PartsBucket"]
    part = Part(number=0, kind="rung", name="h264-360p", cost=1.0, prefix=f"s3://{bucket}/{job.jobid}/1/")
    role = JobRole(stage.stack["JobRole"], Config(), bucket)
    of_part = PartJob(**msgspec.structs.asdict(job), part=part)
    uploads = Uploads(Storage(lambda: role.s3(of_part)), job.jobid, 1, Runner())
    whole, uri = Storage(lambda: role.s3(job)), f"{part.prefix}0-1.mp4"
    with tempfile.TemporaryDirectory() as folder:
        file, copy = Path(folder, "result.mp4"), Path(folder, "copy.mp4")
        file.write_bytes(b"-")
        uploads.abort(uploads.begin(uri, 1))
        if stage.s3.list_multipart_uploads(Bucket=bucket, Prefix=f"{job.jobid}/").get("Uploads"):
            raise Missed("an upload is still there")
        upload = uploads.begin(uri, 1)
        uploads.send(file, upload)
        uploads.complete(upload, "")
        whole.download(uri, copy, Runner())
        if copy.read_bytes() != b"-":
            raise Missed("the result is another one")
    remove_results(whole, [uri])
    if stage.s3.list_objects_v2(Bucket=bucket, Prefix=f"{job.jobid}/").get("Contents"):
        raise Missed("the result is still there")
