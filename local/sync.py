"""`make sync`: put changed functions and core modules into the running stack without deploying it.

A changed file of `functions/X` updates the code of that function. A changed file of the core publishes one version of
the core layer and attaches it to every function. Every other change needs `make up`, and so does a change of the core
that reaches the template, such as a new setting. Workers load the core when they start; `make down up` restarts them.

CloudFormation does not know of these updates, so a later `make up` repeats them.
"""

import io
import json
import py_compile
import re
import tempfile
import time
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

from infra import options
from local import aws, sources
from local.deployment import step
from local.place import ROOT, LocalError, Place
from local.processes import Supervisor

CORE = "layers/core"
_PART = re.compile(r"(functions/[^/]+|layers/core)/")
_SHOWN = 3
_AT_ONCE = 8


class Synced:
    """The parts that are ahead of CloudFormation, and the files they were updated from."""

    def __init__(self, place: Place) -> None:
        self._path = place.state / "synced.json"
        kept = json.loads(self._path.read_text()) if self._path.exists() else {"parts": [], "files": {}}
        self.parts: list[str] = kept["parts"]
        self.files: dict[str, str] = kept["files"]

    def over(self, deployed: Mapping[str, str]) -> dict[str, str]:
        """The files that run, given those of the deployment."""
        return {path: digest for path, digest in deployed.items() if _part(path) not in self.parts} | self.files

    def note(self, parts: list[str], files: Mapping[str, str]) -> None:
        """Note that parts have been updated from these files."""
        updated = {path: digest for path, digest in files.items() if _part(path) in parts}
        self.files = {path: digest for path, digest in self.files.items() if _part(path) not in parts} | updated
        self.parts = sorted({*self.parts, *parts})
        self._path.write_text(json.dumps({"parts": self.parts, "files": self.files}, indent=0))


class _Functions:
    """The deployed functions and the core layer, through the API of the embedded AWS."""

    def __init__(self, place: Place) -> None:
        self._lambda = aws.client(place, "lambda")
        context = json.loads((ROOT / "cdk.json").read_text())["context"]
        self._options = options.read({**context, **place.options()})
        self._assets = place.state / "cdk.out"
        template = json.loads((self._assets / f"{self._options.stackName}.template.json").read_text())
        resources = aws.client(place, "cloudformation").describe_stack_resources(StackName=self._options.stackName)[
            "StackResources"
        ]
        self._resources: dict[str, tuple[str, str]] = {}
        """Part → the physical id of its function or layer, and the folder of the asset it was deployed from."""
        for resource in resources:
            metadata = template["Resources"].get(resource["LogicalResourceId"], {}).get("Metadata", {})
            name = metadata.get("aws:cdk:path", "//").split("/")[-2].lower()
            if resource["ResourceType"] in ("AWS::Lambda::Function", "AWS::Lambda::LayerVersion"):
                kind = "functions" if resource["ResourceType"].endswith("Function") else "layers"
                self._resources[f"{kind}/{name}"] = (resource["PhysicalResourceId"], metadata.get("aws:asset:path", ""))

    def __contains__(self, part: str) -> bool:
        return part in self._resources

    def update(self, part: str, root: Path) -> None:
        """Update a function's code, or the core layer of all functions, from the files below `root`."""
        id_, asset = self._resources[part]
        if part != CORE:
            # The asset may hold generated files, which stay.
            code = _zipped(_files(self._assets / asset) | _files(root / part))
            self._lambda.update_function_code(FunctionName=id_, ZipFile=code)
            return
        layer = id_.rpartition(":")[0]
        content = {"ZipFile": _core(root / CORE / "python", self._assets / asset / "python")}
        version = self._lambda.publish_layer_version(
            LayerName=layer.rpartition(":")[2], Content=content, CompatibleRuntimes=[self._options.lambdaRuntime]
        )["LayerVersionArn"]

        def attach(function: dict[str, Any]) -> None:
            arns = [attached["Arn"] for attached in function.get("Layers", ())]
            replaced = [version if arn.rpartition(":")[0] == layer else arn for arn in arns]
            if replaced != arns:
                self._lambda.update_function_configuration(FunctionName=function["FunctionName"], Layers=replaced)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(attach, self._lambda.get_paginator("list_functions").paginate().search("Functions")))


def sync(place: Place, supervisor: Supervisor, root: Path = ROOT) -> list[str]:
    """Update the parts that have changed below `root`, and return them: `functions/logs`, `layers/core`.

    LocalError, before anything is updated, when nothing runs or a change needs `make up`.
    """
    place.stack()
    deployed, now, synced = sources.deployed(place), sources.read(place, root), Synced(place)
    if deployed is None or not supervisor.running():
        raise LocalError(f"Nothing runs in {place.state}; run `make up`.")
    changed = [path for path in sources.changed(synced.over(deployed), now) if path != sources.COMMIT]
    if not changed:
        return []
    functions = _Functions(place)
    beyond = [path for path in changed if _part(path) not in functions or not (root / _part(path)).is_dir()]
    if beyond:
        named = ", ".join(beyond[:_SHOWN]) + (" and others" if len(beyond) > _SHOWN else "")
        raise LocalError(f"The stack itself has changed since the last `make up` ({named}); run `make up`.")
    parts = sorted({_part(path) for path in changed})
    for part in reversed(parts):  # the core first, as it may not compile
        functions.update(part, root)
    synced.note(parts, now)
    return parts


def restore(place: Place, *, deployed: bool) -> None:
    """Sync the parts again that were synced before, when the stack was deployed or their files have changed."""
    synced, now = Synced(place), sources.read(place)
    today = {path: digest for path, digest in now.items() if _part(path) in synced.parts}
    if not synced.parts or not (deployed or today != synced.files):
        return
    with step("Repeating earlier syncs"):
        functions = _Functions(place)
        for part in synced.parts:
            if part in functions:
                functions.update(part, ROOT)
        synced.note(synced.parts, now)


def report(place: Place, supervisor: Supervisor) -> None:
    """Sync, and print the updated parts and the time it took."""
    started = time.monotonic()
    parts = sync(place, supervisor)
    seconds = time.monotonic() - started
    print(f"Synced {', '.join(parts)} in {seconds:.1f} s." if parts else "Nothing has changed since the last sync.")
    if CORE in parts:
        print("If the change reaches the template (a setting, a route, a table), run `make up` too.")


def _part(path: str) -> str:
    """The function or layer that a file belongs to; "" for a file of the stack itself."""
    part = _PART.match(path)
    return part[1] if part else ""


def _files(folder: Path) -> dict[str, bytes]:
    """Path below the folder → content, bytecode left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _core(source: Path, deployed: Path) -> bytes:
    """The core as a layer with bytecode, which is compiled for those modules alone that differ from the deployed."""
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in _files(source).items():
            bytecode = Path(cache_from_source(name))
            before = deployed / name
            if before.exists() and before.read_bytes() == content and (deployed / bytecode).exists():
                compiled = deployed / bytecode
            else:
                compiled = Path(folder, "module.pyc")
                mode = PycInvalidationMode.UNCHECKED_HASH
                try:
                    py_compile.compile(
                        str(source / name), str(compiled), f"/opt/python/{name}", doraise=True, invalidation_mode=mode
                    )
                except py_compile.PyCompileError as error:
                    raise LocalError(f"{source / name} does not compile; nothing was synced.\n{error.msg}") from error
            files |= {f"python/{name}": content, f"python/{bytecode}": compiled.read_bytes()}
    return _zipped(files)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    archived = io.BytesIO()
    with zipfile.ZipFile(archived, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return archived.getvalue()
