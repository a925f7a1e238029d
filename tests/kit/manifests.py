"""The manifests of deploy/k8s, as written and as kustomize renders them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from msgspec import structs

from infra.options import Options
from tests.conftest import ROOT

Json = dict[str, Any]

KIT = ROOT / "deploy" / "k8s"
DOC = ROOT / "docs" / "how-to" / "eks.md"
CONTEXT: Json = structs.asdict(Options())
"""The default deployment options."""


class Kind(NamedTuple):
    """A kind of worker as discovery sees it: queue, group, price model, and priorities from first to last."""

    queue: str
    group: str
    price: str = "normal"
    priority: tuple[int, int] = (0, 100)


WORKERS = {
    "cpu": Kind("ffmpeg_job", "cpu"),
    "gpu": Kind("ffmpeg_gpu", "gpu"),
    "vmaf": Kind("vmaf_job", "vmaf"),
    "spot": Kind("ffmpeg_spot", "cpu", "spot", (0, 66)),
}

# `rendered` implements only these parts of kustomize, so that tests do not need it.
_KEYS = {"apiVersion", "kind", "resources", "configMapGenerator", "replacements"}
_GENERATED: Json = {
    "name": "settings",
    "envs": ["settings.env"],
    "options": {"disableNameSuffixHash": True, "annotations": {"config.kubernetes.io/local-config": "true"}},
}
_ENTRY = re.compile(r"\[name=(\w+)\]")


def objects(path: Path) -> list[Json]:
    """The objects in a file."""
    return list(yaml.safe_load_all(path.read_text()))


def worker(kind: str, of: str = "Deployment") -> Json:
    """The Deployment of a kind of workers, or the object of another kind in its file."""
    (match,) = (item for item in objects(KIT / "workers" / f"{kind}.yaml") if item["kind"] == of)
    return match


def files() -> list[Path]:
    """The files with manifests."""
    return sorted(path for path in KIT.rglob("*.yaml") if path.name != "kustomization.yaml")


def settings() -> dict[str, str]:
    """The values in settings.env."""
    return dict(line.split("=", 1) for line in (KIT / "settings.env").read_text().split())


def rendered(values: Mapping[str, str], folder: Path = KIT) -> list[Json]:
    """The objects that `kubectl apply -k` applies if settings.env has these values."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(kustomization) <= _KEYS
    items: list[Json] = []
    for resource in kustomization["resources"]:
        path = folder / resource
        items += rendered(values, path) if path.is_dir() else objects(path)
    assert kustomization.get("configMapGenerator", [_GENERATED]) == [_GENERATED]
    for replacement in kustomization.get("replacements", []):
        source = replacement["source"]
        assert source == {"kind": "ConfigMap", "name": "settings", "fieldPath": source["fieldPath"]}
        for target in replacement["targets"]:
            _replace(items, target, values[source["fieldPath"].removeprefix("data.")])
    return items


def _replace(items: list[Json], target: Json, value: str) -> None:
    assert set(target) <= {"select", "fieldPaths", "options"}
    assert set(target["select"]) == {"kind"}
    options = target.get("options", {})
    assert set(options) in (set(), {"delimiter", "index"})
    for item in items:
        if item["kind"] != target["select"]["kind"]:
            continue
        for path in target["fieldPaths"]:
            parent, key = _locate(item, path)
            if options:
                parts = parent[key].split(options["delimiter"])
                parts[options["index"]] = value
                parent[key] = options["delimiter"].join(parts)
            else:
                parent[key] = value


def _locate(item: Any, path: str) -> tuple[Any, Any]:
    """The parent of the value at a kustomize field path, and its key."""
    *steps, last = path.split(".")
    for step in steps:
        entry = _ENTRY.fullmatch(step)
        if entry:
            (item,) = (member for member in item if member["name"] == entry[1])
        else:
            item = item[int(step) if step.isdigit() else step]
    return item, last


def leaves(thing: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar in an object with its path. The path has the name of a list entry, if it has one, else its index."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(thing, list):
        for number, value in enumerate(thing):
            name = value.get("name", number) if isinstance(value, dict) else number
            yield from leaves(value, f"{path}/{name}")
    else:
        yield path, thing
