"""The processes of an environment, kept by supervisord."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from supervisor.xmlrpc import Faults, SupervisorTransport

from local.place import ROOT, TOOLS, LocalError, Place

AWS = "aws"
FRONT = "front"
CLUSTER = "cluster"
_STOP_SECONDS = 20
_START_SECONDS = 60
_DEAD = ("FATAL", "EXITED", "BACKOFF")


class Program(NamedTuple):
    """One process: its name, its command, and its environment in addition to supervisord's."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


class Supervisor:
    """Starts supervisord, and stops it with all its processes."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._conf = place.state / "supervisord.conf"
        # The path of a socket is limited to about 100 characters, which a checkout's may exceed.
        name = hashlib.sha256(str(place.state).encode()).hexdigest()[:16]
        self._socket = Path(tempfile.gettempdir(), f"elasticrecode-{os.getuid()}-{name}.sock")

    def running(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._ask("getState")["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def keep(self, programs: list[Program]) -> None:
        """Run exactly these programs: start missing ones, restart changed ones, leave the others alone."""
        for folder in (self._place.logs, self._place.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self._conf.write_text(self._configuration(programs))
        if not self.running():
            self._socket.unlink(missing_ok=True)
            subprocess.run(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._conf)],
                check=True,
                cwd=ROOT,
                # Its processes must not inherit the user's own AWS account.
                env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            )
            wait_for(self.running, _START_SECONDS, "supervisord did not start", self.log("supervisord"))
        subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self._conf), "update"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for program in programs:
            if self.state(program.name) not in ("RUNNING", "STARTING"):
                self._start(program.name)
        for program in programs:
            self.wait_until_running(program.name)

    def _start(self, name: str) -> None:
        """Start a process. LocalError when supervisord cannot; no error when it already has."""
        try:
            self._ask("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise LocalError(f"{name} cannot be started: {fault.faultString}.", self.log(name)) from fault

    def wait_until_running(self, name: str) -> None:
        """Wait until a process runs. LocalError when it ends."""

        def started() -> bool:
            state = self.state(name)
            if state in ("FATAL", "EXITED"):
                raise LocalError(f"{name} ended right after its start.", self.log(name))
            return state == "RUNNING"

        wait_for(started, _START_SECONDS, f"{name} did not start", self.log(name))

    def check(self, started: Mapping[str, int]) -> None:
        """LocalError when a process has died since it had the id in `started` (name → id)."""
        for name, pid in started.items():
            info = self._ask("getProcessInfo", name)
            if info["statename"] in _DEAD or info["pid"] != pid:
                raise LocalError(f"{name} died.", self.log(name))

    def pids(self) -> dict[str, int]:
        """Name → process id of the running processes."""
        return {info["name"]: info["pid"] for info in self._ask("getAllProcessInfo") if info["pid"]}

    def state(self, name: str) -> str:
        """The state of a process in supervisord's words, such as RUNNING or FATAL."""
        return str(self._ask("getProcessInfo", name)["statename"])

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self._place.logs / f"{name}.log"

    def end(self) -> None:
        """Stop all processes and supervisord, if it runs."""
        if not self.running():
            return
        pid, groups = self._ask("getPID"), self.pids().values()
        self._ask("shutdown")
        wait_for(lambda: not _alive(pid), 3 * _STOP_SECONDS, "supervisord did not end", self.log("supervisord"))
        for group in groups:  # functions outlive the embedded AWS that started them
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        shutil.rmtree(self._place.functions, ignore_errors=True)

    def _ask(self, method: str, *arguments: object) -> Any:
        """The result of one of supervisord's XML-RPC methods."""
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()

    def _configuration(self, programs: list[Program]) -> str:
        lines = [
            "[unix_http_server]",
            f"file={_escaped(str(self._socket))}",
            "chmod=0700",
            "[supervisord]",
            f"logfile={_escaped(str(self.log('supervisord')))}",
            f"pidfile={_escaped(str(self._place.state / 'supervisord.pid'))}",
            f"directory={_escaped(str(ROOT))}",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            f"serverurl=unix://{_escaped(str(self._socket))}",
        ]
        for program in programs:
            environment = ",".join(f'{name}="{_escaped(value)}"' for name, value in program.environment.items())
            lines += [
                f"[program:{program.name}]",
                "command=" + " ".join(f'"{_escaped(word)}"' for word in program.command),
                f"environment={environment}",
                f"directory={_escaped(str(ROOT))}",  # supervisord's own may be that of another checkout
                f"stdout_logfile={_escaped(str(self.log(program.name)))}",
                "redirect_stderr=true",
                "stopsignal=TERM",
                f"stopwaitsecs={_STOP_SECONDS}",
                "stopasgroup=false",
                "killasgroup=true",
                "autorestart=true",
                "startsecs=1",
                "startretries=2",
            ]
        return "\n".join(lines) + "\n"


def programs(place: Place, stack: Mapping[str, str] | None, *, deploying: bool = False) -> list[Program]:
    """The programs of an environment: the embedded AWS, and with a deployed `stack` front door, cluster and workers.

    IAM is not enforced while the CDK CLI deploys, as the CLI could not publish its assets then.
    """
    python = {"PYTHONPATH": f"{ROOT / 'layers' / 'core' / 'python'}:{ROOT}", "PYTHONUNBUFFERED": "1"}
    aws = Program(
        AWS,
        (sys.executable, "-m", "local.embedded_aws"),
        {
            **python,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(place.aws_port),
            "AUTH": "true" if place.iam == "enforced" and not deploying else "false",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(place.state / "aws"),
            "TMPDIR": str(place.functions),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(place.state / "s3"),
            "LAMBDA_WARM_TTL_SECONDS": "3600",
            "K8S_PORT": str(place.k8s_port),
            "K8S_AUTHORITY": str(place.cluster_authority),
            "PATCHES": _patches(),
        },
    )
    if stack is None:
        return [aws]
    here = {
        "PORT": str(place.port),
        "AWS_PORT": str(place.aws_port),
        "K8S_PORT": str(place.k8s_port),
        "LOCAL_DIR": str(place.state),
    }
    front = Program(FRONT, (sys.executable, "-m", "local.front"), {**python, **here})
    fleet = {"WORKERS": str(place.workers)}
    cluster = Program(CLUSTER, (sys.executable, "-m", "local.cluster"), {**python, **here, **fleet})
    worker = {
        **python,
        **place.worker_environment(),
        "PATH": f"{TOOLS / 'bin'}:{os.defpath}",
        "TMPDIR": str(place.scratch),
        "CORE": "CPU",
        "CONTROL_PLANE": queue_name(stack["ControlQueue"]),
        "JOBS_TABLE": stack["JobsTable"],
        "JOB_ROLE": stack["JobRole"],
        "PARTS_BUCKET": stack["PartsBucket"],
        "LEASE_SECONDS": str(place.lease_seconds),
        "REUSE": place.reuse,
    }
    kinds = {"ffmpeg": queue_name(stack["CpuQueue"]), "vmaf": queue_name(stack["VmafQueue"])}
    workers = [
        Program(
            f"worker-{kind}-{n}",
            (sys.executable, "-m", "worker"),
            {**worker, "WORKER_TYPE": kind, "QUEUE_NAME": queue, "POD_NAME": f"worker-{kind}-{n}"},
        )
        for kind, queue in kinds.items()
        for n in range(place.workers)
    ]
    return [aws, front, cluster, *workers]


def refuse_busy_ports(place: Place) -> None:
    """LocalError when another program listens on one of the ports."""
    for name, port in (("PORT", place.port), ("AWS_PORT", place.aws_port), ("K8S_PORT", place.k8s_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                free = f"stop that program or choose another port with {name}=…"
                raise LocalError(f"Port {port} is used by another program; {free}") from None


def wait_for(condition: Callable[[], bool], seconds: float, otherwise: str, log: Path) -> None:
    """Wait until the condition holds. LocalError with the text `otherwise` after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise LocalError(f"{otherwise} within {seconds:.0f} s.", log)
        time.sleep(0.1)


def queue_name(url: str) -> str:
    """The name of the queue at a URL."""
    return url.rsplit("/", 1)[-1]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _patches() -> str:
    """A hash of the embedded AWS's patches: `make up` starts it anew when they have changed."""
    files = (
        path
        for name in ("ministack_*", "policy_patterns", "embedded_aws")
        for path in (ROOT / "local").glob(f"{name}.py")
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:32]
