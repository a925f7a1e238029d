"""Where the embedded mode keeps what it keeps, and on which ports it listens."""

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
"""What is put there in the media bucket becomes a job here."""

_NUMBERS = {
    "PORT": (8080, 1, 65535),
    "AWS_PORT": (4566, 1, 65535),
    "K8S_PORT": (17443, 1, 65535),
    "WORKERS": (1, 0, 64),
    "LEASE_SECONDS": (30, 3, 3600),
}
"""Variable → its default, the least and the most it may be."""
_WORDS = {"IAM": ("open", "enforced"), "AUTH": ("none", "cognito")}
"""Variable → the words it may be, its default first."""


class LocalError(Exception):
    """One sentence for the person at the terminal, and the log that says more."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log


class Place(NamedTuple):
    """One embedded environment: its folder, its ports, its workers of each kind and their lease, and who may do what.

    With `iam` "enforced" each function and worker may do what its role says, with "open" anything. `auth` is how
    callers prove who they are.
    """

    state: Path
    port: int
    aws_port: int
    k8s_port: int
    workers: int
    lease_seconds: int
    iam: str
    auth: str

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """From LOCAL_DIR and the variables of `_NUMBERS` and `_WORDS`. LocalError when one of them can't be."""
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
        """Make the folder, for its owner alone: what the embedded AWS keeps in it has passwords and keys."""
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            self.state.chmod(0o700)
        except OSError as error:
            raise LocalError(f"{self.state} can't be a folder of yours alone: {error.strerror}.") from error

    @property
    def chosen(self) -> str:
        """What `make` must be told to find the folder, when it is not the usual one."""
        return "" if self.state == ROOT / _FOLDER else f" LOCAL_DIR={shlex.quote(str(self.state))}"

    @property
    def logs(self) -> Path:
        """One file for each process, and `deploy.log`."""
        return self.state / "logs"

    @property
    def scratch(self) -> Path:
        """Where workers keep the files of a job while they work on it."""
        return self.state / "scratch"

    @property
    def functions(self) -> Path:
        """Where the embedded AWS unpacks the functions that it runs."""
        return self.state / "functions"

    @property
    def url(self) -> str:
        """The product's one origin."""
        return f"http://localhost:{self.port}"

    @property
    def aws_url(self) -> str:
        """The embedded AWS."""
        return f"http://localhost:{self.aws_port}"

    @property
    def kubernetes_url(self) -> str:
        """The stand-in for an EKS cluster."""
        return f"https://localhost:{self.k8s_port}"

    @property
    def cluster(self) -> Path:
        """What that one keeps: certificates, and who its administrator is."""
        return self.state / "cluster"

    @property
    def cluster_authority(self) -> Path:
        """The certificate of the authority that signed the cluster's."""
        return self.cluster / "ca.pem"

    @property
    def cluster_certificate(self) -> Path:
        """The certificate that the cluster shows, with its key."""
        return self.cluster / "server.pem"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl, as an administrator."""
        return self.cluster / "kubeconfig"

    @property
    def users(self) -> Path:
        """Names and passwords of the users of this machine."""
        return self.state / "users.json"

    @property
    def worker_profile(self) -> Path:
        """For SDKs, whose profile `worker` has the rights of workers."""
        return self.state / "worker.config"

    @property
    def stack_file(self) -> Path:
        """What was deployed, one flat object."""
        return self.state / "stack.json"

    def stack(self) -> dict[str, str]:
        """What was deployed. LocalError when nothing was."""
        try:
            found: dict[str, str] = json.loads(self.stack_file.read_text())
        except FileNotFoundError:
            raise LocalError(f"Nothing is deployed in {self.state}; run `make up`.") from None
        return found

    def aws_environment(self) -> dict[str, str]:
        """What SDKs and the CDK CLI need to reach the embedded AWS as its account's root."""
        return {
            **self._reach(),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
        }

    def worker_environment(self) -> dict[str, str]:
        """What SDKs need to reach it as a worker."""
        return {**self._reach(), "AWS_CONFIG_FILE": str(self.worker_profile), "AWS_PROFILE": "worker"}

    def _reach(self) -> dict[str, str]:
        """The way to the embedded AWS, and nothing of the user's own account."""
        return {
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def options(self) -> dict[str, str]:
        """The deployment options that make the stack fit this machine."""
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
            "drops": json.dumps([_DROP]),
            "webhookNetworks": "127.0.0.0/8,::1/128",
        }
