"""The worker's configuration, from environment variables (docs/reference/workers.md)."""

import re
import socket
from collections.abc import Mapping
from typing import NamedTuple, Self

from worker.sandbox.limits import JobLimits

DEBUG, FFMPEG = "debug", "ffmpeg"
_KINDS = (FFMPEG, "vmaf", DEBUG)
_CORES = ("CPU", "GPU")
_SANDBOXES = ("auto", "required", "off")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_DAY_SECONDS = 86_400
_MOST_CHUNK_SECONDS = 600
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)


class ConfigurationError(Exception):
    """The configuration is wrong. The message is one sentence that names every wrong variable."""


class Settings(NamedTuple):
    """A worker's settings.

    `kind` is the type of jobs it runs: `ffmpeg`, `vmaf` or `debug`. `core` is `CPU` or `GPU`. `jobs_table` is empty if
    jobs are not claimed, as by first-generation workers; `job_role` is empty if the worker's own credentials read and
    write files. `lease_seconds`, 3 to 3600, bounds how long a vanished worker holds a job; cancelling stops an encoder
    within a sixth of it. `sandbox` says how far the kernel must isolate programs that read users' files: `auto` (as far
    as it can), `required` (completely, or the worker does not start) or `off`.
    `parts_bucket` is the bucket for results of parts, empty if the worker divides no job, and `divide_seconds` for how
    long one worker may be busy with a job before that is divided. `chunk_seconds` is the length of a film's longest
    chunk. Without `reuse` the worker does every job, and remembers nothing.
    `kubernetes` is the URL of the Kubernetes API; it and `namespace` are empty outside Kubernetes.
    """

    kind: str
    core: str
    queue: str
    control_queue: str
    jobs_table: str
    lease_seconds: float
    node: str
    pod: str
    ffmpeg: str
    ffprobe: str
    limits: JobLimits = JobLimits()
    packager: str = "packager"
    sandbox: str = "auto"
    job_role: str = ""
    parts_bucket: str = ""
    divide_seconds: float = 120.0
    chunk_seconds: float = 60.0
    reuse: bool = True
    kubernetes: str = ""
    namespace: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """The settings in an environment. Raises ConfigurationError."""
        faults = [
            f"{name} is not set" for name in ("WORKER_TYPE", "QUEUE_NAME", "CONTROL_PLANE") if not environ.get(name)
        ]
        kind, core = environ.get("WORKER_TYPE", "").lower(), environ.get("CORE", "CPU").upper()
        if kind and kind not in _KINDS:
            faults.append(f"WORKER_TYPE must be one of {', '.join(_KINDS)}, not {kind!r}")
        if core not in _CORES:
            faults.append(f"CORE must be one of {', '.join(_CORES)}, not {core!r}")
        lease = environ.get("LEASE_SECONDS", "30")
        if not (lease.isdigit() and 3 <= int(lease) <= 3600):
            faults.append(f"LEASE_SECONDS must be a whole number from 3 to 3600, not {lease!r}")
        sandbox = environ.get("SANDBOX") or "auto"
        if sandbox not in _SANDBOXES:
            faults.append(f"SANDBOX must be one of {', '.join(_SANDBOXES)}, not {sandbox!r}")
        limits = JobLimits.read(environ, faults)
        role = environ.get("JOB_ROLE", "")
        if role and not _ROLE.fullmatch(role):
            faults.append(f"JOB_ROLE must be the ARN of an IAM role, not {role!r}")
        divide = environ.get("DIVIDE_SECONDS", "120")
        if not (divide.isdigit() and int(divide) <= _DAY_SECONDS):
            faults.append(f"DIVIDE_SECONDS must be a whole number from 0 to {_DAY_SECONDS}, not {divide!r}")
        chunk = environ.get("CHUNK_SECONDS", "60")
        if not (chunk.isdigit() and 1 <= int(chunk) <= _MOST_CHUNK_SECONDS):
            faults.append(f"CHUNK_SECONDS must be a whole number from 1 to {_MOST_CHUNK_SECONDS}, not {chunk!r}")
        reuse = environ.get("REUSE") or "on"
        if reuse not in ("on", "off"):
            faults.append(f"REUSE must be on or off, not {reuse!r}")
        bucket = environ.get("PARTS_BUCKET", "")
        if bucket and not _BUCKET.fullmatch(bucket):
            faults.append(f"PARTS_BUCKET must be the name of a bucket, not {bucket!r}")
        if role and not environ.get("JOBS_TABLE"):
            faults.append("JOB_ROLE needs JOBS_TABLE, whose records name the owner of each job")
        if faults:
            raise ConfigurationError("; ".join(faults))
        host = socket.gethostname()
        return cls(
            kind=kind,
            core=core,
            queue=environ["QUEUE_NAME"],
            control_queue=environ["CONTROL_PLANE"],
            jobs_table=environ.get("JOBS_TABLE", ""),
            lease_seconds=float(lease),
            node=environ.get("NODE_NAME", host),
            pod=environ.get("POD_NAME", host),
            ffmpeg=environ.get("FFMPEG", "ffmpeg"),
            ffprobe=environ.get("FFPROBE", "ffprobe"),
            packager=environ.get("PACKAGER", "packager"),
            limits=limits,
            sandbox=sandbox,
            job_role=role,
            parts_bucket=bucket,
            divide_seconds=float(divide),
            chunk_seconds=float(chunk),
            reuse=reuse == "on",
            kubernetes=_kubernetes(environ),
            namespace=environ.get("POD_NAMESPACE", ""),
        )


def _kubernetes(environ: Mapping[str, str]) -> str:
    """The URL of the Kubernetes API, from the variables that Kubernetes gives to every container; empty elsewhere."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    return host and f"https://{f'[{host}]' if ':' in host else host}:{port}"
