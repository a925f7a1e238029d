"""Sizes of outputs: inside their box, even, and of the source's shape; and what idet's lines mean."""

import random

import pytest

from elasticrecode.media.profiles import Ffmpeg
from worker.media.fields import Scan, scan
from worker.media.geometry import raster
from worker.media.scanning import deinterlace
from worker.media.video import Video, film


def video(width: int, height: int, aspect: float = 1.0, *, rotation: int = 0) -> Video:
    return Video("mov", 0, "h264", width, height, 1.0, 1, 25, rate=25.0, pixel_aspect=aspect, rotation=rotation)


def encode(scale: str, codec: str = "libx264") -> Ffmpeg:
    return Ffmpeg(codec=codec, scale=scale)


@pytest.mark.parametrize("scale", ["1920:1080", "1280:720", "800:480", "640:360", "source"])
def test_sizes_keep_the_shape_within_half_a_percent_and_are_never_enlarged(scale: str) -> None:
    chance = random.Random(scale)
    for _ in range(2000):
        width, height = chance.randint(160, 4096), chance.randint(160, 4096)
        size = raster(video(width, height), encode(scale))
        assert size.width % 2 == size.height % 2 == 0
        assert size.width <= width
        assert size.height <= height
        if scale != "source":
            box = sorted(map(int, scale.split(":")))
            assert min(size) <= box[0]
            assert max(size) <= box[1]
        if min(size) >= 100:
            assert abs(size.width / size.height * height / width - 1) <= 0.005


def test_the_box_is_turned_for_portrait_sources_and_turned_ones() -> None:
    assert raster(video(1080, 1920), encode("1280:720")) == (720, 1280)
    assert raster(video(1920, 1080, rotation=90), encode("1280:720")) == (720, 1280)


def test_encoders_get_no_smaller_pictures_than_they_take() -> None:
    assert raster(video(16, 16), encode("640:360", "libx265")) == (34, 34)
    assert raster(video(16, 16), encode("640:360", "libsvtav1")) == (64, 64)


def test_pulldown_is_seen_only_where_fields_repeat_in_its_rhythm() -> None:
    def lines(repeats: str) -> list[str]:
        words = {"t": "top", "b": "bottom", "-": "neither"}
        return [
            line
            for repeat in repeats
            for line in (f"lavfi.idet.repeated.current_frame={words[repeat]}", "lavfi.idet.single.current_frame=tff")
        ]

    assert scan(lines("--t-b" * 8)) == Scan(40, 40, 0, 0, is_telecined=True)
    assert not scan(lines("--t-b" * 4)).is_telecined
    assert not scan(lines("t-b-" * 10)).is_telecined
    assert not scan(lines("-" * 40)).is_telecined


def test_whole_pictures_without_flags_get_no_filter() -> None:
    assert deinterlace(video(1920, 1080)._replace(scan=Scan(12, 1, 0, 11)), encode("1280:720")).filters == ()


def test_the_film_is_no_cover_no_still_and_no_track_that_nobody_decodes() -> None:
    small = {"index": 0, "codec_name": "h264", "width": 320, "height": 180}
    large = {"index": 1, "codec_name": "h264", "width": 640, "height": 360}
    cover = {"index": 2, "codec_name": "mjpeg", "width": 3000, "height": 3000, "disposition": {"default": 1}}
    marked = {**cover, "codec_name": "h264", "disposition": {"attached_pic": 1}}
    still = {**large, "width": 4000, "nb_frames": "1"}
    unknown = {**large, "width": 4000, "codec_name": "unknown"}
    assert film([small, cover, marked, still, unknown, large]) == large
    assert film([{**small, "disposition": {"default": 1}}, large]) == {**small, "disposition": {"default": 1}}
    assert film([cover]) == cover
    assert film([marked]) is None
