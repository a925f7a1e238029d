"""Packages of sources whose tracks do not begin or end together: all come out equally long, beside each other."""

import subprocess
from pathlib import Path

import pytest

from tests.media.case import FFPROBE, about, ffmpeg
from tests.packages.made import Package, make_package

LADDER = [{"scale": "240p", "bitrate": "300K"}, {"scale": "240p", "bitrate": "100K", "frameRate": "15"}]
PROFILE = {"package": {"ladder": LADDER, "speed": "fast"}}
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus")
SOURCES = {
    "sound longer, MP4": ("a.mp4", 0.0, 5.0, H264, 5.0),
    "sound longer, Matroska": ("a.mkv", 0.0, 5.0, H264, 5.0),
    "sound longer, FLV": ("a.flv", 0.0, 5.0, H264, 5.0),
    "sound longer, WebM of a live stream": ("a.webm", 0.0, 5.0, (*VP8, "-live", "1"), 5.0),
    "sound longer, MPEG-TS": ("a.ts", 0.0, 5.0, H264, 5.0),
    "sound shorter, MP4": ("a.mp4", 0.0, 1.0, H264, 3.0),
    "picture later, MP4": ("a.mp4", 1.3, 4.3, H264, 4.3),
    "picture later and sound longer, MPEG-TS": ("a.ts", 1.3, 6.0, H264, 6.0),
}


def package(folder: Path, name: str, late: float, sound: float, encode: tuple[str, ...]) -> Package:
    picture = ("-itsoffset", late, "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=3")
    source = ffmpeg(folder, name, *picture, "-f", "lavfi", "-i", f"sine=d={sound}", *encode)
    return make_package(source, PROFILE, folder / "made")


def lengths(made: Package) -> list[float]:
    """Seconds of the playlists of the rungs, as a player adds them."""
    playlists = [path for path in made.folder.rglob("h264-*.m3u8") if "iframes" not in path.name]
    lines = [path.read_text().splitlines() for path in playlists]
    return [sum(float(line[8:].split(",")[0]) for line in each if line.startswith("#EXTINF")) for each in lines]


def shown(path: Path) -> list[tuple[int, bool]]:
    """When each picture is shown after the first, in 10,000 ticks a second, and whether it is a key frame."""
    command = [FFPROBE, "-v", "error", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", str(path)]
    rows = [
        row.split(",") for row in subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    ]
    times = sorted((round(float(row[0]) * 10_000), row[1].startswith("K")) for row in rows)
    return [(time - times[0][0], is_key) for time, is_key in times]


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in SOURCES.items()])
def test_all_tracks_of_a_package_end_with_the_longest_of_the_source(
    case: tuple[str, float, float, tuple[str, ...], float], tmp_path: Path
) -> None:
    name, late, sound, encode, expected = case
    made = package(tmp_path, name, late, sound, encode)
    first, second = (shown(path) for path, output in made.made.files if output.role == "rendition")
    assert len(first) / 25 == len(second) / 12.5 == about(expected + 0.06, 0.1)
    assert lengths(made) == pytest.approx([len(first) / 25] * 2, abs=2e-6)
    assert [time for time, is_key in first if is_key] == [time for time, is_key in second if is_key]
    assert [time for time, _ in first[::2]] == [time for time, _ in second]
    (heard,) = (path for path, output in made.made.files if output.role == "audio")
    command = [FFPROBE, "-v", "error", "-show_entries", "stream=duration", "-of", "csv=p=0", str(heard)]
    seconds = float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert seconds == pytest.approx(len(first) / 25, abs=0.001)
    assert [notice.code for notice in made.made.notices] == []


def test_rungs_of_half_the_rate_are_scored_beside_the_same_pictures(tmp_path: Path) -> None:
    source = ffmpeg(tmp_path, "a.mp4", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2", *H264)
    made = make_package(source, {**PROFILE, "vmaf": {"scale": "240p"}}, tmp_path / "made")
    scores = [output.vmaf for _, output in made.made.files if output.role == "rendition" and output.vmaf]
    assert [score.frames for score in scores] == [50, 25]
    assert all(score.mean > 60 for score in scores)
    reports = {output.uri.rpartition("/")[2] for _, output in made.made.files if output.role == "report"}
    assert reports == {"film.mp4.vmaf.json", "film.mp4.vmaf.html"}
