"""The filter graph of a measurement, and the figures from its logs."""

import json
from typing import get_args

import pytest

from elasticrecode.jobs.events import MeanScore
from elasticrecode.media.profiles import Profile, Vmaf, VmafModel, libvmaf_model, resolve, vmaf_model
from worker.media.video import Video
from worker.quality import filters, results
from worker.quality.filters import Sampling, Side
from worker.quality.pairing import Pairing
from worker.sandbox.limits import JobLimits

VIDEO = Video("mov", 0, "h264", 1280, 720, 4.0, 1_000_000, 100, 25.0)
SIDES = {
    "input": Side(VIDEO._replace(stream=2), "encoded.mp4", ("scale=1280:720",), (1280, 720)),
    "origin": Side(VIDEO, "film.mp4", ("transpose=clock",), (1280, 720)),
}
PROFILE = Vmaf(scale="1280x720", psnr="enable", ssim="enable", ms_ssim="enable")


def test_each_side_is_decoded_once_and_every_pad_is_connected() -> None:
    for both_ways, detail in ((True, {"forward", "reversed"}), (False, set[str]())):
        chosen = Sampling(both_ways=both_ways)
        graph = filters.filter_graph(PROFILE, Pairing(100), SIDES, chosen, 2)
        pads = [pad.split("]")[0] for pad in graph.split("[")[1:]]
        ends = {"scored", "dthumbs", "rthumbs", "0:2", "1:0"} | detail
        assert {pad for pad in pads if pads.count(pad) == 1} == ends
        assert all(pads.count(pad) == 2 for pad in set(pads) - ends)
        arguments = filters.score_arguments(graph, SIDES, chosen, JobLimits())
        assert {word.strip("[]") for word in arguments if word.startswith("[") and ":" not in word} <= ends


def test_the_graph_is_not_rebuilt_and_pictures_are_turned_by_it_alone() -> None:
    graph = filters.filter_graph(PROFILE, Pairing(100), SIDES, Sampling(), 2)
    assert "[0:2]scale=1280:720," in graph
    assert "[1:0]transpose=clock," in graph
    arguments = filters.score_arguments(graph, SIDES, Sampling(), JobLimits())
    assert arguments.count("-noautorotate") == arguments.count("-reinit_filter") == 2
    stills = filters.still_arguments(PROFILE, SIDES, {"input": [3], "origin": [4]}, JobLimits())
    assert "[1:0]transpose=clock,select='eq(n,4)'" in stills[stills.index("-filter_complex") + 1]


def test_only_enabled_metrics_are_measured() -> None:
    bare = filters.filter_graph(Vmaf(scale="480x270", psnr="disable"), Pairing(100), SIDES, Sampling(), 2)
    assert not any(word in bare for word in ("psnr", "ssim="))
    full = filters.filter_graph(PROFILE, Pairing(100), SIDES, Sampling(), 3)
    for word in ("psnr=", "ssim=", "float_ms_ssim", "n_threads=3", "scale=1280:720:flags=bicubic", "n_subsample=1"):
        assert word in full


def test_frames_are_paired_by_count_or_by_time() -> None:
    assert "setpts=N" in filters.filter_graph(PROFILE, Pairing(100), SIDES, Sampling(), 2)
    by_time = filters.filter_graph(PROFILE, Pairing(100, by_time=True), SIDES, Sampling(), 2)
    assert "ts_sync_mode=nearest" in by_time
    assert "setpts=N" not in by_time
    late = filters.filter_graph(PROFILE, Pairing(100, skip_origin=2), SIDES, Sampling(), 2)
    assert "file=origin.times,trim=start_frame=2," in late


def test_the_model_follows_the_scale_unless_the_profile_names_one() -> None:
    assert vmaf_model(Vmaf(scale="1920x1080")) == "v0.6.1"
    assert vmaf_model(Vmaf(scale="3840x2160")) == "4k"
    assert vmaf_model(Vmaf(scale="3840x2160", model="v0.6.1neg")) == "v0.6.1neg"
    resolved = resolve(Profile(vmaf=Vmaf(scale="720p", model="auto"))).vmaf
    assert resolved == Vmaf(scale="1280x720", model="v0.6.1")


def log(*scores: float, detail: float = 0.9) -> bytes:
    names = ("integer_adm2", *(f"integer_vif_scale{n}" for n in range(4)))
    frames = [{"frameNum": n, "metrics": {"vmaf": s} | dict.fromkeys(names, detail)} for n, s in enumerate(scores)]
    return json.dumps({"version": "3.0.0", "fps": 1.0, "frames": frames}).encode()


PSNR = "n:1 mse_avg:0.00 psnr_avg:inf psnr_y:inf\nn:2 mse_avg:4.80 psnr_avg:41.30 psnr_y:40.10\n"
SSIM = "n:1 Y:1.000000 U:1.0 V:1.0 All:1.000000 (inf)\nn:2 Y:0.980000 U:0.9 V:0.9 All:0.970000 (15.2)\n"


def test_an_undefined_metric_of_a_frame_is_left_out() -> None:
    document = json.loads(log(90, 80))
    document["frames"][0]["metrics"]["float_ms_ssim"] = None
    document["frames"][1]["metrics"]["float_ms_ssim"] = 0.5
    scores = results.parse_logs(json.dumps(document).encode(), None, None)
    assert "float_ms_ssim" not in scores.frames[0][1]
    assert scores.mean("float_ms_ssim") == MeanScore(0.5)
    assert results.detail_both_ways(log(90, 80), json.dumps(document).encode())[1] == pytest.approx(0.9)


def test_the_logs_of_a_run_are_joined_by_frame() -> None:
    scores = results.parse_logs(log(90, 80), PSNR, SSIM)
    assert scores.version == "3.0.0"
    assert [metrics["psnr"] for _, metrics in scores.frames] == [100.0, 41.3]
    assert [metrics["ssim_y"] for _, metrics in scores.frames] == [1.0, 0.98]


def test_the_summary_has_all_figures() -> None:
    quality = results.summarize(results.parse_logs(log(*range(101)), PSNR, SSIM), PROFILE, ["odd"])
    assert (quality.vmaf.mean, quality.vmaf.min, quality.vmaf.p5, quality.vmaf.frames) == (50.0, 0.0, 5.0, 101)
    assert quality.vmaf.harmonicMean == pytest.approx(101 / sum(1 / (n + 1) for n in range(101)) - 1, abs=1e-6)
    assert quality.psnr
    assert quality.psnr.mean == pytest.approx(70.65)
    assert (quality.msSsim, quality.passed, quality.warnings) == (None, None, ["odd"])


@pytest.mark.parametrize(("minimum", "passed"), [(89.0, True), (90.0, True), (90.1, False), (0.0, True)])
def test_passed_compares_the_mean_with_the_minimum(minimum: float, passed: bool) -> None:
    profile = Vmaf(scale="480x270", min=minimum)
    assert results.summarize(results.parse_logs(log(90), None, None), profile, []).passed is passed


def test_the_worst_frames_are_a_second_apart_and_ordered() -> None:
    scores = results.parse_logs(log(*[90] * 50, 10, 11, *[90] * 50, 5, *[90] * 50), None, None)
    assert results.worst_frames(scores, rate=25)[:2] == [102, 50]
    assert len(results.worst_frames(scores, rate=25)) == 5
    assert results.worst_frames(results.parse_logs(log(50), None, None), rate=25) == [0]
    assert len(results.worst_frames(results.parse_logs(log(*range(60)), None, None), rate=25)) == 5


def test_detail_is_compared_on_frames_scored_both_ways() -> None:
    assert results.detail_both_ways(log(*[90] * 8), log(*[80] * 7, detail=0.7)) == pytest.approx((0.9, 0.7))
    assert results.detail_both_ways(log(), log(1.0)) == (0.0, 0.0)


def test_frame_times_are_read_as_printed() -> None:
    printed = ["frame:0    pts:-40000  pts_time:-0.04\n", "e=1\n", "frame:1    pts:0       pts_time:0\n", "e=1\n"]
    assert list(results.frame_times(printed, 25.0)) == [-0.04, 0.0]
    untimed = ["frame:0    pts:NOPTS   pts_time:NOPTS\n", "e=1\n"] * 3
    assert list(results.frame_times(untimed, 10.0)) == pytest.approx([0.0, 0.1, 0.2])
    assert list(results.frame_times(untimed, 0.0))[1] == pytest.approx(0.04)
    endless = [
        "frame:0    pts:0      pts_time:0",
        f"frame:1    pts:{'9' * 400} pts_time:inf",
        "frame:2    pts:--5 pts_time:0",
    ]
    assert list(results.frame_times(endless, 10.0)) == pytest.approx([0.0, 0.1, 0.2])


def test_upright_pictures_are_compared_upright() -> None:
    assert filters.raster(PROFILE, (1280, 720)) == (1280, 720)
    assert filters.raster(PROFILE, (406, 720)) == (720, 1280)
    assert filters.raster(Vmaf(scale="360x640"), (1280, 720)) == (360, 640)


def test_models_of_version_1_know_the_encode_and_compare_10_bits() -> None:
    graph = filters.filter_graph(Vmaf(scale="1280x720", model="v1"), Pairing(100), SIDES, Sampling(), 2)
    assert "yuv420p10le" in graph
    assert "version=vmaf_v1.0.16_3d0h" in graph
    assert "cambi.enc_width=1280" in graph
    tiny = SIDES | {"input": SIDES["input"]._replace(size=(160, 90))}
    assert "cambi" not in filters.filter_graph(Vmaf(scale="1280x720", model="v1"), Pairing(100), tiny, Sampling(), 2)


def test_every_model_has_a_name_in_libvmaf() -> None:
    names = {libvmaf_model(Vmaf(scale="1280x720", model=model)) for model in get_args(VmafModel)}
    assert names <= set(get_args(VmafModel))
