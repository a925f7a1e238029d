"""An environment on one machine: its folder, ports and settings."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
REGION = "us-east-1"
ACCOUNT = "000000000000"
CLUSTER_NAME = "local"
_FOLDER = ".local"

_DROP = {
    "prefix": "drop/",
    "userid": "local",
    "output": "dropped/",
    "profile": {"ffmpeg": {"codec": "h264", "scale": "720p", "bitrate": "2M", "profile": "quality"}},
}
"""Objects below this prefix of the media bucket become jobs."""

_NUMBERS = {
    "PORT": (8080, 1, 65535),
    "AWS_PORT": (4566, 1, 65535),
    "K8S_PORT": (17443, 1, 65535),
    "WORKERS": (1, 0, 64),
    "LEASE_SECONDS": (30, 3, 3600),
}
"""Variable → default, minimum and maximum."""
_WORDS = {"IAM": ("open", "enforced"), "AUTH": ("none", "cognito"), "REUSE": ("on", "off")}
"""Variable → allowed words, the default first."""


class LocalError(Exception):
    """A failure, as a sentence for the user and the log with the details."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log


class Place(NamedTuple):
    """One environment: its folder, its ports, the number of workers of each kind, and their lease in seconds.

    With `iam` "enforced" functions and workers have the rights of their roles, with "open" all rights. `auth` is how
    callers of the API authenticate. With `reuse` "off" workers do every job, though outputs could be copied.
    """

    state: Path
    port: int
    aws_port: int
    k8s_port: int
    workers: int
    lease_seconds: int
    iam: str
    auth: str
    reuse: str

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """From LOCAL_DIR and the variables in `_NUMBERS` and `_WORDS`. LocalError when a value is not allowed."""
        chosen: dict[str, Any] = {}
        for name, (default, low, high) in _NUMBERS.items():
            text = environ.get(name) or str(default)
            if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
                raise LocalError(f"{name} must be a whole number from {low} to {high}, not {text!r}.")
            chosen[name.lower()] = int(text)
        ports = [name for name in _NUMBERS if name.endswith("PORT")]
        if len({chosen[name.lower()] for name in ports}) < len(ports):
            raise LocalError(f"{', '.join(ports[:-1])} and {ports[-1]} must be different.")
        for name, known in _WORDS.items():
            word = environ.get(name) or known[0]
            if word not in known:
                raise LocalError(f"{name} must be {' or '.join(known)}, not {word!r}.")
            chosen[name.lower()] = word
        return cls((ROOT / (environ.get("LOCAL_DIR") or _FOLDER)).absolute(), **chosen)

    def make(self) -> None:
        """Create the folder, readable by its owner alone, as the state of the embedded AWS holds passwords and keys."""
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            self.state.chmod(0o700)
        except OSError as error:
            raise LocalError(f"{self.state} cannot be created as a private folder: {error.strerror}.") from error

    @property
    def chosen(self) -> str:
        """The argument of `make` for this folder; empty for the default folder."""
        return "" if self.state == ROOT / _FOLDER else f" LOCAL_DIR={shlex.quote(str(self.state))}"

    @property
    def logs(self) -> Path:
        """The folder of logs: a file for each process, and `deploy.log`."""
        return self.state / "logs"

    @property
    def scratch(self) -> Path:
        """The folder of files that workers are working on."""
        return self.state / "scratch"

    @property
    def functions(self) -> Path:
        """The folder where the embedded AWS unpacks functions."""
        return self.state / "functions"

    @property
    def url(self) -> str:
        """The URL of the front door: home page, API and WebSocket."""
        return f"http://localhost:{self.port}"

    @property
    def aws_url(self) -> str:
        """The URL of the embedded AWS."""
        return f"http://localhost:{self.aws_port}"

    @property
    def kubernetes_url(self) -> str:
        """The URL of the stand-in for an EKS cluster."""
        return f"https://localhost:{self.k8s_port}"

    @property
    def cluster(self) -> Path:
        """The folder of the cluster's certificates and kubeconfig."""
        return self.state / "cluster"

    @property
    def cluster_authority(self) -> Path:
        """The certificate of the cluster's authority."""
        return self.cluster / "ca.pem"

    @property
    def cluster_certificate(self) -> Path:
        """The cluster's certificate with its key."""
        return self.cluster / "server.pem"

    @property
    def kubeconfig(self) -> Path:
        """The configuration of kubectl, with the administrator's token."""
        return self.cluster / "kubeconfig"

    @property
    def users(self) -> Path:
        """The file of names and passwords of the users."""
        return self.state / "users.json"

    @property
    def worker_profile(self) -> Path:
        """The configuration of SDKs, whose profile `worker` has the rights of workers."""
        return self.state / "worker.config"

    @property
    def stack_file(self) -> Path:
        """The file of the stack's outputs and this environment's addresses, one flat JSON object."""
        return self.state / "stack.json"

    def stack(self) -> dict[str, str]:
        """The content of the stack file. LocalError when nothing is deployed."""
        try:
            outputs: dict[str, str] = json.loads(self.stack_file.read_text())
        except FileNotFoundError:
            raise LocalError(f"Nothing is deployed in {self.state}; run `make up`.") from None
        return outputs

    def aws_environment(self) -> dict[str, str]:
        """The environment in which SDKs and the CDK CLI use the embedded AWS as the account's root."""
        return {
            **self._reach(),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
        }

    def worker_environment(self) -> dict[str, str]:
        """The environment in which SDKs use the embedded AWS as a worker."""
        return {**self._reach(), "AWS_CONFIG_FILE": str(self.worker_profile), "AWS_PROFILE": "worker"}

    def _reach(self) -> dict[str, str]:
        """The endpoint of the embedded AWS, without the user's own AWS account."""
        return {
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def options(self) -> dict[str, str]:
        """The deployment options for the embedded AWS and this machine's platform."""
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
        system = "apple-darwin" if sys.platform == "darwin" else "manylinux_2_28"
        return {
            "frontDoor": "none",
            "executeApi": f"{self.aws_url}/_aws/execute-api/{{apiId}}",
            "lambdaRuntime": python,
            "lambdaPlatform": f"{machine}-{system}",
            "discovery": "true",
            "clusters": CLUSTER_NAME,
            "accessEntries": "false",
            "auth": self.auth,
            "cognitoIdp": self.aws_url,
            "s3Url": self.aws_url,
            "drops": json.dumps([_DROP]),
            "webhookNetworks": "127.0.0.0/8,::1/128",
        }
