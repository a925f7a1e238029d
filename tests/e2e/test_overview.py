"""The overview and the lists of a user on the deployed stack: through its stream, its queue and its indexes."""

import uuid
from typing import Any

from tests.conftest import contract
from tests.e2e.conftest import Deployed, wait_for


def send(deployed: Deployed, user: str, name: str) -> str:
    places = {"input": f"s3://{deployed.bucket}/none/{name}.mp4", "output": f"s3://{deployed.bucket}/overview/{user}/"}
    answer = deployed.call("POST", "/api/v1/jobs", {**contract("job"), "userid": user, **places})[1]
    job_id: str = answer[0]["jobid"]
    return job_id


def get(deployed: Deployed, path: str) -> Any:
    status, answer, _ = deployed.call("GET", f"/api/v1/{path}")
    assert status == 200, answer
    return answer


def states(deployed: Deployed, user: str) -> dict[str, int]:
    """The states that have jobs of a user."""
    return of_jobs(get(deployed, f"overview?userID={user}"))


def of_jobs(overview: Any) -> dict[str, int]:
    """The states that have jobs in an overview."""
    return {state: jobs for state, jobs in overview["states"].items() if jobs}


def submitted(overview: Any) -> int:
    return sum(minute["submitted"] for minute in overview["minutes"])


def test_the_overview_and_the_lists_follow_jobs(deployed: Deployed) -> None:
    user = f"overview-{uuid.uuid4()}"
    first, second = send(deployed, user, "first"), send(deployed, user, "SECOND")
    for job_id in (first, second):
        deployed.until(job_id, "failed")

    def counted() -> Any:
        """The overview once all moves are counted: messages about them come in any order."""
        overview = get(deployed, f"overview?userID={user}")
        return overview if (of_jobs(overview), submitted(overview)) == ({"failed": 2}, 2) else None

    overview = wait_for(counted, "the counts of two failed jobs")
    (failure,) = overview["failures"]
    assert (failure["code"], failure["jobs"]) == ("input-not-found", 2)
    assert get(deployed, "overview")["states"]["failed"] >= 2

    def listed(query: str) -> list[str]:
        return [record["jobID"] for record in get(deployed, f"jobs?userID={user}&{query}")]

    created = {job_id: deployed.record(job_id)["createdAt"] for job_id in (first, second)}
    assert listed("order=oldest") == [first, second]
    assert listed("text=none/second") == listed(f"text={second[:18]}") == listed(f"text={second}") == [second]
    assert listed("text=nowhere") == listed("code=worker-error") == []
    assert listed("code=input-not-found&limit=1&order=oldest") == [first]
    assert listed(f"since={created[second]:.3f}") == [second]
    assert (
        listed(f"until={created[second]:.3f}") == listed(f"since={created[first]:.3f}&limit=1&order=oldest") == [first]
    )

    assert deployed.call("POST", f"/api/v1/jobs/{first}/retry")[0] == 202
    deployed.until(first, "failed")
    wait_for(lambda: states(deployed, user) == {"failed": 2}, "the counts after a retry")
    deployed.dynamodb.delete_item(
        TableName=deployed.stack["JobsTable"], Key={"jobID": {"S": first}, "item": {"S": "job"}}
    )
    wait_for(lambda: states(deployed, user) == {"failed": 1}, "the counts without an expired job")


def test_the_batches_of_a_user_are_listed(deployed: Deployed) -> None:
    user = f"batches-{uuid.uuid4()}"
    body = {name: contract("job_batch")[name] for name in ("priority", "profile")} | {"userid": user}
    body |= {"output": f"s3://{deployed.bucket}/{user}/", "inputs": [f"s3://{deployed.bucket}/none/1.mp4"]}
    batches = [deployed.call("POST", "/api/v1/batches", body)[1]["batchID"] for _ in range(3)]
    wait_for(
        lambda: [batch["state"] for batch in get(deployed, f"batches?userID={user}")] == ["finished"] * 3,
        "the ends of three batches",
    )
    assert [batch["batchID"] for batch in get(deployed, f"batches?userID={user}")] == batches[::-1]
    assert get(deployed, f"batches?userID={user}") == [get(deployed, f"batches/{each}") for each in batches[::-1]]
    wait_for(lambda: states(deployed, user) == {"failed": 3}, "the counts of the batches' jobs")
