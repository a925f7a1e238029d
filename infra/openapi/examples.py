"""The examples of the OpenAPI and AsyncAPI documents, equal to those of the wire contract in tests/contract."""

from typing import Any

_USER = "8242d788-3577-455b-9927-12fa48c52fe7"
_FOLDER = "s3://m.azeroth.one/static/video/"
_INPUT = f"{_FOLDER}example.mp4"
_OUTPUT = f"{_FOLDER}output/"
_SUCCESS = {"event": "JobSummit", "status": "success"}
_FFMPEG = {"codec": "h264", "scale": "1080p", "bitrate": "1M", "profile": "quality", "platform": "cpu"}
_INPUTS = {
    _INPUT: "9c5ecde6-15af-4b96-a456-4556d57694e2",
    f"{_FOLDER}example1.mp4": "1d31e5f3-be43-4677-93c8-b6e14af0a3b1",
    f"{_FOLDER}example2.mp4": "4ef15298-6d77-4e2d-b1f4-5d91e300f95c",
}
_METRICS = {"ssim": "enable", "psnr": "enable", "ms-ssim": "enable"}
_SCORE = {"userid": _USER, "input": _INPUT, "origin": _INPUT, "output": f"{_FOLDER}vmaf/"}

JOB: dict[str, Any] = {
    "userid": _USER,
    "input": _INPUT,
    "output": _OUTPUT,
    "priority": 100,
    "profile": {"ffmpeg": _FFMPEG},
}
JOBS: dict[str, Any] = {
    "userid": _USER,
    "batchInputs": list(_INPUTS),
    "output": _OUTPUT,
    "priority": 100,
    "profile": {"ffmpeg": _FFMPEG},
}
SUBMITTED: list[dict[str, Any]] = [
    {"userid": _USER, "jobid": job_id, "input": uri, "output": _OUTPUT, "status": _SUCCESS}
    for uri, job_id in _INPUTS.items()
]
VMAF: dict[str, Any] = {**_SCORE, "profile": {"vmaf": {"scale": "720p", **_METRICS}}}
VMAF_SUBMITTED: dict[str, Any] = {
    **_SCORE,
    "jobid": "547124b6-623c-4039-a740-aa5caf74c7eb",
    "profile": {"vmaf": {"scale": "1280x720", **_METRICS}},
    "status": _SUCCESS,
}
MESSAGE: dict[str, Any] = {
    "userid": _USER,
    "jobid": "460c8ab9-4741-49b2-bf9f-f97b87e5efc6",
    "input": _INPUT,
    "output": _OUTPUT,
    "priority": 100,
    "profile": {
        "ffmpeg": {
            "codec": "libx264",
            "scale": "1920:1080",
            "bitrate": "1M",
            "buffersize": "2M",
            "profile": "quality",
            "platform": "cpu",
        }
    },
}
REPORT: dict[str, Any] = {
    "workerType": "ffmpeg",
    "nodeName": "ip-192-168-63-212.ec2.internal",
    "podName": "ffmpeg-worker-95d8865bb-gtpnv",
    "action": "JobStart",
    "job": MESSAGE,
    "msg": "",
    "ts": 1588730504,
}
QUEUES: dict[str, Any] = {"cpu": ["ffmpeg_job"], "gpu": [], "vmaf": ["vmaf_job"]}
BATCH: dict[str, Any] = {
    "userid": _USER,
    "manifest": "s3://m.azeroth.one/static/manifest.txt",
    "output": _OUTPUT,
    "priority": 0,
    "profile": {"preset": "h264-720p"},
}
PLANNED: dict[str, Any] = {
    "userid": _USER,
    "plan": "plan-5f3b5d2e-6f0e-4f0b-9d1c-6a3f6a2f7c11",
    "budget": {"dollars": 0.5},
}
RETRY: dict[str, Any] = {"userID": _USER}
PRESET: dict[str, Any] = {"profile": {"ffmpeg": {"codec": "h265", "scale": "480p", "bitrate": "2M"}}}
