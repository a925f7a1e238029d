"""Scores of two files whose containers list other frames, sizes or rates than a decoder shows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elasticrecode.jobs.events import Progress
from tests.media.case import ffmpeg
from tests.quality.conftest import scored
from tests.quality.test_follow import (
    CLIP,
    X264,
    _clip,
    _grows_smaller,
    _six_hundred_a_second,
    followed,
    hdr,
    interlaced,
)
from worker.errors import PermanentError

SELF: dict[str, Any] = {"psnr": "enable", "scale": "640x360"}


def _hidden_frames(folder: Path) -> Path:
    """VP9 with frames that are never shown."""
    vp9 = ("-c:v", "libvpx-vp9", "-b:v", "1M", "-cpu-used", 8, "-auto-alt-ref", 1, "-lag-in-frames", 16)
    return ffmpeg(folder, "x.webm", *CLIP, "-vf", "scale=640:360", *vp9)


def _superframes(folder: Path) -> Path:
    """Frames that are never shown, as packets of their own."""
    return ffmpeg(folder, "split.webm", "-i", _hidden_frames(folder), "-c", "copy", "-bsf:v", "vp9_superframe_split")


def _discarded(folder: Path) -> Path:
    return ffmpeg(folder, "x.mp4", "-ss", 0.5, "-i", _clip(folder), "-c", "copy")


def _empty_chunks(folder: Path) -> Path:
    clip = ffmpeg(folder, "slow.mkv", "-i", _clip(folder), "-c:v", "mpeg4", "-q:v", 2)
    return ffmpeg(folder, "x.avi", "-i", clip, "-c", "copy", "-r", 100)


def _restarted_clock(folder: Path) -> Path:
    part = ffmpeg(folder, "a.ts", *CLIP, "-vf", "scale=640:360", *X264)
    path = folder / "x.ts"
    path.write_bytes(part.read_bytes() * 2)
    return path


def _av1(folder: Path) -> Path:
    return ffmpeg(folder, "x.mkv", *CLIP, "-vf", "scale=640:360", "-c:v", "libsvtav1", "-preset", 12, "-crf", 30)


FILES: dict[str, tuple[Callable[[Path], Path], int]] = {
    "a size that changes": (_grows_smaller, 50),
    "hidden frames of VP9": (_hidden_frames, 25),
    "packets without a picture": (_superframes, 25),
    "hidden frames of AV1": (_av1, 25),
    "frames before an edit list": (_discarded, 12),
    "empty chunks of AVI": (_empty_chunks, 25),
    "a rate of 600": (_six_hundred_a_second, 25),
    "a clock that starts again": (_restarted_clock, 50),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_against_itself_is_identical_in_every_frame(tmp_path: Path, name: str) -> None:
    make, frames = FILES[name]
    path = make(tmp_path)
    quality = scored(path, path, tmp_path, **SELF).quality
    assert quality.warnings == []
    assert quality.psnr
    assert quality.psnr.mean == 100
    assert 97 <= quality.vmaf.mean <= 100
    assert quality.vmaf.frames == quality.vmaf.pairedFrames == frames


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_paired_with_its_encode_frame_by_frame(tmp_path: Path, name: str) -> None:
    make, frames = FILES[name]
    path = make(tmp_path)
    timed = ("-c:v", "libx264", "-crf", 12, "-fps_mode", "passthrough", "-enc_time_base", "1/90000")
    decoded = ffmpeg(tmp_path, "encode.mp4", "-reinit_filter", 0, "-i", path, "-vf", "scale=640:360", *timed)
    quality = scored(path, decoded, tmp_path, **SELF).quality
    assert quality.warnings == []
    assert quality.vmaf.mean > 90
    assert quality.vmaf.frames == frames


@pytest.mark.parametrize("model", ["v1", "v1-phone", "v1-4k", "v1-4k-3h", "vmaf_v1.0.16_hfr_3d0h"])
def test_models_of_version_1_score_and_find_the_sides_in_order(tmp_path: Path, model: str) -> None:
    clip = _clip(tmp_path)
    rough = ffmpeg(tmp_path, "rough.mp4", "-i", clip, "-c:v", "libx264", "-b:v", "200k")
    scores = scored(clip, rough, tmp_path, scale="640x360", model=model)
    assert scores.quality.warnings == []
    assert 20 < scores.quality.vmaf.mean < 97
    report = json.loads(scores.report.read_bytes())
    assert report["quality"]["vmaf"]["model"].startswith("vmaf_v1.0.16_")
    assert '<th scope="row">Frames scored</th><td>25 of 25</td>' in scores.html.read_text()


def test_an_hdr_origin_is_tone_mapped_for_an_sdr_input_where_nearest_allows_it(tmp_path: Path) -> None:
    made = followed(tmp_path, hdr("smpte2084")(tmp_path))
    files = made.folder / "input", made.folder / "output"
    with pytest.raises(PermanentError, match="brightness cannot be compared"):
        scored(*files, tmp_path, scale="640x360")
    quality = scored(*files, tmp_path, scale="640x360", align="nearest").quality
    assert quality.vmaf.mean == pytest.approx(made.quality.vmaf.mean, abs=1)
    assert len(quality.warnings) == 1


def test_an_interlaced_origin_is_deinterlaced_for_a_progressive_input_where_nearest_allows_it(tmp_path: Path) -> None:
    origin = interlaced("tff")(tmp_path)
    for mode, frames in (("send_frame", 25), ("send_field", 50)):
        encoded = ffmpeg(tmp_path, f"{mode}.mp4", "-i", origin, "-vf", f"bwdif={mode}", "-c:v", "libx264", "-crf", 12)
        with pytest.raises(PermanentError, match="different moments"):
            scored(origin, encoded, tmp_path, scale="640x360")
        quality = scored(origin, encoded, tmp_path, scale="640x360", align="nearest").quality
        assert quality.vmaf.mean > 95
        assert quality.vmaf.frames == frames


def test_a_first_frame_that_is_missing_is_found_before_the_measurement(tmp_path: Path) -> None:
    clip = _clip(tmp_path)
    late = ffmpeg(tmp_path, "late.mp4", "-i", clip, "-vf", "trim=start_frame=1,setpts=PTS-STARTPTS", *X264)
    ticks: list[Progress] = []
    quality = scored(clip, late, tmp_path, report=ticks.append, scale="640x360").quality
    assert quality.vmaf.mean > 90
    assert quality.vmaf.frames == quality.vmaf.pairedFrames == 24
    assert [warning for warning in quality.warnings if "lacks the first frame" in warning]
    percents = [-1.0 if tick.percent is None else tick.percent for tick in ticks]
    assert percents == sorted(percents)
    assert -1.0 not in percents, "measured twice"
