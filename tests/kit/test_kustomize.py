"""The manifests as kustomize renders them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kit.manifests import KIT, Json, files, leaves, objects, rendered, settings

VALUES = {"account": "999988887777", "region": "eu-west-1", "version": "2.3.4"}
VALUES["jobRole"] = f"arn:aws:iam::{VALUES['account']}:role/mine"
VALUES["partsBucket"] = "parts-of-mine"


def by_name(items: list[Json]) -> dict[str, Json]:
    named = {f"{item['kind']}/{item['metadata']['name']}": item for item in items}
    assert len(named) == len(items)
    return named


def test_manifests_have_the_default_settings() -> None:
    folders = [KIT, *(KIT / name for name in ("workers", "discovery"))]
    plain = [item for path in files() if path.parent in folders for item in objects(path)]
    assert by_name(rendered(settings())) == by_name(plain)


def test_settings_replace_every_value_of_the_example_account() -> None:
    left = {
        path: value
        for item in rendered(VALUES)
        for path, value in leaves(item)
        if any(old in str(value) for old in settings().values())
    }
    assert left == {}
    assert set(settings()) == set(VALUES)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_renders_the_same_objects(tmp_path: Path) -> None:
    folder = shutil.copytree(KIT, tmp_path / "k8s")
    (folder / "settings.env").write_text("".join(f"{key}={value}\n" for key, value in VALUES.items()))
    for part in ("", "discovery"):
        output = subprocess.run(
            ["kubectl", "kustomize", str(folder / part)], check=True, capture_output=True, text=True
        ).stdout
        assert by_name(list(yaml.safe_load_all(output))) == by_name(rendered(VALUES, KIT / part))
