"""Sources of every kind with ladders of every kind: no rule is broken, and the parsers of peers read it all."""

from pathlib import Path

import m3u8
import pytest
from mpegdash.parser import MPEGDASHParser

from tests.packages.check import check, table
from tests.packages.combinations import COMBINATIONS, Combination, package, read_by_peers
from tests.packages.package import Package
from tests.packages.sample import KEY
from tests.packaging.ladders import AES, build, languages
from tests.packaging.ladders import rungs as ladder

SAMPLE = {"60 Hz", "HDR10, H.265", "encrypted H.264", "subtitles, forced and for the deaf"}
"""What `make test` runs."""
GIVEN = {
    "iframes-dense": "without a rung of key frames alone, a playlist of them shows one each two seconds",
    "two-at-the-top": "the top size of a small source has one recommended rung",
    "segments-6-s": "segmentSeconds is the choice of the request",
    "target-6-s": "segmentSeconds is the choice of the request, and a clip may be shorter",
}
"""Recommendations that a package may leave, and why."""


def test_there_are_enough_combinations() -> None:
    assert len(COMBINATIONS) >= 24
    assert len({combination.name for combination in COMBINATIONS}) == len(COMBINATIONS)
    assert {combination.name for combination in COMBINATIONS} >= SAMPLE


@pytest.mark.parametrize(
    "combination",
    [pytest.param(one, id=one.name, marks=[] if one.name in SAMPLE else pytest.mark.full) for one in COMBINATIONS],
)
def test_a_package_of_any_source_breaks_no_rule(combination: Combination, tmp_path: Path) -> None:
    folder = package(combination, tmp_path)
    made = Package(folder, key=KEY if "encryption" in combination.package else None)
    rows = check(made)
    failed = {row.rule.name for row in rows if row.verdict == "FAIL"}
    missed = {row.rule.name for row in rows if row.verdict == "miss"}
    assert failed == set(), table(rows)
    assert missed <= set(GIVEN), table(rows)
    assert len(m3u8.load(str(folder / "master.m3u8")).playlists) == len(made.variants) > 0
    assert MPEGDASHParser.parse((folder / "manifest.mpd").read_text()).periods
    read = read_by_peers(folder)
    for playlist, _ in made.media:
        assert read["playlists"][playlist.name] == [float(segment.duration) for segment in playlist.segments]
    assert read["dash"]["video"] == len(made.video)
    assert read["dash"]["duration"] == pytest.approx(float(made.duration), abs=0.001)


def test_playlists_of_whole_encrypted_segments_break_no_rule(tmp_path: Path) -> None:
    """Their boxes are ciphertext: what is left to check are the playlists."""
    built = build([*ladder(), *languages()], tmp_path, formats=["hls"], encryption=AES)
    made = Package(built.root, key=AES.key)
    rows = check(made)
    assert {row.rule.name for row in rows if row.verdict == "FAIL"} == set(), table(rows)
    assert {"no-key-in-clear", "target-covers", "hls-version", "names-unique"} <= {row.rule.name for row in rows}
    assert made.is_encrypted
