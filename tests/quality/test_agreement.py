"""Scores agree with the tool ffmpeg-quality-metrics on the same ffmpeg, at every scale and for every metric."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from ffmpeg_quality_metrics import FfmpegQualityMetrics, VmafOptions

from elasticrecode.media.profiles import SCALES
from tests.quality.conftest import ENCODE, FFMPEG, Make, scored

_OPTIONS = VmafOptions(
    model_path=None, model_params=[], n_threads=2, n_subsample=1, features=["float_ms_ssim"], ten_bit=False
)
CASES = [
    pytest.param(clip, word, marks=() if (clip, word) in (("film", "480p"), ("pattern", "360p")) else pytest.mark.full)
    for clip in ("film", "pattern")
    for word in SCALES
]
ALL: dict[str, Any] = {"psnr": "enable", "ssim": "enable", "ms-ssim": "enable"}


def reference(origin: Path, encoded: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The tool's means over all frames."""
    monkeypatch.setenv("PATH", str(FFMPEG.parent), prepend=":")
    tool = FfmpegQualityMetrics(str(origin), str(encoded), ffmpeg_path=str(FFMPEG), tmp_dir=str(folder))
    metrics = tool.calculate(["vmaf", "psnr", "ssim"], vmaf_options=_OPTIONS)
    return {
        "vmaf": fmean(frame["vmaf"] for frame in metrics["vmaf"]),
        "msSsim": fmean(frame["float_ms_ssim"] for frame in metrics["vmaf"]),
        "psnr": fmean(frame["psnr_avg"] for frame in metrics["psnr"]),
        "ssim": fmean(frame["ssim_avg"] for frame in metrics["ssim"]),
    }


@pytest.mark.parametrize(("clip", "word"), CASES)
def test_the_means_agree_with_the_reference_tool(
    make: Make, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, clip: str
) -> None:
    width, height = SCALES[word]
    if clip == "film":
        origin = make("short.mp4", "-i", source, "-frames:v", "6", "-c:v", "libx264", "-crf", "8")
        encoded = make("short-encoded.mp4", "-i", origin, *ENCODE)
    else:
        origin = make("pattern.mkv", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30:duration=0.2", "-c:v", "ffv1")
        encoded = make("pattern.mp4", "-i", origin, "-c:v", "libx264", "-b:v", "200k", "-pix_fmt", "yuv420p")
    scale = ("-vf", f"scale={width}:{height}:flags=bicubic,format=yuv420p,setsar=1", "-c:v", "ffv1")
    first, second = (make(f"{word}-{path.name}.mkv", "-i", path, *scale) for path in (origin, encoded))
    score = scored(origin, encoded, tmp_path, scale=f"{width}x{height}", **ALL)
    ours = score.quality
    theirs = reference(first, second, tmp_path, monkeypatch)
    assert ours.warnings == []
    assert ours.psnr
    assert ours.ssim
    assert ours.msSsim
    assert ours.vmaf.mean == pytest.approx(theirs["vmaf"], abs=0.01)
    assert ours.psnr.mean == pytest.approx(theirs["psnr"], abs=0.01)
    frames = json.loads(score.report.read_bytes())["frames"]
    assert ours.ssim.mean == pytest.approx(fmean(frame["metrics"]["ssim"] for frame in frames), abs=1e-6)
    # The tool rounds each frame's SSIM to 3 decimal places, which exceeds the tolerance.
    rounded = fmean(round(frame["metrics"]["ssim"], 3) for frame in frames)
    assert rounded == pytest.approx(theirs["ssim"], abs=0.0001)
    assert ours.msSsim.mean == pytest.approx(theirs["msSsim"], abs=0.0001)


@pytest.mark.parametrize("model", ["v0.6.1", "v0.6.1neg", "4k"])
def test_each_model_can_be_selected(source: Path, encoded: Path, tmp_path: Path, model: str) -> None:
    vmaf = scored(source, encoded, tmp_path, model=model, subsample=10).quality.vmaf
    assert vmaf.model == {"v0.6.1": "vmaf_v0.6.1", "v0.6.1neg": "vmaf_v0.6.1neg", "4k": "vmaf_4k_v0.6.1"}[model]
    assert vmaf.frames == 6
    assert vmaf.min <= vmaf.p5 <= vmaf.mean <= 100
