"""The main job, seen from outside: a real clip in, its events as they come, a checked file out."""

import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from local import aws, users
from local.place import TOOLS, LocalError, Place
from local.processes import AWS, FRONT, Supervisor

_CLIP = TOOLS / "media" / "bigbuckbunny.mp4"
_USER = "8242d788-3577-455b-9927-12fa48c52fe7"
_SECONDS = 120
_SCORING = {"vmaf": {"scale": "240p", "psnr": "enable", "ssim": "enable"}}


def demonstrate(place: Place, supervisor: Supervisor) -> None:
    """Transcode the clip and check what came out. LocalError when anything is not as it should be."""
    stack = place.stack()
    bucket = stack["MediaBucket"]
    s3 = aws.client(place, "s3")
    s3.upload_file(str(_CLIP), bucket, "static/video/example.mp4")
    print(f"Put {_CLIP.name} into s3://{bucket}/static/video/example.mp4")
    body = {
        "userid": _USER,
        "input": f"s3://{bucket}/static/video/example.mp4",
        "output": f"s3://{bucket}/static/video/output/",
        "priority": 100,
        "profile": {
            "ffmpeg": {"codec": "h264", "scale": "1080p", "bitrate": "1M", "profile": "quality", "platform": "cpu"}
        },
    }
    started = supervisor.pids()
    told = users.headers(place)
    with connect(f"ws://localhost:{place.port}/ws?lastMod=0", additional_headers=told) as socket:
        job_id = _submit(place, told, "jobs", body)
        print(f"Submitted job {job_id}")
        finished = _follow(socket, job_id, supervisor, started)
        (output,) = finished["result"]["outputs"]
        _check(s3, bucket, output["uri"])
        scoring = {**body, "input": output["uri"], "origin": body["input"], "profile": _SCORING}
        score_id = _submit(place, told, "vmaf", scoring)
        print(f"Submitted job {score_id}, its quality score")
        scored = _follow(socket, score_id, supervisor, started)["result"]
    quality = scored["quality"]
    print(
        f"VMAF {quality['vmaf']['mean']:.1f}, PSNR {quality['psnr']['mean']:.1f} dB, SSIM {quality['ssim']['mean']:.3f}"
    )
    page = next(made["uri"] for made in scored["outputs"] if made["uri"].endswith(".html"))
    signed = f" {users.option(place)}" if told else ""
    print(f"""
The output is {output["uri"]}
  fetch it      curl -O {stack["AwsEndpoint"]}/{output["uri"].removeprefix("s3://")}
  its quality   {stack["AwsEndpoint"]}/{page.removeprefix("s3://")}
  its events    curl{signed} {place.url}/api/v1/jobs/{job_id}
  all events    npx wscat{signed} -c ws://localhost:{place.port}/ws?lastMod=0
The home page is {place.url}/ and everything stays up; `make down` stops it.""")


def _submit(place: Place, told: dict[str, str], route: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(
        f"{place.url}/api/v1/{route}", json.dumps(body).encode(), {"Content-Type": "application/json", **told}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = json.load(answer)
    except OSError as error:
        raise LocalError(f"The job was not accepted: {error}.", place.logs / f"{FRONT}.log") from error
    return str((said[0] if isinstance(said, list) else said)["jobid"])


def _follow(socket: ClientConnection, job_id: str, supervisor: Supervisor, started: dict[str, int]) -> dict[str, Any]:
    """Print the job's events until it ends; its last one."""
    until = time.monotonic() + _SECONDS
    worker = next((name for name in started if name.startswith("worker")), AWS)
    while time.monotonic() < until:
        try:
            event: dict[str, Any] = json.loads(socket.recv(timeout=1))
        except TimeoutError:
            supervisor.check(started)
            continue
        if event["jobID"] != job_id:
            continue
        print(f"  {time.strftime('%H:%M:%S', time.localtime(event['ts']))}  {event['action']:<12}{_progress(event)}")
        if event["action"] == "JobFinished":
            return event
        if event["action"] == "JobFailed":
            error = event["error"]
            raise LocalError(f"The job failed: {error['code']}: {error['message']}", supervisor.log(worker))
    raise LocalError(f"The job did not end within {_SECONDS} s.", supervisor.log(worker))


def _progress(event: dict[str, Any]) -> str:
    progress = event.get("progress")
    if not progress:
        return str(event.get("podName") or "")
    eta = progress.get("etaSeconds")
    return f"{progress.get('percent', 0):5.1f} %" + (f", {eta:.0f} s to go" if eta is not None else "")


def _check(s3: Any, bucket: str, uri: str) -> None:
    """Hold the output to what was asked for, with ffprobe."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "output.mp4")
        s3.download_file(bucket, uri.removeprefix(f"s3://{bucket}/"), str(path))
        said = subprocess.run(
            [
                str(TOOLS / "bin" / "ffprobe"),
                "-v",
                "error",
                "-show_entries",
                "stream=codec_name,width,height",
                "-show_entries",
                "format=duration",
                "-of",
                "json",
                str(path),
            ],
            capture_output=True,
            check=True,
        )
    probed = json.loads(said.stdout)
    video = next(stream for stream in probed["streams"] if "width" in stream)
    got = f"{video['codec_name']} {video['width']}x{video['height']}"
    if got != "h264 1920x1080":
        raise LocalError(f"The output is {got}, not h264 1920x1080.")
    print(f"ffprobe: {got}, {float(probed['format']['duration']):.2f} s")
