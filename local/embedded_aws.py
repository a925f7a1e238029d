"""`python -m local.embedded_aws`: start the embedded AWS on the state it left.

The streams of tables begin anew, with the records that functions have not read (`ministack_streams`). The positions of
before, which ministack keeps with the functions, would let them miss records, and are removed before the start.

ministack runs EKS clusters in containers. So the cluster is not created through its API but written into its state,
with the address and the authority of the stand-in (`local.cluster`).
"""

import base64
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from local.place import ACCOUNT, CLUSTER_NAME, REGION, ROOT, TOOLS

_EKS_FORMAT = 3
_OURS = {"PYTHONPATH", "K8S_PORT", "K8S_AUTHORITY", "PATCHES"}


def forget_stream_positions(state: Path) -> None:
    """Remove the positions, so that functions read the streams from the beginning."""
    kept = state / "lambda.json"
    if not kept.exists():
        return
    content = json.loads(kept.read_text())
    content["payload"]["dynamodb_stream_positions"]["data"] = {}
    _write(kept, content)


def know_cluster(state: Path, port: int, authority: bytes) -> None:
    """Write the cluster into the state of EKS, or update its address and authority there."""
    kept = state / "eks.json"
    content: dict[str, Any] = {
        "__ministack_format__": _EKS_FORMAT,
        "payload": {
            "clusters": {"__account_region_scoped__": True, "data": {}},
            "tags": {"__scoped__": True, "data": {}},
        },
    }
    if kept.exists():
        content = json.loads(kept.read_text())
    clusters, tags = (content["payload"][name]["data"] for name in ("clusters", "tags"))
    key = f"{ACCOUNT}\0{REGION}\0{CLUSTER_NAME!r}"
    if key not in clusters:
        arn = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{CLUSTER_NAME}"
        clusters[key] = {
            "name": CLUSTER_NAME,
            "arn": arn,
            "createdAt": int(time.time()),
            "version": "1.34",
            "status": "ACTIVE",
            "roleArn": f"arn:aws:iam::{ACCOUNT}:role/eks",
            "resourcesVpcConfig": {"endpointPublicAccess": True, "endpointPrivateAccess": False},
            "accessConfig": {"authenticationMode": "API"},
            "tags": {"elasticrecode": "enable"},
        }
        tags[f"{ACCOUNT}\0{arn!r}"] = clusters[key]["tags"]
    # ministack derives the endpoint from `_port` when it starts.
    clusters[key] |= {"_port": port, "certificateAuthority": {"data": base64.b64encode(authority).decode()}}
    _write(kept, content)


def _write(kept: Path, content: dict[str, Any]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    written = kept.with_suffix(".new")
    written.write_text(json.dumps(content))
    written.replace(kept)


if __name__ == "__main__":
    state, unpacked = Path(os.environ["STATE_DIR"]), Path(os.environ["TMPDIR"])
    shutil.rmtree(unpacked, ignore_errors=True)  # unpacked functions that a killed process left
    unpacked.mkdir(parents=True)
    forget_stream_positions(state)
    know_cluster(state, int(os.environ["K8S_PORT"]), Path(os.environ["K8S_AUTHORITY"]).read_bytes())
    program = str(TOOLS / "aws" / "bin" / "python")
    # Functions inherit this environment; they must import from their layers only.
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    os.execve(program, [program, str(ROOT / "local" / "ministack_patched.py"), *sys.argv[1:]], environment)
