"""A worker is frozen at each place of its publication until another has finished its job, and let go.

The proxy holds a request of the worker, which stops it exactly there, while it gets SIGSTOP. A request that is held
before AWS has it comes to AWS when the worker is let go: after the other worker's.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from local.processes import programs
from tests.conftest import Tell, contract
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.hindered import NOISE, Hindered, Judged
from tests.e2e.test_deployed import Clips
from tests.fakes.proxy import Call, Proxy, When
from tests.sizes import SIZE

FROZEN = "worker-ffmpeg-0"
FINISHED = rb"\"action\":\"JobFinished\""
"""The action of an event, as JSON within the JSON of a request."""
SUFFIXES = ("", ".vmaf.json", ".vmaf.html", ".certificate.json", ".certificate.html")


def names(text: bytes) -> Callable[[Call], bool]:
    """Whether a call's body has a text."""
    return lambda call: text in call.body


class Place(NamedTuple):
    """Where a worker stops: at its nth call of an operation that fits; before it, in the middle of it, or after it."""

    when: When
    operation: str
    fits: Callable[[Call], bool] = lambda _: True
    nth: int = 1


PLACES = {
    "before the claim": Place("before", "UpdateItem"),
    "after the claim": Place("after", "UpdateItem"),
    "before the first part": Place("before", "UploadPart"),
    "in the middle of a part": Place("within", "UploadPart"),
    "after the first part": Place("after", "UploadPart"),
    "after the last part": Place("after", "UploadPart", nth=-1),
    "before the commit": Place("before", "TransactWriteItems"),
    "after the commit": Place("after", "TransactWriteItems"),
    "before the first output is completed": Place("before", "CompleteMultipartUpload"),
    "between two outputs": Place("after", "CompleteMultipartUpload"),
    "before the last output is completed": Place("before", "CompleteMultipartUpload", nth=3),
    "after the last output is completed": Place("after", "CompleteMultipartUpload", nth=3),
    "before JobFinished": Place("before", "SendMessage", names(FINISHED)),
    "after JobFinished": Place("after", "SendMessage", names(FINISHED)),
    "before the message is deleted": Place("before", "DeleteMessage"),
}
SAMPLE = ("in the middle of a part", "before the commit", "between two outputs")
"""What `make test` runs of them."""


@pytest.fixture(scope="module")
def hindered(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hindered]:
    """Workers behind the proxy for the time of these tests."""
    with Proxy(deployed.place.aws_url).serving() as proxy:
        workers = Hindered(deployed, proxy, tmp_path_factory.mktemp("frozen"))
        yield workers
        workers.thaw_all()
        deployed.supervisor.keep(programs(deployed.place, deployed.stack))


@pytest.fixture(scope="module")
def parts(hindered: Hindered, clips: Clips) -> int:
    """How many parts the outputs of a job are uploaded in, all together."""
    hindered.keep([0.0])
    job_id = submit(hindered.deployed, clips, "rehearsed")
    assert hindered.deployed.until(job_id, "finished", "failed")["state"] == "finished"
    return hindered.proxy.count(FROZEN, "UploadPart")


def submit(deployed: Deployed, clips: Clips, name: str) -> str:
    """A job with three outputs, one of them of several parts; its id."""
    uri = deployed.put(clips("noise.mp4", *[each.format(4) for each in NOISE]), f"frozen-in/{name}.mp4")
    body = contract("job") | {"input": uri, "output": f"s3://{deployed.bucket}/frozen/"}
    body["profile"] = {
        "ffmpeg": body["profile"]["ffmpeg"] | {"scale": "240p", "bitrate": "15M"},
        "vmaf": {"scale": "480p", "subsample": 25},
    }
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    return str(answer[0]["jobid"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PLACES if SIZE != "sample" else SAMPLE)
def test_the_record_fits_the_objects_whatever_a_worker_was_doing_as_it_froze(
    hindered: Hindered, clips: Clips, parts: int, tell: Tell, name: str
) -> None:
    deployed, proxy, place = hindered.deployed, hindered.proxy, PLACES[name]
    file = name.replace(" ", "-")
    hindered.keep([0.0])
    nth = parts if place.nth < 0 else place.nth
    hold = proxy.hold(place.operation, place.when, lambda call: call.worker == FROZEN and place.fits(call), nth)
    job_id = submit(deployed, clips, file)
    assert hold.reached.wait(120), f"{FROZEN} did not come to the place"
    assert hindered.freeze(FROZEN)
    attempt = deployed.record(job_id)["attempt"]
    hindered.keep([0.0, 0.0])
    deployed.until(job_id, "finished", "failed")
    polls = proxy.count(FROZEN, "ReceiveMessage")
    hindered.thaw(FROZEN)
    hold.release()
    wait_for(lambda: proxy.count(FROZEN, "ReceiveMessage") > polls, "the end of the frozen worker's attempt")
    judged = Judged(deployed)
    judged.judge(job_id, [f"frozen/{file}.mp4{suffix}" for suffix in SUFFIXES])
    left = judged.uploads(f"frozen/{file}.mp4")
    shown = deployed.actions(job_id)
    tell(f"frozen {name}", {"attempt": attempt, **Counter(shown), **judged.counts, "uploads left": len(left)})
    assert (judged.faults, left) == ({}, []), shown
