"""Scores follow the encode: whatever a transcode did to framing, time and colour, its reference went through as well.

Each expected score is that of a plain call of libvmaf on the output and on the source with filters written by hand.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from elasticrecode.jobs.events import Progress, Quality
from elasticrecode.media.profiles import Profile, resolve
from tests.media.case import BUNNY, FFMPEG, SETTINGS, ffmpeg
from worker.media.encode import transcode
from worker.quality.score import Pair, score
from worker.sandbox.runner import Runner

SMALL = {"codec": "h264", "scale": "360p", "bitrate": "2M", "speed": "fast"}
TOLERANCE = 0.5
CLIP = ("-ss", 1, "-t", 1, "-i", BUNNY, "-an")
HD = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", 12, *HD)


class Followed(NamedTuple):
    """A transcode and its score: the job's folder, the summary, and the report as JSON."""

    folder: Path
    quality: Quality
    report: Any
    progress: list[Progress]


def followed(folder: Path, source: Path, encode: Mapping[str, Any] = SMALL, burn: str = "", **vmaf: Any) -> Followed:
    """Transcode and score a source as a worker does, without AWS."""
    asked = {"ffmpeg": encode, "vmaf": {"scale": "360p", **vmaf}, **({"subtitles": {"burn": burn}} if burn else {})}
    profile, runner, progress = resolve(msgspec.convert(asked, Profile)), Runner(), list[Progress]()
    assert profile.ffmpeg
    assert profile.vmaf
    job = folder / "job"
    job.mkdir()
    origin, target = Path(shutil.copy(source, job / "input")), job / "output"
    encoded = transcode(
        origin, target, "s3://b/o.mp4", "mp4", profile, profile.ffmpeg, SETTINGS, runner, progress.append,
        then_score=True,
    )  # fmt: skip
    pair = Pair(origin, target, "s3://b/i.mp4", "s3://b/o.mp4", encoded.plan)
    before = encoded.output.frames or 0
    scored = score(pair, profile.vmaf, SETTINGS, runner, progress.append, job, before)
    return Followed(job, scored.quality, json.loads(scored.report.read_bytes()), progress)


def by_hand(made: Followed, filters: str = "null", size: str = "640:360") -> float:
    """The mean VMAF of a plain call of libvmaf, with these filters on the source. Frames are paired by number."""
    scaled = f"scale={size}:flags=bicubic,format=yuv420p,settb=1/1000,setpts=N"
    graph = f"[0:v]setparams=colorspace=bt709,{scaled}[d];[1:v]{filters},setparams=colorspace=bt709,{scaled}[r];"
    graph += "[d][r]libvmaf=log_fmt=json:log_path=hand.json:n_threads=2:shortest=1"
    command = [FFMPEG, "-v", "error", "-reinit_filter", "0", "-i", "output", "-reinit_filter", "0", "-i", "input"]
    command += ["-lavfi", graph, "-fps_mode", "passthrough", "-enc_time_base", "filter", "-f", "null", "-"]
    subprocess.run(command, check=True, cwd=made.folder)
    mean: float = json.loads((made.folder / "hand.json").read_text())["pooled_metrics"]["vmaf"]["mean"]
    return mean


def _clip(folder: Path) -> Path:
    return ffmpeg(folder, "clip.mp4", *CLIP, "-vf", "scale=640:360", *X264)


def _jitter(folder: Path) -> Path:
    times = "setts=ts=N*426.67+12.8*mod(N*5\\,17)"
    return ffmpeg(
        folder, "x.mp4", "-i", _plain_order(folder), "-c", "copy", "-bsf:v", times, "-video_track_timescale", 90000
    )


def _plain_order(folder: Path) -> Path:
    return ffmpeg(folder, "order.mp4", *CLIP, "-vf", "scale=640:360", *X264, "-bf", 0)


def _thousand_a_second(folder: Path) -> Path:
    vp8 = ("-c:v", "libvpx", "-b:v", "2M", "-deadline", "realtime", "-cpu-used", 8)
    source = ffmpeg(folder, "vp8.webm", *CLIP, "-vf", "scale=640:360", *vp8)
    return ffmpeg(folder, "x.webm", "-i", source, "-c", "copy", "-bsf:v", "setts=ts=floor(N*33.3)+mod(N*7\\,13)")


def _six_hundred_a_second(folder: Path) -> Path:
    return ffmpeg(folder, "x.avi", "-t", 1, "-i", BUNNY, "-map", "0:v", "-c", "copy")


def _grows_smaller(folder: Path) -> Path:
    first = ffmpeg(folder, "a.ts", *CLIP, "-vf", "scale=640:360", *X264)
    crop = "h264_metadata=crop_right=160:crop_bottom=98"
    second = ffmpeg(folder, "b.ts", "-i", first, "-c", "copy", "-bsf:v", crop, "-output_ts_offset", 1)
    path = folder / "x.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def _on_its_side(folder: Path) -> Path:
    return ffmpeg(folder, "x.mp4", "-display_rotation", 90, "-i", _clip(folder), "-c", "copy")


def interlaced(order: str) -> Callable[[Path], Path]:
    name = {"tff": "top", "bff": "bottom"}[order]

    def make(folder: Path) -> Path:
        fields = f"scale=640:360,tinterlace=interleave_{name},setfield={order}"
        flags = ("-flags", "+ildct+ilme", "-x264-params", f"{order}=1")
        film = ("-f", "lavfi", "-i", "testsrc2=s=640x360:r=50:d=1")
        return ffmpeg(folder, "x.ts", *film, "-vf", fields, "-r", 25, *X264, *flags)

    return make


def hdr(transfer: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tags = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:log-level=error"
        x265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", 12, "-x265-params", tags, "-tag:v", "hvc1")
        return ffmpeg(folder, "x.mp4", *CLIP, "-vf", "scale=640:360,format=yuv420p10le", *x265)

    return make


def _edit_list(folder: Path) -> Path:
    return ffmpeg(folder, "x.mp4", "-ss", 0.5, "-i", _clip(folder), "-c", "copy")


def _full_range(folder: Path) -> Path:
    full = "scale=640:360:out_range=full,format=yuvj420p"
    return ffmpeg(folder, "x.mp4", *CLIP, "-vf", full, *X264, "-color_range", "pc")


class Case(NamedTuple):
    """A source, the encode, its frames, and the filters by hand with the size of the comparison."""

    make: Callable[[Path], Path]
    frames: int
    encode: Mapping[str, Any] = {}
    by_hand: str = "null"
    size: str = "640:360"


CASES = {
    "a steady clip": Case(_clip, 25),
    "a rate that varies": Case(_jitter, 25),
    "a rate of 1000": Case(_thousand_a_second, 25, by_hand="scale=in_color_matrix=smpte170m:out_color_matrix=bt709"),
    "a rate of 600": Case(_six_hundred_a_second, 25),
    "a size that changes": Case(_grows_smaller, 50, by_hand="scale=640:360"),
    "a rotation flag": Case(_on_its_side, 25, size="360:640"),
    "an edit list": Case(_edit_list, 12),
    "full range": Case(_full_range, 25, by_hand="scale=out_range=limited"),
    "top field first": Case(interlaced("tff"), 25, by_hand="bwdif=send_frame"),
    "bottom field first": Case(interlaced("bff"), 25, by_hand="bwdif=send_frame"),
    "a frame of each field": Case(interlaced("tff"), 50, {"deinterlace": "double"}, "bwdif=send_field"),
    "a cut": Case(_clip, 15, {"start": 0.2, "end": 0.8}, "trim=start=0.1999:end=0.7999"),
    "another rate": Case(_clip, 30, {"frameRate": "30"}, "fps=30"),
    "bars": Case(_clip, 25, {"scale": "320:320", "fit": "pad"}, "scale=640:360,pad=640:640:0:140"),
    "a crop": Case(_clip, 25, {"scale": "320:320", "fit": "crop"}, "crop=360:360"),
    "a smaller output": Case(_clip, 25, {"scale": "160:90"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_reference_goes_through_what_the_encode_did(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    made = followed(tmp_path, case.make(tmp_path), {**SMALL, **case.encode})
    assert made.quality.warnings == []
    assert made.quality.vmaf.frames == made.quality.vmaf.pairedFrames == case.frames
    assert made.quality.vmaf.mean == pytest.approx(by_hand(made, case.by_hand, case.size), abs=TOLERANCE)
    assert f"scale={case.size}:flags=bicubic:out_range" in made.report["filter"]


def test_hdr_is_scored_as_hdr_and_says_that_vmaf_is_made_for_sdr(tmp_path: Path) -> None:
    made = followed(tmp_path, hdr("smpte2084")(tmp_path), {**SMALL, "codec": "h265"})
    assert [warning for warning in made.quality.warnings if "made for SDR" not in warning] == []
    assert len(made.quality.warnings) == 1
    assert made.quality.vmaf.mean > 90
    assert "yuv420p10le" in made.report["filter"]


def test_a_tone_mapped_output_is_scored_against_the_tone_mapped_source(tmp_path: Path) -> None:
    made = followed(tmp_path, hdr("arib-std-b67")(tmp_path))
    assert made.quality.warnings == []
    assert made.quality.vmaf.mean > 90


def test_burnt_in_subtitles_are_in_the_reference_too(tmp_path: Path) -> None:
    lines = tmp_path / "lines.srt"
    lines.write_text("1\n00:00:00,000 --> 00:00:01,000\nA line that covers\nmuch of the picture\n")
    tracks = ("-map", 0, "-map", 1, "-c", "copy", "-metadata:s:s:0", "language=eng")
    source = ffmpeg(tmp_path, "x.mkv", "-i", _clip(tmp_path), "-i", lines, *tracks)
    made = followed(tmp_path, source, burn="en")
    assert made.quality.vmaf.mean > 90
    assert made.quality.vmaf.mean > by_hand(made) + 5


def test_subsampling_is_told_with_both_numbers(tmp_path: Path) -> None:
    vmaf = followed(tmp_path, _clip(tmp_path), subsample=4).quality.vmaf
    assert (vmaf.frames, vmaf.pairedFrames, vmaf.subsample) == (7, 25, 4)


def test_progress_of_a_transcode_with_its_score_never_falls(tmp_path: Path) -> None:
    made = followed(tmp_path, _six_hundred_a_second(tmp_path))
    percents = [tick.percent for tick in made.progress if tick.percent is not None]
    assert percents == sorted(percents)
    assert all(percent <= 100 for percent in percents)
