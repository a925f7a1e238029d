"""A whole release in a clone: commits, tag, artefacts, and none of them where something is wrong."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from release import version
from release.history import releases
from tests.conftest import ROOT

CHANGE = "- A change that only this test knows.\n"
pytestmark = pytest.mark.timeout(600)


class Clone:
    """A clone of this checkout with its tools, and what git says there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        who = {f"GIT_{role}_{part}": f"a@b.{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
        self._environment = os.environ | who | {"PYTHONPATH": f"{folder / 'layers/core/python'}:{folder}"}

    def run(self, *command: str, status: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return (done.stderr if status else done.stdout).strip()

    def git(self, *words: str) -> str:
        return self.run("git", *words)

    def release(self, new: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", "release", new, status=status)

    def change(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        self.git("commit", "--quiet", "--all", "--message", "A change", "--message", "For a test.")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    if not (ROOT / ".git").exists():
        pytest.skip("this checkout has no history to make a release of")
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    clone = Clone(tmp_path / "clone")
    (clone.folder / ".build").mkdir()
    (ROOT / ".build" / "layers").mkdir(parents=True, exist_ok=True)
    for name in (".tools", "node_modules", ".build/layers"):
        (clone.folder / name).symlink_to((ROOT / name).resolve())
    clone.change("CHANGELOG.md", "## Unreleased\n", f"## Unreleased\n\n### Added\n\n{CHANGE}")
    return clone


def test_a_release_is_two_commits_a_tag_and_artefacts(clone: Clone) -> None:
    before = clone.git("rev-parse", "HEAD")
    said = clone.release("9.8.7")
    commit = clone.git("rev-parse", "v9.8.7^{commit}")
    assert clone.git("rev-list", f"{before}..HEAD").split()[1:] == [commit]
    assert clone.git("status", "--porcelain", "--untracked-files=no") == ""
    assert set(version.repeated(clone.folder).values()) == {"9.8.7"}
    assert json.loads((clone.folder / "docs/openapi.json").read_text())["info"]["version"] == "9.8.7"
    assert [(str(each.version), each.commit) for each in releases(clone.folder)][-1] == ("9.8.7", commit)
    head, _, rest = (clone.folder / "CHANGELOG.md").read_text().partition("## 9.8.7\n")
    assert CHANGE not in head
    assert CHANGE in rest
    assert "git push --atomic origin HEAD v9.8.7" in said

    built = clone.folder / ".build" / "release" / "9.8.7"
    sums = dict(line.split("  ")[::-1] for line in (built / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        name: hashlib.sha256((built / name).read_bytes()).hexdigest()
        for name in (
            "elasticrecode-9.8.7-cloudformation.tar.gz",
            "elasticrecode-9.8.7-py3-none-any.whl",
            "elasticrecode-9.8.7.tar.gz",
            "elasticrecode-worker-9.8.7.tar.gz",
        )
    }
    with zipfile.ZipFile(built / "elasticrecode-9.8.7-py3-none-any.whl") as wheel:
        assert "Version: 9.8.7\n" in wheel.read("elasticrecode-9.8.7.dist-info/METADATA").decode()
        assert '"9.8.7"' in wheel.read("elasticrecode_client/version.py").decode()
    with tarfile.open(built / "elasticrecode-worker-9.8.7.tar.gz") as context:
        context.extractall(clone.folder / ".build" / "context", filter="data")
    an_image_can_be_built_and_reports(clone.folder / ".build" / "context" / "elasticrecode-worker-9.8.7", "9.8.7")
    with tarfile.open(built / "elasticrecode-9.8.7-cloudformation.tar.gz") as stack:
        names = [Path(name).relative_to("elasticrecode-9.8.7") for name in stack.getnames()]
    assert Path("ElasticRecode.template.json") in names
    assert Path("ElasticRecode.assets.json") in names


def an_image_can_be_built_and_reports(context: Path, expected: str) -> None:
    """Everything that the Dockerfile copies is there, and the worker of it has the version."""
    lines = (context / "worker" / "Dockerfile").read_text().splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    for name in copied:
        assert (context / name).exists(), name
    path = f"{context / 'layers/core/python'}:{context}"
    command = [sys.executable, "-m", "worker", "--version"]
    done = subprocess.run(command, cwd="/", env={"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout == f"elasticrecode {expected}\n"


def test_a_release_that_fails_leaves_the_checkout_as_it_was(clone: Clone) -> None:
    clone.git("rm", "--quiet", "client/pyproject.toml")
    clone.git("commit", "--quiet", "--message", "A client that cannot be built", "--message", "For a test.")
    before = clone.git("rev-parse", "HEAD")
    assert "client" in clone.release("9.8.7", status=1)
    assert clone.git("rev-parse", "HEAD") == before
    assert clone.git("status", "--porcelain", "--untracked-files=no") == ""
    assert clone.git("tag", "--list", "v9.8.7") == ""


def test_a_release_needs_a_clean_checkout_a_new_version_and_a_change(clone: Clone) -> None:
    newest = max(version.current(), releases()[-1].version)
    assert f"must be above {newest}" in clone.release(str(newest), status=1)
    assert "three numbers" in clone.release("9.8", status=1)
    clone.git("tag", "v9.8.7")
    assert "a tag v9.8.7 already" in clone.release("9.8.7", status=1)
    (clone.folder / "README.md").write_text("")
    assert "not committed" in clone.release("9.8.8", status=1)
    clone.git("checkout", "--quiet", "README.md")
    (clone.folder / "CHANGELOG.md").write_text("## Unreleased\n\n## 1.0.0\n\nThe first.\n")
    clone.git("commit", "--quiet", "--all", "--message", "Nothing new", "--message", "For a test.")
    assert "no change below Unreleased" in clone.release("9.8.8", status=1)
