"""The demonstration of `make run`: transcode a real clip, print its events, check the output and score it."""

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
_KEY = "static/video/example.mp4"
_USER = "8242d788-3577-455b-9927-12fa48c52fe7"
_SECONDS = 120
_ENCODE = {"codec": "h264", "scale": "1080p", "bitrate": "1M", "profile": "quality", "platform": "cpu"}
_TRANSCODING = {"ffmpeg": _ENCODE, "reuse": False}  # each run is to show the work
_SCORING = {"vmaf": {"scale": "240p", "psnr": "enable", "ssim": "enable"}, "reuse": False}
_EXPECTED = "h264 1280x720"  # the size of the clip: words of a scale never enlarge


def demonstrate(place: Place, supervisor: Supervisor) -> None:
    """Transcode the clip, check the output and score it. LocalError when a job fails or the output is wrong."""
    stack = place.stack()
    bucket = stack["MediaBucket"]
    s3 = aws.client(place, "s3")
    s3.upload_file(str(_CLIP), bucket, _KEY)
    print(f"Uploaded {_CLIP.name} to s3://{bucket}/{_KEY}")
    body = {
        "userid": _USER,
        "input": f"s3://{bucket}/{_KEY}",
        "output": f"s3://{bucket}/static/video/output/",
        "priority": 100,
        "profile": _TRANSCODING,
    }
    started = supervisor.pids()
    headers = users.headers(place)
    with connect(f"ws://localhost:{place.port}/ws?lastMod=0", additional_headers=headers) as socket:
        job_id = _submit(place, headers, "jobs", body)
        print(f"Submitted job {job_id}")
        outputs = _follow(socket, job_id, supervisor, started)["outputs"]
        (output,) = (file for file in outputs if file["role"] == "file")
        _check(s3, bucket, output["uri"])
        scoring = {**body, "input": output["uri"], "origin": body["input"], "profile": _SCORING}
        score_id = _submit(place, headers, "vmaf", scoring)
        print(f"Submitted job {score_id}, which scores the output")
        scored = _follow(socket, score_id, supervisor, started)
    means = {name: scores["mean"] for name, scores in scored["quality"].items()}
    print(f"VMAF {means['vmaf']:.1f}, PSNR {means['psnr']:.1f} dB, SSIM {means['ssim']:.3f}")
    report = next(file["uri"] for file in scored["outputs"] if file["uri"].endswith(".html"))
    certificate = next(file["uri"] for file in outputs if file["uri"].endswith(".certificate.html"))
    signed = f" {users.option(place)}" if headers else ""
    print(f"""
The output is {output["uri"]}
  download      curl -O {stack["AwsEndpoint"]}/{output["uri"].removeprefix("s3://")}
  quality       {stack["AwsEndpoint"]}/{report.removeprefix("s3://")}
  certificate   {stack["AwsEndpoint"]}/{certificate.removeprefix("s3://")}
  its events    curl{signed} {place.url}/api/v1/jobs/{job_id}
  all events    npx wscat{signed} -c ws://localhost:{place.port}/ws?lastMod=0
The home page is {place.url}/. Everything keeps running; `make down` stops it.""")


def _submit(place: Place, headers: dict[str, str], route: str, body: dict[str, Any]) -> str:
    """Submit a job; its id."""
    request = urllib.request.Request(
        f"{place.url}/api/v1/{route}", json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    except OSError as error:
        raise LocalError(f"The API did not accept the job: {error}.", place.logs / f"{FRONT}.log") from error
    return str((answer[0] if isinstance(answer, list) else answer)["jobid"])


def _follow(socket: ClientConnection, job_id: str, supervisor: Supervisor, started: dict[str, int]) -> dict[str, Any]:
    """Print the job's events until it ends, and return its result. LocalError when it fails or takes too long.

    Progress never goes back: ticks that arrive late are left out. Only the JobStart of a new attempt begins anew.
    """
    until = time.monotonic() + _SECONDS
    worker = next((name for name in started if name.startswith("worker")), AWS)
    printed, latest = 0.0, (0, 0.0)
    while time.monotonic() < until:
        try:
            event: dict[str, Any] = json.loads(socket.recv(timeout=1))
        except TimeoutError:
            supervisor.check(started)
            continue
        if event.get("jobID") != job_id:
            continue
        percent = (event.get("progress") or {}).get("percent", 0.0)
        place = event.get("attempt", 0), event["ts"]
        late = place < latest
        latest = max(latest, place)
        if event["action"] == "JobProgress" and (late or percent < printed):
            continue
        printed = 0.0 if event["action"] == "JobStart" and not late else max(printed, percent)
        print(f"  {time.strftime('%H:%M:%S', time.localtime(event['ts']))}  {event['action']:<12}{_detail(event)}")
        if event["action"] == "JobFinished":
            result: dict[str, Any] = event["result"]
            return result
        if event["action"] == "JobFailed":
            error = event["error"]
            raise LocalError(f"The job failed: {error['code']}: {error['message']}", supervisor.log(worker))
    raise LocalError(f"The job did not end within {_SECONDS} s.", supervisor.log(worker))


def _detail(event: dict[str, Any]) -> str:
    """Progress as "36.0 %, 12 s to go", or the worker's name."""
    progress = event.get("progress")
    if not progress:
        return str(event.get("podName") or "")
    eta = progress.get("etaSeconds")
    return f"{progress.get('percent', 0):5.1f} %" + (f", {eta:.0f} s to go" if eta is not None else "")


def _check(s3: Any, bucket: str, uri: str) -> None:
    """Check codec and size of the output with ffprobe. LocalError when they are not those of the request."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "output.mp4")
        s3.download_file(bucket, uri.removeprefix(f"s3://{bucket}/"), str(path))
        ffprobe = [str(TOOLS / "bin" / "ffprobe"), "-v", "error", "-of", "json"]
        entries = ["-show_entries", "stream=codec_name,width,height", "-show_entries", "format=duration"]
        probed = json.loads(subprocess.run([*ffprobe, *entries, str(path)], capture_output=True, check=True).stdout)
    video = next(stream for stream in probed["streams"] if "width" in stream)
    actual = f"{video['codec_name']} {video['width']}x{video['height']}"
    if actual != _EXPECTED:
        raise LocalError(f"The output is {actual}, not {_EXPECTED}.")
    print(f"ffprobe: {actual}, {float(probed['format']['duration']):.2f} s")
