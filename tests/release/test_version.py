"""One version: typed once, repeated where people copy a command, answered by each part of the product."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from elasticrecode import __version__
from release import changelog, history, version
from release.version import ROOT, ReleaseError, Version


def test_every_place_that_repeats_the_version_has_the_one_that_is_typed() -> None:
    assert set(version.repeated().values()) == {__version__}
    documents = [json.loads(path.read_text()) for path in (ROOT / "docs").glob("*api.json")]
    assert {document["info"]["version"] for document in documents} == {__version__}
    assert not re.search(r"(?m)^version = ", (ROOT / "pyproject.toml").read_text())


def test_a_worker_reports_it() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'layers/core/python'}:{ROOT}"}
    command = [sys.executable, "-m", "worker", "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"elasticrecode {__version__}\n"


def test_the_newest_release_is_not_above_the_version_and_has_a_section() -> None:
    released = history.releases()
    assert released == sorted(released)
    assert released[-1].version <= version.current()
    for each in released:
        assert changelog.section(str(each.version)), each
        assert re.fullmatch(r"[0-9a-f]{40}", each.commit), each


@pytest.mark.parametrize("text", ["1.2", "v1.2.3", "1.2.3-rc1", "01.2.3", "1.2.3 ", "1.2.3\n", "", "1.2.٣"])
def test_a_version_is_three_numbers(text: str) -> None:
    with pytest.raises(ReleaseError, match=r"three numbers such as 1\.2\.3"):
        Version.read(text)


def test_versions_are_ordered_as_numbers() -> None:
    assert Version.read("1.10.0") > Version.read("1.9.9")


def test_a_place_that_lost_its_version_or_got_a_second_is_named(tmp_path: Path) -> None:
    for name in version.repeated():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    version.write(Version(1, 2, 3), tmp_path)
    assert set(version.repeated(tmp_path).values()) == {"1.2.3"}
    settings = tmp_path / "deploy/k8s/settings.env"
    settings.write_text(settings.read_text() * 2)
    with pytest.raises(ReleaseError, match=r"settings\.env has the version 2 times"):
        version.repeated(tmp_path)
    settings.write_text("")
    with pytest.raises(ReleaseError, match=r"settings\.env has the version 0 times"):
        version.repeated(tmp_path)


def test_the_section_of_a_version_is_that_of_unreleased_changes(tmp_path: Path) -> None:
    file = tmp_path / "CHANGELOG.md"
    file.write_text("# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 1.0.0\n\nThe first.\n")
    changelog.close(Version(1, 1, 0), tmp_path)
    assert changelog.section("1.1.0", tmp_path) == "### Added\n\n- A thing."
    assert changelog.section("Unreleased", tmp_path) == ""
    with pytest.raises(ReleaseError, match=r"no change below Unreleased"):
        changelog.close(Version(1, 1, 1), tmp_path)
    with pytest.raises(ReleaseError, match=r"has a section 1\.0\.0"):
        changelog.close(Version(1, 0, 0), tmp_path)
