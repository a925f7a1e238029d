"""What a worker finds by the rules of packages is what the checker finds, which shares no code with it."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.media.case import BUNNY, ffmpeg
from tests.packages.check import broken, check
from tests.packages.made import Package as MadePackage
from tests.packages.made import make_package
from tests.packages.package import Package
from tests.packages.rules import RULES
from worker.packaging.tracks import Encrypted

LADDER = [{"scale": "240p", "bitrate": "300K"}, {"scale": "240p", "bitrate": "150K", "frameRate": "25/2"}]
PROFILE = {"package": {"ladder": LADDER, "speed": "fast"}}
SECRET = Encrypted("cbcs", "https://keys.example/?token=hidden", bytes(range(16)), bytes(range(16, 32)))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return ffmpeg(tmp_path, "film.mp4", "-t", 5, "-i", BUNNY, "-c", "copy")


def findings(made: MadePackage) -> dict[str, bool]:
    """Each rule that the worker has checked, and whether nothing breaks it."""
    rules = [rule for rule in made.made.evidence.rules if rule.rule in RULES]
    return {rule.rule: all(each.passed for each in rules if each.rule == rule.rule) for rule in rules}


def test_the_worker_and_the_checker_agree(film: Path, tmp_path: Path) -> None:
    made = make_package(film, PROFILE, tmp_path / "made")
    mine = findings(made)
    assert len(mine) == 9
    wrong = broken(check(Package(made.folder)))
    assert mine == {rule: rule not in wrong for rule in mine}
    assert all(mine.values())


def test_no_record_of_an_encrypted_package_has_its_key(film: Path, tmp_path: Path) -> None:
    made = make_package(film, PROFILE, tmp_path / "made", SECRET)
    text = json.dumps(msgspec.to_builtins([made.steps, made.made.evidence.rules, made.made.evidence.rates]))
    assert "--protection_scheme=cbcs" in text
    assert not [word for word in (SECRET.key.hex(), SECRET.vector("0123456789").hex(), "hidden") if word in text]
