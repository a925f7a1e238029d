"""The hook that holds commit messages to a short subject and a body."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def check(message: str, folder: Path) -> tuple[int, str]:
    """The hook's exit status and its words."""
    file = folder / "COMMIT_EDITMSG"
    file.write_text(message)
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "commit_message.py", file], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "message",
    [
        f"{'x' * 72}\n\nBecause.\n# a comment of git\n",
        "\n\nA subject\n\nBecause.\n",
        "Merge branch 'main'\n",
        "fixup! A subject\n",
    ],
)
def test_a_short_subject_with_a_body_is_taken(message: str, tmp_path: Path) -> None:
    assert check(message, tmp_path) == (0, "")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"{'x' * 73}\n\nBecause.\n", "The subject has 73 characters; it may have 72."),
        ("A subject\n", "The body is missing"),
        ("A subject\n\n# a comment of git\n", "The body is missing"),
        ("A subject\nBecause.\n", "The second line must be empty"),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused_with_the_reason(message: str, reason: str, tmp_path: Path) -> None:
    status, output = check(message, tmp_path)
    assert status == 1
    assert reason in output
