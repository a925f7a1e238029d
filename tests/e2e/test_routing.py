"""Workers found in the cluster, and jobs shared out among their queues, on the deployed stack."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.conftest import contract
from tests.e2e.conftest import Deployed, wait_for
from tests.fakes.kubernetes import deployment
from tests.sizes import sized

NAMESPACE = "/apis/apps/v1/namespaces/elasticrecode/deployments"
FAST = "ffmpeg_fast"
JOBS = sized(80, 200, 200)


def discover(deployed: Deployed) -> dict[str, Any]:
    """Look into the cluster now."""
    lambdas = boto3.client("lambda", endpoint_url=deployed.place.aws_url)
    answer = lambdas.invoke(FunctionName=deployed.stack["DiscoveryFunction"])
    found: dict[str, Any] = json.load(answer["Payload"])
    assert "FunctionError" not in answer, found
    return found


def deployments(deployed: Deployed) -> dict[str, Any]:
    status, told, _ = deployed.call("GET", "/api/v1/worker/deployments")
    assert status == 200
    return dict(told)


def backlog(deployed: Deployed, queue: str) -> dict[str, Any]:
    listed = deployed.call("GET", "/api/v1/worker/backlog")[1]
    (found,) = [entry for entry in listed if entry["queue"] == queue]
    return dict(found)


@pytest.fixture
def fast(deployed: Deployed) -> Iterator[str]:
    """A second cpu queue, whose Deployment has three ready replicas where the kit's has one."""
    url = deployed.sqs.create_queue(QueueName=FAST)["QueueUrl"]
    made = deployment("worker-fast")
    made |= {"apiVersion": "apps/v1", "kind": "Deployment"}
    made["metadata"]["namespace"] = "elasticrecode"
    made["spec"]["replicas"] = 3
    for variable in made["spec"]["template"]["spec"]["containers"][0]["env"]:
        variable["value"] = {"QUEUE_NAME": FAST}.get(variable["name"], variable["value"])
    status, answer = deployed.cluster("POST", NAMESPACE, made)
    assert status == 201, answer
    yield FAST
    deployed.cluster("DELETE", f"{NAMESPACE}/worker-fast")
    discover(deployed)
    deployed.sqs.delete_queue(QueueUrl=url)


def ask(deployed: Deployed, count: int) -> list[str]:
    """Submit jobs whose input is not there; their ids."""
    inputs = [f"s3://{deployed.bucket}/none/{n}.mp4" for n in range(count)]
    body = contract("job_batch") | {"batchInputs": inputs, "output": f"s3://{deployed.bucket}/none/out/"}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    return [entry["jobid"] for entry in answer]


def test_a_changed_replica_count_and_a_deleted_deployment_are_seen_at_the_next_look(deployed: Deployed) -> None:
    assert {"worker-cpu", "worker-gpu", "worker-spot", "worker-vmaf"} <= set(deployments(deployed))
    documented = set(contract("deployments.response")["ffmpeg-worker"])
    assert documented <= set(deployments(deployed)["worker-cpu"])
    kept = deployed.cluster("GET", f"{NAMESPACE}/worker-spot")[1]
    try:
        assert deployed.cluster("PATCH", f"{NAMESPACE}/worker-cpu", {"spec": {"replicas": 5}})[0] == 200
        assert deployed.cluster("DELETE", f"{NAMESPACE}/worker-spot")[0] == 200

        def is_seen() -> bool:
            """Whether the next look has seen both. One of each minute that began before them may end behind it."""
            discover(deployed)
            told = deployments(deployed)
            ready = backlog(deployed, "ffmpeg_job")["readyReplicas"]
            return (told["worker-cpu"]["Replicas"], ready, "worker-spot" in told) == (5, 5, False)

        wait_for(is_seen, "the changed Deployments")
    finally:
        deployed.cluster("PATCH", f"{NAMESPACE}/worker-cpu", {"spec": {"replicas": deployed.place.workers}})
        deployed.cluster("POST", NAMESPACE, kept)
        discover(deployed)

    def is_as_before() -> bool:
        told = deployments(deployed)
        return told["worker-cpu"]["Replicas"] == deployed.place.workers and "worker-spot" in told

    wait_for(is_as_before, "the Deployments of before")


def test_the_queues_have_a_history(deployed: Deployed) -> None:
    def sampled() -> dict[str, Any] | None:
        """The rows of a new sample; None while it knows the workers of a moment ago."""
        deployed.invoke("reconcile")
        status, samples, _ = deployed.call("GET", "/api/v1/worker/history")
        assert status == 200
        rows = {row["queue"]: row for row in samples[-1]["queues"]}
        return rows if rows["ffmpeg_job"]["readyReplicas"] == deployed.place.workers else None

    rows = wait_for(sampled, "a sample of the workers there are")
    assert {"ffmpeg_job", "vmaf_job"} <= rows.keys()
    assert rows["ffmpeg_job"]["expectedSeconds"] is not None


@pytest.mark.alone
def test_two_queues_share_jobs_by_their_speed_and_a_paused_one_gets_none(deployed: Deployed, fast: str) -> None:
    discover(deployed)

    def is_known() -> bool:
        (probe,) = ask(deployed, 1)
        return re.search("of 2 queues", deployed.record(probe)["queueReason"]) is not None

    wait_for(is_known, "a choice of two queues")
    shares = Counter(deployed.record(job_id)["queue"] for job_id in ask(deployed, JOBS))
    assert shares.keys() == {fast, "ffmpeg_job"}
    assert 2.2 <= shares[fast] / shares["ffmpeg_job"] <= 4

    for queue in (fast, "ffmpeg_job"):
        assert deployed.call("POST", f"/api/v1/worker/queues/{queue}/pause")[0] == 200

    def is_held() -> str | None:
        (job_id,) = ask(deployed, 1)
        return job_id if deployed.record(job_id)["state"] == "accepted" else None

    held = wait_for(is_held, "a job that is held")
    assert fast in deployed.record(held)["queueReason"]
    assert backlog(deployed, fast)["paused"]
    assert deployed.call("POST", "/api/v1/worker/queues/ffmpeg_job/resume")[0] == 200
    wait_for(lambda: deployed.record(*ask(deployed, 1))["state"] != "accepted", "a job that goes on")
    shares = Counter(deployed.record(job_id)["queue"] for job_id in ask(deployed, JOBS // 4))
    assert shares == {"ffmpeg_job": JOBS // 4}
    deployed.until(held, "failed")  # its input is not there, which its worker found out
    assert deployed.record(held)["queue"] == "ffmpeg_job"
    assert deployed.call("POST", f"/api/v1/worker/queues/{fast}/resume")[0] == 200
