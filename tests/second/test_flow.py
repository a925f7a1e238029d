"""The functions over the HTTP of a second AWS: what they make of what they get, and what it makes of their calls."""

import json
import urllib.request
from typing import Any

from elasticrecode.contract import routes
from tests.aws.test_batches import ORDER
from tests.aws.test_path import event
from tests.aws.test_payloads import rest
from tests.conftest import contract
from tests.fakes.receiver import running
from tests.second.moto_aws import Json, Second


def ask(second: Second, route: str, body: Any = None, **more: Any) -> Any:
    """The content of a function's answer."""
    (name,) = [name for name, served in routes.ROUTES.items() if route in served]
    answer = second.invoke(name, rest("rest", route, body, **more))
    assert answer["statusCode"] < 300, answer
    return json.loads(answer["body"] or "null")


def submitted(second: Second, **changes: Any) -> str:
    job_id: str = ask(second, routes.SUBMIT, contract("job") | changes)[0]["jobid"]
    return job_id


def message_of(second: Second, job_id: str) -> Json:
    sqs, url = second.client("sqs"), second.client("sqs").get_queue_url(QueueName="ffmpeg_job")["QueueUrl"]
    while True:
        (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        body: Json = json.loads(message["Body"])
        if body["jobid"] == job_id:
            return body


def report(second: Second, job_id: str, *actions: str) -> None:
    """A worker reports on the control queue."""
    url = second.client("sqs").get_queue_url(QueueName="control_plane")["QueueUrl"]
    for action in actions:
        second.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(event(job_id, action)))


def test_a_job_goes_from_its_request_to_its_record(second: Second) -> None:
    job_id = submitted(second)
    assert second.poll("dispatch") == 1
    assert message_of(second, job_id) == contract("queue_message") | {"jobid": job_id}
    report(second, job_id, "JobStart", "JobFinished")
    while second.poll("consume"):
        pass
    record = ask(second, routes.JOB_STATUS, parameters={"jobID": job_id})
    assert (record["state"], record["jobID"]) == ("finished", job_id)
    listed = ask(second, routes.JOB_EVENTS, parameters={"jobID": job_id})
    assert sorted(each["action"] for each in listed) == ["JobFinished", "JobStart", "JobSummit"]
    second.poll("dispatch", "tally")
    assert second.invoke("reconcile", {})


def test_a_job_is_cancelled_and_retried(second: Second) -> None:
    job_id = submitted(second)
    second.poll("dispatch")
    ask(second, routes.CANCEL, parameters={"jobID": job_id})
    assert ask(second, routes.JOB_STATUS, parameters={"jobID": job_id})["state"] == "cancelled"
    ask(second, routes.RETRY, parameters={"jobID": job_id})
    assert second.poll("dispatch") == 2
    assert ask(second, routes.JOB_STATUS, parameters={"jobID": job_id})["state"] == "queued"


def test_a_batch_becomes_jobs_and_is_counted(second: Second) -> None:
    order = ORDER | {"inputs": ["s3://media/a.mp4", "s3://media/b.mp4"]}
    batch_id = ask(second, routes.SUBMIT_BATCH, order)["batchID"]
    for _ in range(4):
        second.poll("survey", "expand", "dispatch", "tally")
    record = ask(second, routes.BATCH, parameters={"batchID": batch_id})
    assert (record["state"], record["total"], record["queued"]) == ("running", 2, 2)


def test_a_dropped_file_becomes_a_job(second: Second) -> None:
    """moto does not send S3's notifications of a template, so the message is the one that AWS publishes."""
    bucket = next(name for logical, name in second.physical.items() if logical.startswith("StorageMedia"))
    second.client("s3").put_object(Bucket=bucket, Key="in/film.mp4", Body=b"film")
    notified = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": "in/film.mp4", "size": 4, "sequencer": "0C"}},
    }
    queue = second.mappings["collect"]["EventSourceArn"].rpartition(":")[2]
    url = second.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
    second.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"Records": [notified]}))
    assert second.poll("collect") == 1
    listed = ask(second, routes.JOBS, query={"userID": "ann", "input": f"s3://{bucket}/in/film.mp4"})
    assert [each["input"] for each in listed] == [f"s3://{bucket}/in/film.mp4"]


def test_a_file_is_uploaded_in_parts_by_signed_links(second: Second) -> None:
    upload = ask(second, routes.ADD_UPLOAD, {"userID": "ann", "name": "film.mp4", "bytes": 6})
    links = ask(second, routes.UPLOAD_LINKS, {"parts": [1]}, parameters={"uploadID": upload["uploadID"]})
    link = links["urls"]["1"]
    put_part = urllib.request.Request(link, b"filmed", {"Content-Type": "application/octet-stream"}, method="PUT")
    with urllib.request.urlopen(put_part) as put:
        assert put.status == 200
    done = ask(second, routes.COMPLETE_UPLOAD, parameters={"uploadID": upload["uploadID"]})
    bucket, _, key = done["uri"].removeprefix("s3://").partition("/")
    assert second.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == b"filmed"


def test_a_webhook_is_posted_and_its_events_are_on_the_bus(second: Second) -> None:
    with running() as receiver:
        added = ask(second, routes.ADD_WEBHOOK, {"userID": "ann", "url": receiver.url, "actions": ["JobSummit"]})
        job_id = submitted(second, userid="ann")
        for _ in range(3):
            second.poll("append", "publish", "deliver")
        assert job_id in [post.event["jobID"] for post in receiver.posts]
        ask(second, routes.REMOVE_WEBHOOK, parameters={"webhookID": added["webhookID"]})
