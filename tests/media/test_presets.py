"""Every built-in preset that runs on CPUs writes what its name and its profile promise, measured from the file."""

from pathlib import Path
from typing import NamedTuple

import pytest

from elasticrecode.media.presets import BUILT_IN
from tests.media.case import BUNNY, Made, ffmpeg, make
from tests.media.measures import size, streams
from tests.media.measures_audio import layouts, sound_codecs
from tests.media.measures_encoders import coded_as, keyframe_seconds, open_groups

HIGH, MAIN = "High yuv420p avc1", "Main yuv420p hvc1"


class Promise(NamedTuple):
    """The picture as coded, its size, and the layouts of the sound; of a film of 1920x1080 with 5.1 twice."""

    picture: str
    size: str
    sound: tuple[str, ...] = ("5.1",)


PROMISES = {
    "h264-1080p": Promise(HIGH, "1920x1080"),
    "h264-720p": Promise(HIGH, "1280x720"),
    "h264-480p": Promise(HIGH, "800x450"),
    "h264-360p": Promise(HIGH, "640x360"),
    "h265-1080p": Promise(MAIN, "1920x1080"),
    "h265-720p": Promise(MAIN, "1280x720"),
    "h264-1080p-vmaf": Promise(HIGH, "1920x1080"),
    "h264-720p-vmaf": Promise(HIGH, "1280x720"),
    "web-1080p": Promise(HIGH, "1920x1080", ("stereo",)),
    "web-720p": Promise(HIGH, "1280x720", ("stereo",)),
    "archive": Promise("Main 10 yuv420p10le hvc1", "1920x1080", ("5.1", "5.1")),
    "small": Promise("Main yuv420p10le av01", "1280x720", ("stereo",)),
    "social-portrait": Promise(HIGH, "1080x1920", ("stereo",)),
    "audio-only": Promise("", "", ("stereo",)),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fifth of a second of 1080p with two tracks of 5.1."""
    maps = ("-map", "0:v", "-map", "0:a", "-map", "0:a", "-c:a", "copy")
    picture = ("-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "ultrafast", "-crf", 20)
    return ffmpeg(tmp_path_factory.mktemp("film"), "x.mp4", "-t", 0.2, "-i", BUNNY, *maps, *picture)


def test_there_is_a_promise_for_each_preset_of_a_cpu() -> None:
    encoding = {name for name, profile in BUILT_IN.items() if {"ffmpeg", "audio"} & profile.keys()}
    assert set(PROMISES) == {name for name in encoding if not name.endswith("-gpu")}


@pytest.mark.parametrize("name", PROMISES)
def test_a_preset_writes_what_it_promises(tmp_path: Path, film: Path, name: str) -> None:
    made = make(tmp_path, film, BUILT_IN[name])
    assert made.failure == ""
    if PROMISES[name].picture:
        assert (coded_as(made), size(made)) == (PROMISES[name].picture, PROMISES[name].size)
        assert (keyframe_seconds(made), open_groups(made)) == ("0.000", 0)
    else:
        assert streams(made.target, "video") == []
    assert tuple(_sound(made)) == PROMISES[name].sound


def _sound(made: Made) -> list[str]:
    codecs, heard = sound_codecs(made), layouts(made)
    assert isinstance(codecs, list)
    assert isinstance(heard, list)
    assert set(codecs) == {"aac"}
    return heard
