"""The home page's libraries are those that package-lock.json pins, and their list says so."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from local.place import ROOT

VENDOR = ROOT / "web" / "static" / "vendor"
README = VENDOR / "README.md"
BUNDLED = ("preact", "htm", "@preact/signals", "@tanstack/virtual-core", "uplot")
PACKAGES = ROOT / "node_modules"
needs_packages = pytest.mark.skipif(
    not (PACKAGES / "preact").exists(), reason="npm ci has not run: `make quick` needs no npm"
)


@needs_packages
def test_the_bundle_is_what_its_sources_give(tmp_path: Path) -> None:
    bundle = tmp_path / "libraries.js"
    script = json.loads((ROOT / "package.json").read_text())["scripts"]["libraries"]
    command = script.replace("web/static/vendor/libraries.js", str(bundle)).split()
    subprocess.run([str(PACKAGES / ".bin" / command[0]), *command[1:]], check=True, cwd=ROOT, capture_output=True)
    assert bundle.read_text() == (VENDOR / "libraries.js").read_text(), "run npm run libraries"


@needs_packages
@pytest.mark.parametrize(
    ("copy", "package", "file"),
    [("hls.min.js", "hls.js", "dist/hls.min.mjs"), ("uPlot.min.css", "uplot", "dist/uPlot.min.css")],
)
def test_copies_are_unchanged(copy: str, package: str, file: str) -> None:
    assert (VENDOR / copy).read_bytes() == (PACKAGES / package / file).read_bytes()


@pytest.mark.parametrize("file", ["libraries.js", "hls.min.js", "uPlot.min.css"])
def test_the_list_has_each_file_with_its_hash(file: str) -> None:
    assert hashlib.sha256((VENDOR / file).read_bytes()).hexdigest() in README.read_text()


@pytest.mark.parametrize("package", [*BUNDLED, "hls.js"])
def test_the_list_has_each_package_with_its_version(package: str) -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())["packages"][f"node_modules/{package}"]
    assert f"{package} {lock['version']}" in README.read_text()
    assert lock["license"] in README.read_text()


def test_the_list_has_no_other_file() -> None:
    assert {each.name for each in VENDOR.iterdir()} == {"README.md", "libraries.js", "hls.min.js", "uPlot.min.css"}
