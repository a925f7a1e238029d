"""The documentation, built once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build without warnings, as `make docs` makes it."""
    folder = tmp_path_factory.mktemp("docs")
    options = ("-W", "--keep-going", "-n", "-q", "-b", "html", "-c", "docs", ".")
    command = [sys.executable, "-m", "sphinx", *options, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder
