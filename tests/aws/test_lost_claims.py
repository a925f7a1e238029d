"""A worker that has lost its job reports nothing more of it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from elasticrecode.contract import routes
from elasticrecode.jobs.events import Progress
from elasticrecode.jobs.job import Job
from tests.aws.test_path import status, submitted
from tests.fakes.stack import Stack
from tests.support import call
from worker import loop
from worker.errors import HostError, Interrupted, PermanentError, TransientError
from worker.sandbox.runner import Runner
from worker.settings import Settings

Report = Callable[[Progress], None]
ENDS = [
    PermanentError("input-corrupt", "It is no video."),
    TransientError("storage-unavailable", "S3 does not answer."),
    HostError("disk-full", "The worker's disk is full."),
    RuntimeError("a bug of the worker"),
]


def work(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, perform: Callable[[str, Runner, Report], Any], lease_seconds: str
) -> list[str]:
    """Let a worker take one job and `perform` it; the actions that it reports."""

    def run_job(job: Job, settings: Settings, storage: object, runner: Runner, report: Report, _: object) -> Any:
        return perform(job.jobid, runner, report)

    monkeypatch.setattr(loop, "run_job", run_job)
    environment = {
        "WORKER_TYPE": "ffmpeg",
        "CORE": "CPU",
        "QUEUE_NAME": "ffmpeg_job",
        "CONTROL_PLANE": "control_plane",
        "JOBS_TABLE": "jobs",
        "LEASE_SECONDS": lease_seconds,
        "POD_NAME": "w",
    }
    submitted(stack)
    stack.flow()
    loop.Worker(Settings.read(environment)).poll()
    return [json.loads(message["Body"])["action"] for message in stack.messages("control_plane")]


def change(stack: Stack, job_id: str) -> None:
    """The user cancels the job, and retries it at once."""
    for route in (routes.CANCEL, routes.RETRY):
        assert call(stack.jobs, route, parameters={"jobID": job_id}).status == 202


def is_stopped(runner: Runner) -> bool:
    """Whether the lease has stopped the job's programs, within a moment."""
    try:
        runner.check()
        time.sleep(0.01)
    except Interrupted:
        return True
    return False


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
def test_a_worker_that_knows_its_claim_is_lost_sends_no_tick_and_no_end(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, end: Exception
) -> None:
    def perform(job_id: str, runner: Runner, report: Report) -> Any:
        change(stack, job_id)
        until = time.monotonic() + 30
        while not is_stopped(runner):
            assert time.monotonic() < until
        with pytest.raises(Interrupted):
            report(Progress(percent=50.0))
        raise end

    assert work(stack, monkeypatch, perform, "6") == ["JobStart"]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
def test_a_worker_that_wakes_asks_for_its_claim_before_it_reports(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, end: Exception
) -> None:
    def perform(job_id: str, runner: Runner, report: Report) -> Any:
        report(Progress(percent=10.0))
        change(stack, job_id)
        asleep = time.monotonic() + 120
        monkeypatch.setattr(time, "monotonic", lambda: asleep)
        raise end

    assert work(stack, monkeypatch, perform, "600") == ["JobStart", "JobProgress"]


def test_a_worker_that_slept_and_still_holds_the_job_reports_its_end(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_ids: list[str] = []

    def perform(job_id: str, runner: Runner, report: Report) -> Any:
        job_ids.append(job_id)
        asleep = time.monotonic() + 120
        monkeypatch.setattr(time, "monotonic", lambda: asleep)
        report(Progress(percent=50.0))
        raise ENDS[0]

    assert work(stack, monkeypatch, perform, "600") == ["JobStart", "JobProgress", "JobFailed"]
    assert status(stack, job_ids[0])["state"] == "running"  # until `consume` has read the event
