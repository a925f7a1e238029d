"""A cluster out of reach, in words, in the backlog of the queues that its workers serve."""

import re
import time

import pytest

from elasticrecode.contract import routes
from elasticrecode.workers import fleet
from tests.discovery.test_discovery import Plane, Serve, plane, worker
from tests.fakes.kubernetes import Api, Eks, status
from tests.support import call

__all__ = ["plane"]

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
REFUSED = status(403, 'User "discovery" cannot list resource "deployments"')


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_a_queue_says_which_cluster_is_out_of_reach_since_when_why_and_what_to_do(plane: Plane, api: Api) -> None:
    api.deployments = [worker("a")]
    plane.discover()
    assert plane.backlog("ffmpeg_job")["outage"] is None
    api.otherwise = REFUSED
    plane.discover()
    queue = plane.backlog("ffmpeg_job")
    assert re.fullmatch(
        r"Cluster prod: discovery's role may not list Deployments \(403.*\)\. Apply deploy/k8s/discovery there.* "
        rf"It was last reached at {STAMP}; the workers seen then count until {STAMP}\.",
        queue["outage"],
    )
    assert (queue["fault"], queue["readyReplicas"]) == (None, 1), "it still gets jobs"


def test_a_queue_of_a_cluster_in_reach_has_no_outage(plane: Plane, api: Api, eks: Eks, serve: Serve) -> None:
    other = serve()
    eks.add("other", other)
    api.deployments = [worker("a"), worker("c", QUEUE_NAME="ffmpeg_own")]
    other.deployments = [worker("b")]
    plane.stack.sqs.create_queue(QueueName="ffmpeg_own")
    plane.discover("prod", "other")
    api.otherwise = REFUSED
    plane.discover("prod", "other")
    assert plane.backlog("ffmpeg_job")["outage"] is None
    assert plane.backlog("ffmpeg_own")["outage"].startswith("Cluster prod: ")


def test_the_words_do_not_change_while_the_state_does_not(
    plane: Plane, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.deployments = [worker("a")]
    plane.discover()
    api.otherwise = REFUSED
    plane.discover()
    before = plane.backlog("ffmpeg_job")["outage"]
    later(monkeypatch, 60)
    plane.discover()
    assert plane.backlog("ffmpeg_job")["outage"] == before


def test_a_discovered_queue_whose_workers_no_longer_count_has_the_outage_as_its_fault(
    plane: Plane, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_own")
    api.deployments = [worker("a", QUEUE_NAME="ffmpeg_own")]
    plane.discover()
    api.otherwise = REFUSED
    later(monkeypatch, fleet.KEPT_SECONDS + 1)
    plane.discover()
    queue = plane.backlog("ffmpeg_own")
    assert queue["fault"] == queue["outage"]
    assert queue["fault"].endswith("the workers seen then no longer count.")


def test_a_configured_queue_says_that_a_cluster_was_never_reached(plane: Plane, api: Api) -> None:
    api.otherwise = status(401)
    plane.discover()
    queue = plane.backlog("ffmpeg_job")
    assert "Discovery's role needs an access entry in the cluster" in queue["outage"]
    assert queue["outage"].endswith("It was never reached, so its workers are unknown.")
    assert queue["fault"] is None, "workers elsewhere may serve it"


def test_without_any_queue_the_backlog_is_refused_with_the_words(plane: Plane, api: Api) -> None:
    api.otherwise = status(401)
    plane.discover()
    answer = call(plane.stack.build("workers", queues={}), routes.WORKER_BACKLOG)
    assert answer.status == 503
    assert answer.body["detail"].startswith("No queue is known. Cluster prod: its API does not know the caller (401).")


def test_a_discovery_that_does_not_run_is_an_outage(plane: Plane, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.deployments = [worker("a")]
    plane.discover()
    later(monkeypatch, fleet.FRESH_SECONDS + 1)
    assert "Read the log of the function discover." in plane.backlog("ffmpeg_job")["outage"]
