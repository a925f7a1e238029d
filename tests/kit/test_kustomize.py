"""What kustomize makes of the kit."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kit.manifests import KIT, Json, files, leaves, rendered, settings, whole

MINE = {"account": "999988887777", "region": "eu-west-1", "version": "2.3.4"}
MINE["jobRole"] = f"arn:aws:iam::{MINE['account']}:role/mine"


def by_name(items: list[Json]) -> dict[str, Json]:
    found = {f"{item['kind']}/{item['metadata']['name']}": item for item in items}
    assert len(found) == len(items)
    return found


def test_manifests_say_the_same_as_the_settings_beside_them() -> None:
    folders = [KIT, *(KIT / name for name in ("workers", "discovery"))]
    plain = [item for path in files() if path.parent in folders for item in whole(path)]
    assert by_name(rendered(settings())) == by_name(plain)


def test_an_account_is_named_in_one_place() -> None:
    left = {
        path: value
        for item in rendered(MINE)
        for path, value in leaves(item)
        if any(old in str(value) for old in settings().values())
    }
    assert left == {}
    assert set(settings()) == set(MINE)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_makes_the_same(tmp_path: Path) -> None:
    folder = shutil.copytree(KIT, tmp_path / "k8s")
    (folder / "settings.env").write_text("".join(f"{key}={value}\n" for key, value in MINE.items()))
    for part in ("", "discovery"):
        made = subprocess.run(
            ["kubectl", "kustomize", str(folder / part)], check=True, capture_output=True, text=True
        ).stdout
        assert by_name(list(yaml.safe_load_all(made))) == by_name(rendered(MINE, KIT / part))
