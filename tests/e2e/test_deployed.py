"""The product as its users meet it: the deployed stack, real ffmpeg, real sockets."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from infra.options import Options
from local.place import TOOLS
from tests.conftest import contract
from tests.e2e.conftest import LEASE_SECONDS, STALL_SECONDS, Deployed, certified, wait_for

BUNNY = TOOLS / "media" / "bigbuckbunny.mp4"
PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2")
SOUND = ("-f", "lavfi", "-i", "sine=duration=2")
Clips = Callable[..., Path]
MAX_ATTEMPTS = Options().maxAttempts
STOPPING_SECONDS = 10
"""How long a terminated worker takes at most, as docs/reference/workers.md promises."""
PATIENCE = 2
"""How much longer that may take on a machine that runs other tests at the same time."""


@pytest.fixture
def bunny(deployed: Deployed) -> str:
    """A real clip on S3."""
    return deployed.put(BUNNY, "in/example.mp4")


def test_every_documented_path_answers_behind_one_origin_and_at_the_raw_urls(deployed: Deployed) -> None:
    raw = deployed.stack["RestUrl"].removesuffix("/api")
    user = contract("job")["userid"]
    for base in (deployed.place.url, raw):
        for path in ("/api", "/api/v1"):
            status, said, _ = deployed.call("GET", path, base=base)
            assert status == 200
            assert list(said)[:2] == list(contract("version.response"))
            assert set(said) == {"server", "version", "build", "commit", "userID", "operator"}
        assert deployed.call("GET", "/api/v1/schema", base=base)[1] == contract("schema.response")
        assert deployed.call("GET", "/api/v1/worker/queues", base=base)[1] == contract("queues.response")
        status, job, _ = deployed.call("POST", "/api/v1/jobs", contract("job"), base=base)
        assert (status, list(job[0])) == (200, list(contract("job_batch.response")[0]))
        status, score, _ = deployed.call("POST", "/api/v1/vmaf", contract("vmaf"), base=base)
        assert (status, list(score)) == (200, list(contract("vmaf.response")))
        for path in (f"/api/v1/jobs/{job[0]['jobid']}", f"/api/v1/{user}/jobs", f"/api/v1/logs/{user}"):
            status, events, _ = deployed.call("GET", path, base=base)
            assert status == 200
            assert {"ts", "userID", "jobID", "action", "job", "nodeName", "podName"} <= set(events[0])
        status, found, _ = deployed.call("GET", "/api/v1/worker/deployments", base=base)
        assert status == 200
        assert {"Name", "Queue", "Platform", "Replicas"} <= set(found["worker-cpu"])
        status, problem, headers = deployed.call("GET", "/api/v1/nothing/here", base=base)
        assert (status, headers["Content-Type"]) == (404, "application/problem+json")
        assert set(problem) == {"type", "title", "status", "detail", "instance"}
        asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
        assert (
            "Access-Control-Allow-Origin" not in deployed.call("OPTIONS", "/api/v1/jobs", headers=asked, base=base)[2]
        )


def test_the_home_page_and_the_documented_probe(deployed: Deployed) -> None:
    for path in ("/", "/index"):
        status, page, headers = deployed.call("GET", path)
        assert (status, b"ElasticRecode" in page) == (200, True)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, script, _ = deployed.call("GET", "/static/jquery-3.5.1.min.js")
    assert (status, script[:20]) == (200, b"/*! jQuery v3.5.1 | ")
    assert deployed.call("GET", "/static/../../pyproject.toml")[0] in (403, 404)
    assert deployed.call("GET", "/static/%2e%2e/%2e%2e/pyproject.toml")[0] in (403, 404)


def test_a_batch_of_three_is_watched_from_submission_to_files(
    deployed: Deployed, clips: Clips, tmp_path: Path, bunny: str
) -> None:
    short = clips("short.mp4", *PICTURE, *SOUND, "-shortest")
    uris = [bunny, deployed.put(short, "in/second.mp4"), deployed.put(short, "in/third.mkv")]
    body = contract("job_batch") | {"batchInputs": uris, "output": f"s3://{deployed.bucket}/three/"}
    with deployed.wscat("/ws?lastMod=0") as printed, deployed.watch() as socket:
        _, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
        ids = [entry["jobid"] for entry in answer]
        seen: dict[str, list[dict[str, Any]]] = {job_id: [] for job_id in ids}
        while any(not said or said[-1]["action"] != "JobFinished" for said in seen.values()):
            event = json.loads(socket.recv(timeout=60))
            if event["jobID"] in seen:
                assert event["action"] != "JobFailed", json.dumps(event)
                seen[event["jobID"]].append(event)
        # Of each job a stall of the consumer may leave out all ticks: one that comes behind the end is discarded.
        assert any(event["action"] == "JobProgress" for said in seen.values() for event in said)
        for job_id, said in seen.items():
            pushed = [event["action"] for event in said if event["action"] != "JobProgress"]
            assert pushed == ["JobSummit", "JobStart", "JobFinished"]
            assert all(event["job"]["jobid"] == job_id for event in said)
            assert deployed.actions(job_id) == pushed
            output, *others = said[-1]["result"]["outputs"]
            assert [other["role"] for other in others] == ["certificate", "certificate"]
            probed = deployed.probe(output["uri"], tmp_path)
            video = next(stream for stream in probed["streams"] if stream["codec_type"] == "video")
            size = (1280, 720) if output["uri"].endswith("/example.mp4") else (320, 180)  # never enlarged
            assert (video["codec_name"], video["width"], video["height"]) == ("h264", *size)
        assert deployed.keys("three/") == certified("three/example.mp4", "three/second.mp4", "three/third.mkv")

        def shows_ends() -> bool:
            return set(ids) <= {json.loads(line)["jobID"] for line in printed() if '"JobFinished"' in line}

        wait_for(shows_ends, "wscat's last line")
        for job_id in ids:
            mine = [json.loads(line) for line in printed() if job_id in line]
            assert [event["action"] for event in mine if event["action"] != "JobProgress"] == pushed


BAD = {
    "missing.mp4": "input-not-found",
    "empty.mp4": "input-empty",
    "text.mp4": "input-not-video",
    "playlist.mp4": "input-not-video",
    "still.mp4": "input-not-video",
    "audio.mp4": "input-no-video",
    "cut.mp4": "input-corrupt",
}


def test_inputs_that_are_no_video_fail_within_seconds_with_a_code(
    deployed: Deployed, clips: Clips, tmp_path: Path
) -> None:
    whole = clips("short.mp4", *PICTURE, *SOUND, "-shortest").read_bytes()
    files = {
        "empty.mp4": b"",
        "text.mp4": b"this is no video\n" * 100,
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "still.mp4": clips("still.png", *PICTURE, "-frames:v", "1").read_bytes(),
        "audio.mp4": clips("audio.mp4", *SOUND).read_bytes(),
        "cut.mp4": whole[: len(whole) // 2],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        deployed.put(tmp_path / name, f"bad/{name}")
    jobs = {name: deployed.submit(f"s3://{deployed.bucket}/bad/{name}", "bad-out/") for name in BAD}
    for name, job_id in jobs.items():
        record = deployed.until(job_id, "failed", "finished")
        assert record["state"] == "failed", name
        assert record["error"]["code"] == BAD[name], record["error"]
        assert record["error"]["message"]
        assert "/tmp" not in json.dumps(record["error"])
    assert deployed.keys("bad-out/") == []
    nowhere = deployed.submit(deployed.put(BUNNY, "in/example.mp4"), "x/")
    assert deployed.until(nowhere, "failed", "finished")["state"] == "finished"


ODD = {
    "odd.mkv": (*PICTURE[:3], "testsrc2=size=321x181:rate=25:duration=2", "-c:v", "ffv1"),
    "vfr.mp4": (*PICTURE, "-vf", "select='not(mod(n,3))+lt(n,20)'", "-fps_mode", "vfr"),
    "silent.mp4": PICTURE,
    "deep.mkv": (*PICTURE, "-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-x265-params", "log-level=error"),
    "broadcast.ts": (*PICTURE, *SOUND, "-shortest", "-c:v", "libx264"),
    "talk.webm": (*PICTURE, "-c:v", "libvpx", "-b:v", "300k"),
    "name with 'quotes' %d é\n.mp4": PICTURE,
}


def test_the_certificate_of_a_job_names_its_source_its_output_and_its_runs(deployed: Deployed) -> None:
    job_id = deployed.submit(deployed.put(BUNNY, "certified/film.mp4"), "certified-out/")
    record = deployed.until(job_id, "finished", "failed")
    output, *others = record["outputs"]
    bodies = [
        deployed.s3.get_object(Bucket=deployed.bucket, Key=other["uri"].split("/", 3)[3])["Body"].read()
        for other in others
    ]
    certificate = json.loads(bodies[0])
    assert certificate["job"] == job_id
    assert certificate["input"]["sha256"] == hashlib.sha256(BUNNY.read_bytes()).hexdigest()
    assert certificate["outputs"] == [output]
    assert [step["name"] for step in certificate["steps"]] == ["encode"]
    assert output["sha256"] in bodies[1].decode()


@pytest.mark.parametrize("name", ODD)
def test_odd_videos_are_transcoded(deployed: Deployed, clips: Clips, tmp_path: Path, name: str) -> None:
    path = clips(f"made-{list(ODD).index(name)}.{name.rsplit('.')[-1]}", *ODD[name])
    job_id = deployed.submit(deployed.put(path, f"odd/{name}"), "odd-out/")
    record = deployed.until(job_id, "finished", "failed")
    assert record["error"] is None
    output, *others = record["outputs"]
    assert [other["role"] for other in others] == ["certificate", "certificate"]
    assert output["uri"].startswith(f"s3://{deployed.bucket}/odd-out/{name}")
    assert (output["width"], output["height"]) == (320, 180)  # never enlarged
    assert deployed.probe(output["uri"], tmp_path)["format"]["nb_streams"] >= 1


def test_a_rotated_video_is_turned_upright(deployed: Deployed, clips: Clips, tmp_path: Path) -> None:
    plain = clips("short.mp4", *PICTURE, *SOUND, "-shortest")
    path = clips("rotated.mp4", "-display_rotation", "90", "-i", str(plain), "-c", "copy")
    record = deployed.until(deployed.submit(deployed.put(path, "odd/rotated.mp4"), "odd-out/"), "finished", "failed")
    assert record["state"] == "finished"
    video = deployed.probe(record["outputs"][0]["uri"], tmp_path)["streams"][0]
    assert "side_data_list" not in video
    width, height = (int(number) for number in video["display_aspect_ratio"].split(":"))
    assert width / height == pytest.approx(180 / 320, rel=0.01)


def test_h265_for_latency(deployed: Deployed, bunny: str) -> None:
    job_id = deployed.submit(bunny, "hevc/", codec="h265", profile="latency")
    record = deployed.until(job_id, "finished", "failed")
    assert record["outputs"][0]["videoCodec"] == "hevc"


def test_a_body_that_is_too_large_is_refused(deployed: Deployed) -> None:
    status, problem, _ = deployed.call("POST", "/api/v1/jobs", b'{"input": "' + b"x" * 3_000_000 + b'"}')
    assert (status, problem["status"]) == (413, 413)


def test_one_key_from_twenty_clients_at_once_is_one_job(deployed: Deployed) -> None:
    key = {"Idempotency-Key": f"twenty-{time.time_ns()}"}

    def answered() -> tuple[int, Any] | None:
        status, answer, headers = deployed.call("POST", "/api/v1/jobs", contract("job"), key)
        assert status in (200, 502, 504) or (status == 409 and "Retry-After" in headers), answer
        return (status, answer) if status < 500 else None  # so many functions begin at once that one may come too late

    def post(_: int) -> tuple[int, Any]:
        found: tuple[int, Any] = wait_for(answered, "an answer")
        return found

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(post, range(20)))
    ids = {answer[0]["jobid"] for status, answer in answers if status == 200}
    assert len(ids) == 1
    assert post(0)[1][0]["jobid"] in ids


def long_clip(deployed: Deployed, clips: Clips, name: str) -> str:
    """A clip that keeps the encoder busy for several seconds."""
    path = clips("long.mp4", "-stream_loop", "3", "-i", str(BUNNY), "-c", "copy")
    return deployed.put(path, f"long/{name}.mp4")


def working(deployed: Deployed, job_id: str) -> dict[str, Any]:
    """The record once its encoder has made some way."""

    def at_work() -> dict[str, Any] | None:
        record = deployed.record(job_id)
        return record if record["progress"] and record["progress"]["percent"] > 5 else None

    found: dict[str, Any] = wait_for(at_work, "progress")
    return found


def encoders(deployed: Deployed) -> int:
    """How many encoders run for this environment's workers."""
    return len(encoder_pids(deployed))


def encoder_pids(deployed: Deployed) -> set[int]:
    """Their processes."""
    named = f"progress pipe:1.*{deployed.place.scratch}"
    found = subprocess.run(["pgrep", "-f", named], capture_output=True, text=True, check=False)
    return set(map(int, found.stdout.split()))


def test_a_running_job_that_is_cancelled_leaves_no_encoder_and_no_object(deployed: Deployed, clips: Clips) -> None:
    job_id = deployed.submit(long_clip(deployed, clips, "cancelled"), "cancelled/", scale="1080p")
    working(deployed, job_id)
    status, record, _ = deployed.call("DELETE", f"/api/v1/jobs/{job_id}")
    assert (status, record["state"]) == (202, "cancelled")
    wait_for(lambda: encoders(deployed) == 0, "the encoder's end")
    assert deployed.record(job_id)["state"] == "cancelled"
    assert deployed.keys("cancelled/") == []
    assert deployed.call("DELETE", f"/api/v1/jobs/{job_id}")[0] == 409


def test_a_queued_job_that_is_cancelled_never_starts(deployed: Deployed, clips: Clips) -> None:
    first = deployed.submit(long_clip(deployed, clips, "before"), "before/", scale="720p")
    uri = long_clip(deployed, clips, "never")
    working(deployed, first)
    worker = deployed.supervisor.pids()["worker-ffmpeg-0"]
    os.kill(worker, signal.SIGSTOP)  # it must not have come to the second job by then
    try:
        second = deployed.submit(uri, "never/")
        assert deployed.call("DELETE", f"/api/v1/jobs/{second}")[0] == 202
    finally:
        os.kill(worker, signal.SIGCONT)
    deployed.until(first, "finished")
    third = deployed.submit(deployed.put(BUNNY, "in/example.mp4"), "after/")
    deployed.until(third, "finished")
    assert deployed.actions(second) == ["JobSummit", "JobCancelled"]
    assert deployed.keys("never/") == []


def test_the_job_of_a_killed_worker_is_taken_over_and_finishes_once(deployed: Deployed, clips: Clips) -> None:
    job_id = deployed.submit(long_clip(deployed, clips, "killed"), "killed/", scale="720p")
    working(deployed, job_id)
    kill_worker(deployed)
    seconds = PATIENCE * (2 * LEASE_SECONDS + 4) + STALL_SECONDS
    wait_for(lambda: deployed.record(job_id)["attempt"] == 2, "a second attempt", seconds)
    deployed.until(job_id, "finished")
    said = deployed.actions(job_id)
    assert said.count("JobFinished") == 1
    assert "JobLost" in said
    assert deployed.keys("killed/") == certified("killed/killed.mp4")


def kill_worker(deployed: Deployed) -> None:
    """SIGKILL to the worker; its encoder goes with it, while that of the next attempt may have begun."""
    running = encoder_pids(deployed)
    os.kill(deployed.supervisor.pids()["worker-ffmpeg-0"], signal.SIGKILL)
    wait_for(lambda: not running & encoder_pids(deployed), "the end of the encoder")


def test_a_job_that_kills_every_worker_fails(deployed: Deployed, clips: Clips) -> None:
    job_id = deployed.submit(long_clip(deployed, clips, "poison"), "poison/", scale="720p")
    struck = set[int]()

    def next_stage() -> dict[str, Any] | None:
        """The record once another attempt has made some way, or the job has ended."""
        record = deployed.record(job_id)
        has_begun = record["progress"] and record["progress"]["percent"] > 5 and record["attempt"] not in struck
        return record if has_begun or record["endedAt"] else None

    while (record := wait_for(next_stage, "another attempt"))["state"] == "running":
        struck.add(record["attempt"])
        kill_worker(deployed)
    assert (record["state"], record["error"]["code"]) == ("failed", "attempts-exhausted")
    said = deployed.actions(job_id)
    assert (said.count("JobLost"), said.count("JobFailed")) == (MAX_ATTEMPTS, 1)
    assert deployed.keys("poison/") == []
    after = deployed.submit(deployed.put(BUNNY, "in/example.mp4"), "after-poison/")
    assert deployed.until(after, "finished", "failed")["state"] == "finished"


def test_a_terminated_worker_returns_its_job(deployed: Deployed, clips: Clips) -> None:
    job_id = deployed.submit(long_clip(deployed, clips, "returned"), "returned/", scale="720p")
    working(deployed, job_id)
    pid = deployed.supervisor.pids()["worker-ffmpeg-0"]
    os.kill(pid, signal.SIGTERM)
    ended = lambda: deployed.supervisor.pids().get("worker-ffmpeg-0", pid) != pid  # noqa: E731
    wait_for(ended, "the worker's end", STOPPING_SECONDS + STALL_SECONDS)
    deployed.until(job_id, "finished")
    said = deployed.actions(job_id)
    assert said.count("JobReturned") == 1
    assert said.count("JobFinished") == 1
    assert said.count("JobStart") == 2


def test_many_watchers_see_the_same(deployed: Deployed, bunny: str) -> None:
    seen: list[list[str]] = [[] for _ in range(5)]

    def follow(n: int, ready: threading.Barrier, job_id: list[str]) -> None:
        with deployed.watch() as socket:
            ready.wait()
            ready.wait()
            while "JobFinished" not in seen[n]:
                event = json.loads(socket.recv(timeout=60))
                if event["jobID"] == job_id[0] and event["action"] != "JobProgress":
                    seen[n].append(event["action"])

    ready, job_id = threading.Barrier(6), [""]
    threads = [threading.Thread(target=follow, args=(n, ready, job_id)) for n in range(5)]
    for thread in threads:
        thread.start()
    ready.wait()
    job_id[0] = deployed.submit(bunny, "watched/")
    ready.wait()
    for thread in threads:
        thread.join()
    assert seen == [["JobSummit", "JobStart", "JobFinished"]] * 5
