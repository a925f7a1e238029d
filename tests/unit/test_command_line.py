"""ffmpeg's command line for a transcode: the whole of one, and what each field of a profile does to it."""

import itertools
from typing import Any

import pytest

from elasticrecode.media.codecs import CODECS, PURPOSES, SPEEDS
from elasticrecode.media.profiles import Ffmpeg, Profile, Target, resolve
from worker.media import plan
from worker.media.encoders import encoder_options
from worker.media.source import AudioTrack, Source
from worker.media.video import Video

ENCODERS = [encoder.name for codec in CODECS.values() for encoder in codec.encoders.values()]
PLATFORMS = {encoder.name: platform for codec in CODECS.values() for platform, encoder in codec.encoders.items()}
VIDEO = Video("mov", 0, "h264", 1280, 720, 10.0, 1_000_000, 250, 25.0)


def options(muxer: str = "mp4", rate: float = 25.0, threads: int = 2, **fields: Any) -> list[str]:
    """The encoder's options for the fields of an encode: libx264 at 1M unless they say otherwise."""
    codec = fields.pop("codec", "libx264")
    rated = fields if "quality" in fields else {"bitrate": "1M", **fields}
    encode = resolve(Profile(ffmpeg=Ffmpeg(codec=codec, scale="720p", platform=PLATFORMS[codec], **rated))).ffmpeg
    assert encode
    made = plan.make_plan(Source(VIDEO), Profile(ffmpeg=encode), encode, muxer)
    return encoder_options(encode, made.picture.signal, rate, muxer, threads)


def pair(vector: list[str], option: str) -> str:
    assert vector.count(option) == 1, vector
    return vector[vector.index(option) + 1]


def params(vector: list[str]) -> dict[str, str]:
    """The encoder's own parameters."""
    (name,) = [option for option in vector if option.endswith("-params")]
    return dict(each.split("=") for each in pair(vector, name).split(":"))


def test_the_whole_command_line_on_cpu() -> None:
    source = Source(VIDEO, (AudioTrack(1, "aac", channels=2, layout="stereo", rate=48000),))
    profile = resolve(Profile(ffmpeg=Ffmpeg(codec="h264", scale="1280:720", bitrate="1M")))
    assert profile.ffmpeg
    made = plan.make_plan(source, profile, profile.ffmpeg, "mp4")
    line = plan.arguments(made, "/job/in", "/job/out", threads=2)
    joined, filters = " ".join(line), ",".join(made.picture.filters)
    assert joined.startswith("-hide_banner -nostdin -y -loglevel level+verbose -nostats -progress pipe:1 ")
    opened, _, written = joined.partition(" -i file:/job/in ")
    assert "-protocol_whitelist file -format_whitelist mov," in opened
    assert "-noautorotate -reinit_filter:v 0" in opened
    assert opened.endswith("-f mov")
    assert f" -filter_complex [0:0]{filters}[picture]" in f" {written}"
    assert (
        "-c:v libx264 -preset medium -b:v 1M -maxrate 1M -bufsize 2M"
        " -force_key_frames expr:if(isnan(prev_forced_t),1,gte(t+0.000006,(floor(prev_forced_t/2+0.000006)+1)*2))"
        " -forced-idr 1 -g 30000 -keyint_min 15000 -x264-params fps=25:threads=3"
        " -color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"
        " -fps_mode:v passthrough -enc_time_base:v 1/90000"
    ) in written
    assert "-movflags +faststart -write_tmcd 0" in written
    assert written.endswith("-f mp4 file:/job/out")


@pytest.mark.parametrize(("codec", "purpose"), [*itertools.product(ENCODERS, PURPOSES)])
def test_every_encoder_is_tuned_for_both_purposes(codec: str, purpose: str) -> None:
    vector = options(codec=codec, profile=purpose)
    low_delay = "zerolatency" in " ".join(vector) or "pred-struct=1" in " ".join(vector)
    assert pair(vector, "-c:v") == codec
    assert low_delay is (purpose == "latency")


@pytest.mark.parametrize("codec", ENCODERS)
def test_every_speed_has_its_preset(codec: str) -> None:
    presets = [pair(options(codec=codec, speed=speed), "-preset") for speed in SPEEDS]
    assert len(set(presets)) == len(SPEEDS)
    assert pair(options(codec=codec), "-preset") == presets[SPEEDS.index("medium")]
    assert pair(options(codec=codec, profile="latency"), "-preset") == presets[SPEEDS.index("fast")]


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_bitrate_bounds_the_peaks_wherever_the_encoder_can(codec: str) -> None:
    assert pair(options(codec=codec), "-b:v") == "1M"
    for purpose, buffer in (("quality", "2M"), ("latency", "40K")):
        vector = options(codec=codec, profile=purpose)
        if codec == "libsvtav1" and purpose == "quality":
            assert "-maxrate" not in vector, "it refuses one beside a mean bitrate"
        else:
            assert (pair(vector, "-maxrate"), pair(vector, "-bufsize")) == ("1M", buffer)


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_quality_has_no_mean_bitrate_and_the_cap_that_was_set(codec: str) -> None:
    free = options(codec=codec, quality=Target(crf=23.5))
    capped = options(codec=codec, quality=Target(crf=23.5), maxBitrate="2M")
    for vector in (free, capped):
        assert "23.5" in (params(vector)["crf"] if codec == "libsvtav1" else vector)
        assert "-b:v" not in vector or pair(vector, "-b:v") == "0"
    assert "-maxrate" not in free
    assert (pair(capped, "-maxrate"), pair(capped, "-bufsize")) == ("2M", "4M")


@pytest.mark.parametrize("codec", ENCODERS)
def test_keyframes_come_where_the_interval_says_and_nowhere_else(codec: str) -> None:
    vector = options(codec=codec, keyframeSeconds=0.5)
    assert "floor(prev_forced_t/0.5" in pair(vector, "-force_key_frames")
    # SVT-AV1 spreads the bits over the interval it expects, so that it must know it; the others place none themselves.
    assert pair(vector, "-g") == ("14" if codec == "libsvtav1" else "30000")
    assert ("-forced-idr" in vector) is (codec != "libsvtav1")


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (25.0, "25"),
        (30000 / 1001, "30000/1001"),
        (24000 / 1001, "24000/1001"),
        (0.0, "30"),
        (1000.0, "240"),
        (0.01, "1"),
    ],
)
def test_encoders_are_told_the_mean_rate_within_what_they_take(rate: float, told: str) -> None:
    for codec in ("libx264", "libx265"):
        assert params(options(codec=codec, rate=rate))["fps"] == told
    svt = params(options(codec="libsvtav1", rate=rate))
    assert f"{svt['fps-num']}/{svt['fps-denom']}".removesuffix("/1") == told


@pytest.mark.parametrize(("threads", "level"), [(1, "1"), (2, "2"), (4, "3"), (8, "4"), (16, "5"), (96, "6")])
def test_encoders_use_the_cores_of_the_container(threads: int, level: str) -> None:
    assert params(options(threads=threads))["threads"] == str(threads * 3 // 2)
    assert params(options(codec="libx265", threads=threads))["pools"] == str(threads)
    assert params(options(codec="libsvtav1", threads=threads))["lp"] == level


def test_av1_of_low_delay_keeps_the_cap_of_its_quality() -> None:
    capped = options(codec="libsvtav1", profile="latency", quality=Target(crf=30), maxBitrate="2M")
    assert "pred-struct" not in params(capped), "SVT-AV1 ignores the cap with low delay"


def test_hevc_has_the_tag_that_players_need() -> None:
    assert [pair(options(codec="libx265", muxer=muxer), "-tag:v") for muxer in ("mp4", "mov")] == ["hvc1", "hvc1"]
    assert "-tag:v" not in options(codec="libx265", muxer="matroska")


def test_the_gpu_decoder_comes_before_the_input() -> None:
    encode = Ffmpeg(codec="h264_nvenc", scale="1280:720", bitrate="1M", platform="gpu", originCodec="hevc_cuvid")
    line = plan.arguments(plan.make_plan(Source(VIDEO), Profile(ffmpeg=encode), encode, "mp4"), "/job/in", "/job/out")
    assert line.index("-hwaccel") < line.index("hevc_cuvid") < line.index("-i")
    assert "-hwaccel" not in plan.arguments(
        plan.make_plan(Source(VIDEO), Profile(), Ffmpeg(codec="libx264", scale="1280:720", bitrate="1M"), "mp4"),
        "a",
        "b",
    )
