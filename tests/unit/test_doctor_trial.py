"""Doctor's jobs: which queues get one, what is said of those that fail, and how checks run beside each other."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from standardwebhooks import Webhook

from elasticrecode_client.doctor import CHECKS, Options, clip, diagnose
from elasticrecode_client.doctor.api import Api, Refused
from elasticrecode_client.doctor.check import Check, run_all
from elasticrecode_client.doctor.checks import jobs
from elasticrecode_client.doctor.deployment import Deployment, NotReached, explained
from elasticrecode_client.doctor.receiver import Delivery, Receiver, listening
from elasticrecode_client.doctor.report import show
from elasticrecode_client.doctor.results import Finding, Report, Result, Status, Verdict, failed, skipped
from elasticrecode_client.doctor.socket import Frame
from elasticrecode_client.doctor.targets import Target, targets
from elasticrecode_client.doctor.trial import Hook, Sent, Trial
from local.place import TOOLS
from tests.conftest import ROOT


def row(queue: str, **more: Any) -> dict[str, Any]:
    base = {"queue": queue, "kind": "ffmpeg", "platform": "cpu", "readyReplicas": 1, "paused": False, "fault": None}
    return base | {"outage": None, "weight": 1.0, "priority": [0, 100], "priceModel": "normal"} | more


def sent(state: str, queue: str = "q", **record: Any) -> Sent:
    return Sent(Target("q", "cpu"), "job-1", 0.0, {"state": state, "queue": queue} | record)


# The clip


def test_the_clip_is_a_video_of_a_second_and_differs_by_its_seed(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(clip.avi(7))
    shown = ["-show_entries", "stream=codec_name,width,height,nb_read_frames,duration", "-count_frames", "-of", "json"]
    probed = subprocess.run(
        [TOOLS / "bin" / "ffprobe", "-v", "error", *shown, path], capture_output=True, check=True, text=True
    )
    assert probed.stderr == ""
    assert json.loads(probed.stdout)["streams"] == [
        {"codec_name": "rawvideo", "width": 160, "height": 120, "duration": "1.000000", "nb_read_frames": "10"}
    ]
    assert len({clip.avi(seed) for seed in range(256)}) == 256


# Targets


def test_each_queue_that_can_do_a_job_gets_one_in_its_band_and_price_model() -> None:
    rows = [
        row("fast", priority=[67, 100]),
        row("cheap", priceModel="spot"),
        row("scores", kind="vmaf", readyReplicas=None),
        row("cards", platform="gpu"),
    ]
    able, findings = targets(rows, "resume", "start")
    assert findings == []
    assert able == [
        Target("fast", "cpu", 83),
        Target("cheap", "cpu", 50, "spot"),
        Target("scores", "vmaf"),
        Target("cards", "gpu"),
    ]
    assert able[1].profile()["ec2"] == {"priceModel": "spot"}
    assert able[2].profile() == {"vmaf": {"scale": "240p"}}


@pytest.mark.parametrize(
    ("more", "status", "remedy"),
    [
        ({"paused": True}, Status.WARNING, "elasticrecode queues resume q"),
        ({"fault": "there is no such queue"}, Status.FAILED, "aws sqs create-queue --queue-name q"),
        ({"fault": "there is no such queue", "readyReplicas": 0}, Status.WARNING, "create-queue"),
        ({"outage": "Cluster a cannot be reached."}, Status.FAILED, "kubectl"),
        ({"readyReplicas": 0}, Status.WARNING, "make up"),
        ({"weight": 0}, Status.SKIPPED, ""),
    ],
)
def test_a_queue_that_can_do_no_job_is_a_finding_and_gets_none(
    more: dict[str, Any], status: Status, remedy: str
) -> None:
    able, (finding,) = targets([row("q", **more)], "elasticrecode queues resume", "make up")
    assert able == []
    assert (finding.status, finding.where) == (status, "queue q")
    assert remedy in finding.remedy


# Jobs, events, what is left


@pytest.mark.parametrize(
    ("job", "wrong", "remedy"),
    [
        (sent("queued"), "No worker has taken the job", "start"),
        (sent("running"), "has not finished it in time", "kubectl"),
        (sent("accepted", "", queueReason="all are paused"), "all are paused", "--only sources"),
        (
            sent("failed", error={"code": "input-not-found", "message": "no such key"}),
            "input-not-found: no such key",
            "docs/reference/codes.md#input-not-found",
        ),
    ],
)
def test_a_job_that_does_not_finish_is_judged_by_where_it_stands(job: Sent, wrong: str, remedy: str) -> None:
    (finding,) = jobs.judge_jobs(Trial(jobs=[job]), "start", False)
    assert finding.where == "queue q"
    assert wrong in finding.wrong
    assert remedy in finding.remedy


def test_events_that_do_not_arrive_are_named_by_the_way_they_did_not_come() -> None:
    receiver = Receiver("http://127.0.0.1:9/")
    trial = Trial(jobs=[sent("finished")], hook=Hook("receiver", receiver, "w", receiver.url, {"status": 204}))
    assert "has not arrived" in next(jobs.judge_socket(trial)).wrong
    assert "was not delivered" in next(jobs.judge_webhook(trial)).wrong
    end = {"jobID": "job-1", "action": "JobFinished"}
    trial.listener.frames.append(Frame(end, 1.0))
    receiver.deliveries.append(Delivery(end, 1.0, is_signed=True))
    assert not [*jobs.judge_socket(trial), *jobs.judge_webhook(trial)]
    receiver.deliveries.append(Delivery(end, 1.0, is_signed=False))
    assert "signature" in next(jobs.judge_webhook(trial)).wrong


@pytest.mark.parametrize(
    ("hook", "status", "wrong"),
    [
        (Hook(), Status.SKIPPED, "before a webhook was created"),
        (Hook("address", error="POST /v1/webhooks answers 422: not public"), Status.FAILED, "not public"),
        (Hook("address", test={"status": 500, "error": None}), Status.FAILED, "The test did not arrive: 500."),
        (Hook("own", test={"status": 405}), Status.SKIPPED, "answered 405"),
        (Hook("own", test={"status": None, "error": "timed out"}), Status.FAILED, "timed out"),
        (
            Hook("address", test={"status": 200}, record={"lastFailure": "it answered 500"}),
            Status.FAILED,
            "answered 500",
        ),
    ],
)
def test_a_webhook_is_judged_by_the_way_it_was_tried(hook: Hook, status: Status, wrong: str) -> None:
    (finding,) = jobs.judge_webhook(Trial(jobs=[sent("finished")], hook=hook))
    assert finding.status is status
    assert wrong in finding.wrong


def test_what_could_not_be_removed_is_named() -> None:
    (finding,) = jobs.judge_cleanup(Trial(left=["s3://media/doctor/a/ (AccessDenied)"]))
    assert finding.remedy == "aws s3 rm --recursive s3://media/doctor/a/"


def test_the_receiver_keeps_deliveries_and_tells_a_forged_one() -> None:
    webhook = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body, at = '{"action": "JobFinished"}', time.time()
    signature = webhook.sign("id-1", datetime.fromtimestamp(int(at), UTC), body)
    headers = {"webhook-id": "id-1", "webhook-timestamp": str(int(at)), "webhook-signature": signature}
    with listening() as receiver:
        receiver.secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        assert httpx.post(receiver.url, content=body, headers=headers, timeout=60).status_code == 204
        httpx.post(receiver.url, content=body + " ", headers=headers, timeout=60)
    assert [each.is_signed for each in receiver.deliveries] == [True, False]


def test_no_refusal_repeats_the_link_of_a_part() -> None:
    class S3(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403)
            self.end_headers()
            self.wfile.write(b"<Error><Code>AccessDenied</Code><StringToSign>secret</StringToSign></Error>")

        def log_message(self, *_: object) -> None:
            """Write no log."""

    with HTTPServer(("127.0.0.1", 0), S3) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        api = Api(f"http://127.0.0.1:{server.server_port}", "", None)
        with pytest.raises(Refused) as caught:
            api.put(f"http://127.0.0.1:{server.server_port}/media/clip.avi?X-Amz-Signature=secret", b"clip")
        api.close()
        server.shutdown()
    assert str(caught.value) == "PUT /media/clip.avi answers 403: AccessDenied"


def test_a_report_moves_no_cursor() -> None:
    console = Console(file=StringIO(), width=200)
    finding = failed("queue \x1b[2Jq", "[bold]evil\u202e\\", "type \x1b]0;x\nok       forged")
    show(Report("\x1b[2J", [Result("a", "A", Verdict("\x1b[2J", (finding,)), 0.1)]), console)
    assert "[bold]evil" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "\nok       forged" not in console.file.getvalue()  # type: ignore[attr-defined]
    assert not set("\x1b\u202e") & set(console.file.getvalue())  # type: ignore[attr-defined]


# Running


def _check(id_: str, run: Any, seconds: float = 60) -> Check:
    return Check(id_, id_, run, seconds)


def test_a_check_that_breaks_or_hangs_stops_no_other() -> None:
    def breaks(_: Deployment) -> Verdict:
        raise ZeroDivisionError("oops")

    def refuses(_: Deployment) -> Verdict:
        raise NotReached("AWS", "There are no credentials.", "aws configure")

    released = Event()

    def hangs(_: Deployment) -> Verdict:
        released.wait(60)
        return Verdict("late")

    checks = [
        _check("breaks", breaks),
        _check("refuses", refuses),
        _check("hangs", hangs, 0.05),
        _check("works", lambda _: Verdict("well")),
    ]
    results = list(run_all(checks, Deployment(Options())))
    released.set()
    assert [result.status for result in results] == [Status.FAILED, Status.SKIPPED, Status.FAILED, Status.OK]
    assert "ZeroDivisionError: oops" in results[0].verdict.findings[0].wrong
    assert "did not end within" in results[2].verdict.findings[0].wrong


_HANGING = """
import time
from elasticrecode_client.doctor.check import Check, run_all
from elasticrecode_client.doctor.deployment import Deployment, Options
(result,) = run_all([Check("hangs", "", lambda _: time.sleep(600), 0.05)], Deployment(Options()))
print(result.verdict.findings[0].wrong, time.time(), flush=True)
"""


def test_a_check_that_hangs_does_not_hold_the_end_of_the_process() -> None:
    path = {"PYTHONPATH": str(ROOT / "client" / "src")}
    ran = subprocess.run([sys.executable, "-c", _HANGING], env=path, capture_output=True, text=True, timeout=240)
    ended = time.time()
    *words, reported = ran.stdout.split()
    assert " ".join(words) == "The check did not end within 0 s."
    assert ended - float(reported) < 120  # the check hangs for ten minutes


def test_whoever_interrupts_waits_for_checks_that_tidy_up() -> None:
    began, tidied = Event(), Event()

    def tidies(_: Deployment) -> Verdict:
        began.set()
        time.sleep(0.3)
        tidied.set()
        return Verdict("tidy")

    results = run_all([_check("ends", lambda _: Verdict("well")), _check("tidies", tidies)], Deployment(Options()))
    next(results)
    assert began.wait(30)
    results.close()  # type: ignore[attr-defined]
    assert tidied.is_set()


def test_an_unknown_check_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no check nothing.*identity, bootstrap"):
        diagnose(Options(), ["nothing"])


def test_ids_of_checks_are_different() -> None:
    assert len({each.id for each in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(
    ("code", "is_fault"), [("AccessDeniedException", False), ("UnauthorizedOperation", False), ("Throttling", True)]
)
def test_a_call_that_these_credentials_may_not_make_is_skipped_and_another_refusal_is_a_fault(
    code: str, is_fault: bool
) -> None:
    reason = explained(ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeBudgets"))
    assert reason is not None
    assert reason.is_fault is is_fault
    assert "DescribeBudgets" in str(reason)
    assert explained(ValueError()) is None


def test_the_exit_code_is_1_when_a_check_failed_and_the_worst_findings_come_first() -> None:
    def result(id_: str, *findings: Finding) -> Result:
        return Result(id_, id_, Verdict("", findings), 0.1)

    warned = result("a", Finding(Status.WARNING, "x", "a.", ""))
    assert Report("", [warned]).exit_code == 0
    report = Report("", [warned, result("b", failed("y", "b.", "type"))])
    assert report.exit_code == 1
    assert [pair[0].check for pair in report.findings(Status.WARNING, Status.FAILED)] == ["b", "a"]
    assert report.as_json()["checks"][1]["findings"] == [
        {"status": "failed", "where": "y", "wrong": "b.", "remedy": "type"}
    ]


def test_no_check_that_could_be_made_is_exit_code_1() -> None:
    nothing = Result("a", "a", Verdict("", (skipped("AWS", "No Region."),)), 0.1)
    assert Report("", [nothing, nothing]).exit_code == 1
    assert Report("", [nothing, Result("b", "b", Verdict(""), 0.1)]).exit_code == 0


def test_a_reason_that_checks_share_is_printed_once() -> None:
    results = [Result(id_, id_, Verdict("", (skipped("AWS", "No Region.", "export"),)), 0.1) for id_ in "abc"]
    console = Console(record=True, width=80)
    show(Report("", results), console)
    text = console.export_text()
    assert text.count("No Region.") == 1
    assert "skipped  a, b, c\n" in text


def test_the_region_of_the_environment_is_that_of_aws_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert Deployment(Options()).region == "eu-west-1"
    assert Deployment(Options(region="eu-north-1")).region == "eu-north-1"
