"""Watching on the deployed stack: connections that drop, users apart, history before what is live."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.conftest import contract
from tests.e2e.conftest import Deployed, wait_for
from tests.sizes import sized

Clips = Callable[..., Path]
SECONDS = sized(5, 20, 120)
"""How long a watcher keeps reconnecting, each second."""
CLIP = ("-f", "lavfi", "-i", "testsrc2=duration=2:size=320x240:rate=25", "-pix_fmt", "yuv420p")


class Follower:
    """A client that drops its connection every second and resumes behind the last event it saw."""

    def __init__(self, deployed: Deployed, **query: str) -> None:
        self._deployed = deployed
        self._query = query
        self._start = f"lastMod={time.time():.3f}"
        self.events: list[dict[str, Any]] = []
        self.connections = self.refused = 0
        self._over = threading.Event()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        wait_for(lambda: self.connections, "a first connection")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:  # noqa: BLE001
            self._broken = error

    def _follow(self) -> None:
        start = self._start
        while not self._over.is_set():
            rest = "".join(f"&{name}={value}" for name, value in self._query.items())
            try:
                opened = self._deployed.watch(f"{start}{rest}")
            except (OSError, InvalidHandshake, ConnectionClosed):
                self.refused += 1  # a busy machine's; who follows tries again
                continue
            with opened as socket:
                self.connections += 1
                until = time.monotonic() + 1
                while time.monotonic() < until:
                    try:
                        said = json.loads(socket.recv(timeout=0.05))
                    except TimeoutError:
                        continue
                    except ConnectionClosed:
                        break
                    for event in said if isinstance(said, list) else [said]:
                        assert event["action"] != "Gap"
                        self.events.append(event)
                        start = f"after={event['cursor']}"

    def seen(self) -> dict[str, list[dict[str, Any]]]:
        """Each job's events in the order they came in, each once."""
        if self._broken:
            raise self._broken
        jobs: dict[str, dict[str, dict[str, Any]]] = {}
        for event in self.events:
            jobs.setdefault(event["jobID"], {}).setdefault(event["eventID"], event)
        return {job_id: list(events.values()) for job_id, events in jobs.items()}


def ask(deployed: Deployed, user: str, uri: str) -> list[str]:
    body = contract("job") | {"userid": user, "input": uri, "output": f"s3://{deployed.bucket}/watched/{user}/"}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    return [entry["jobid"] for entry in answer]


def names(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["action"], event["eventID"]) for event in events if event["action"] != "JobProgress"]


def place(event: dict[str, Any]) -> tuple[int, ...]:
    """An event's place in the feed."""
    return tuple(map(int, event["cursor"].split(".")))


def ended(deployed: Deployed, ids: list[str]) -> bool:
    return all(deployed.record(job_id)["state"] in ("finished", "failed") for job_id in ids)


@pytest.mark.parametrize("pack", ["0", "1"])
def test_a_watcher_that_reconnects_every_second_misses_no_event(deployed: Deployed, clips: Clips, pack: str) -> None:
    clip = clips("watched.mp4", *CLIP)
    uris = [deployed.put(clip, f"watched/{pack}/{n}.mp4") for n in range(6)]
    body = contract("job_batch") | {
        "userid": f"watcher-{pack}",
        "batchInputs": uris + [f"s3://{deployed.bucket}/none/missing-{n}.mp4" for n in range(30)],
        "output": f"s3://{deployed.bucket}/watched/out-{pack}/",
    }
    body["profile"]["ffmpeg"] |= {"scale": "240p"}
    with Follower(deployed, pack=pack, userID=f"watcher-{pack}") as follower:
        began = time.monotonic()
        status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
        assert status == 200, answer
        ids = [entry["jobid"] for entry in answer]
        wait_for(lambda: ended(deployed, ids), "the batch's end", 240)

        def unlike() -> set[tuple[str, str]]:
            """What only the watcher, or only a job's list, has: the list has a start that came with the end last."""
            seen = follower.seen()
            listed = {job_id: deployed.call("GET", f"/api/v1/jobs/{job_id}")[1] for job_id in ids}
            return {name for job_id in ids for name in {*names(listed[job_id])} ^ {*names(seen.get(job_id, []))}}

        until = time.monotonic() + 120
        while (left := unlike()) and time.monotonic() < until:
            time.sleep(0.1)
        assert not left, f"connected {follower.connections} times, refused {follower.refused}"
        wait_for(lambda: time.monotonic() > began + SECONDS, "so many seconds", 2 * SECONDS)
        wait_for(lambda: follower.connections >= SECONDS / 2, "so many reconnects")
    seen = follower.seen()
    assert set(seen) == set(ids)
    for job_id in ids:
        places = [place(event) for event in seen[job_id]]
        assert places == sorted(places)


def test_two_users_watchers_see_only_their_own(deployed: Deployed) -> None:
    users = ("apart-one", "apart-two")
    missing = f"s3://{deployed.bucket}/none/apart.mp4"
    with ExitStack() as opened:
        sockets = {user: opened.enter_context(deployed.watch(f"userID={user}")) for user in users}
        ids = {user: ask(deployed, user, missing)[0] for user in users}
        for user in users:
            seen: list[dict[str, Any]] = []
            while not seen or seen[-1]["action"] != "JobFailed":
                seen.append(json.loads(sockets[user].recv(timeout=60)))
            assert {event["userID"] for event in seen} == {user}
            assert {event["jobID"] for event in seen} == {ids[user]}
            assert all(event["job"]["jobid"] == ids[user] for event in seen)


def test_a_past_time_gives_history_and_then_live_events(deployed: Deployed) -> None:
    missing = f"s3://{deployed.bucket}/none/history.mp4"
    began = time.time() - 0.01
    (before,) = ask(deployed, "historian", missing)
    deployed.until(before, "failed")
    with deployed.watch(f"userID=historian&lastMod={began:.3f}") as socket:
        seen = [json.loads(socket.recv(timeout=60))]
        while seen[-1]["action"] != "JobFailed":
            seen.append(json.loads(socket.recv(timeout=60)))
        assert {event["jobID"] for event in seen} == {before}
        (after,) = ask(deployed, "historian", missing)
        while seen[-1]["jobID"] != after or seen[-1]["action"] != "JobFailed":
            seen.append(json.loads(socket.recv(timeout=60)))
    actions = [(event["jobID"], event["action"]) for event in seen]
    expected = [(job_id, action) for job_id in (before, after) for action in ("JobSummit", "JobStart", "JobFailed")]
    assert actions == expected
    assert [place(event) for event in seen] == sorted(place(event) for event in seen)


def test_wscat_sees_history_without_sending(deployed: Deployed) -> None:
    (job_id,) = ask(deployed, "quiet", f"s3://{deployed.bucket}/none/quiet.mp4")
    deployed.until(job_id, "failed")
    with deployed.wscat("/ws?lastMod=0&userID=quiet") as frames:
        wait_for(lambda: len(frames()) >= 3, "three frames")
        assert [json.loads(frame)["action"] for frame in frames()[:3]] == ["JobSummit", "JobStart", "JobFailed"]


def test_a_wrong_parameter_opens_no_connection(deployed: Deployed) -> None:
    # API Gateway passes the 400 on; the embedded one makes a 403 of it.
    with (
        pytest.raises(InvalidStatus, match=r"HTTP 40[03]"),
        deployed.watch("lastMod=yesterday"),
    ):
        pass


def test_a_ping_is_answered(deployed: Deployed) -> None:
    with deployed.watch("userID=nobody") as socket:
        socket.send("ping")
        assert socket.recv(timeout=60) == "pong"
