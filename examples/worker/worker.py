"""A worker: takes jobs from a queue under a lease, encodes with ffmpeg, reports. `pip install boto3 msgspec`."""

import json
import os
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import boto3

from elasticrecode.jobs.claims import Claim, Claims  # PYTHONPATH=layers/core/python

LEASE, NAME = 30, os.environ.get("POD_NAME", "example")
queue, control = os.environ["QUEUE_URL"], os.environ["CONTROL_URL"]
sqs, s3, claims = boto3.client("sqs"), boto3.client("s3"), Claims(os.environ["JOBS_TABLE"], LEASE)


def report(action: str, job: dict[str, Any], attempt: int, **more: object) -> None:
    now, who = time.time(), {"workerType": "ffmpeg", "nodeName": NAME, "podName": NAME}
    event = {**who, "action": action, "job": job, "attempt": attempt, "ts": int(now), "tsMs": int(now * 1000)}
    sqs.send_message(QueueUrl=control, MessageBody=json.dumps({**event, "eventID": str(uuid.uuid4()), **more}))


def hold(job: dict[str, Any], attempt: int, receipt: str, ffmpeg: subprocess.Popen[bytes]) -> None:
    while ffmpeg.poll() is None:  # the heartbeat: who loses the claim, as by a cancel, stops and publishes nothing
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=LEASE)
        if claims.renew(job["jobid"], attempt):
            ffmpeg.kill()
        time.sleep(LEASE / 6)


def work(job: dict[str, Any], attempt: int, receipt: str, folder: str) -> dict[str, Any]:
    bucket, _, key = job["input"].removeprefix("s3://").partition("/")
    s3.download_file(bucket, key, f"{folder}/input")
    wanted, name = job["profile"]["ffmpeg"], key.rpartition("/")[2]
    options = ["-c:v", wanted["codec"], "-b:v", wanted["bitrate"], "-vf", f"scale={wanted['scale']}", "-c:a", "aac"]
    ffmpeg = subprocess.Popen(["ffmpeg", "-v", "error", "-nostdin", "-i", "file:input", *options, name], cwd=folder)
    threading.Thread(target=hold, args=(job, attempt, receipt, ffmpeg), daemon=True).start()
    if ffmpeg.wait() or claims.renew(job["jobid"], attempt):
        raise RuntimeError("ffmpeg failed, or the claim is lost")
    bucket, _, prefix = job["output"].removeprefix("s3://").partition("/")
    s3.upload_file(f"{folder}/{name}", bucket, prefix + name, {"Metadata": {"elasticrecode-job": job["jobid"]}})
    return {"outputs": [{"uri": job["output"] + name, "bytes": Path(folder, name).stat().st_size}]}


while True:
    received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, VisibilityTimeout=LEASE)
    for message in received.get("Messages", ()):
        job, receipt = json.loads(message["Body"]), message["ReceiptHandle"]
        claim = claims.claim(job["jobid"], NAME)
        if isinstance(claim, Claim):
            report("JobStart", job, claim.attempt)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    report("JobFinished", job, claim.attempt, result=work(job, claim.attempt, receipt, folder))
                except Exception as error:
                    report("JobReturned", job, claim.attempt, error={"code": "worker-error", "message": str(error)})
                    continue  # the message comes back when its lease is over
        elif claim is None or claim.state in ("queued", "running"):
            continue  # another worker has the job
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)  # last: whatever came before may be done again
