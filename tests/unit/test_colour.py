"""What samples mean, what becomes of them, and what is said about it."""

from typing import Any

import pytest

from elasticrecode.media.profiles import Ffmpeg
from worker.errors import PermanentError
from worker.media import colour, tone_map
from worker.media.colour import Signal, convert, signal, source_signal, verify
from worker.media.hdr import DolbyVision, HdrMetadata, hdr_metadata
from worker.media.video import Video, with_frame

SDR = Video("mov", 0, "h264", 1920, 1080, 1.0, None, 25, pixel_format="yuv420p")
PQ = SDR._replace(codec="hevc", pixel_format="yuv420p10le", transfer="smpte2084", primaries="bt2020", matrix="bt2020nc")
HLG = PQ._replace(transfer="arib-std-b67")
MASTERING = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.0001, 1000.0)


def encode(codec: str = "libx264", **fields: Any) -> Ffmpeg:
    return Ffmpeg(codec=codec, scale="source", **fields)


@pytest.mark.parametrize(
    ("width", "height", "matrix", "primaries"),
    [
        (1920, 1080, "bt709", "bt709"),
        (1280, 546, "bt709", "bt709"),
        (720, 576, "smpte170m", "bt470bg"),
        (720, 480, "smpte170m", "smpte170m"),
        (640, 360, "smpte170m", "bt709"),
        (608, 1080, "bt709", "bt709"),
    ],
)
def test_samples_without_tags_mean_what_players_guess(width: int, height: int, matrix: str, primaries: str) -> None:
    guessed = source_signal(SDR._replace(width=width, height=height))
    assert (guessed.matrix, guessed.primaries, guessed.transfer, guessed.range) == (matrix, primaries, "bt709", "tv")


@pytest.mark.parametrize("tag", ["reserved", "ipt-c2", "unknown", "", "x':lut3d=file=/etc/passwd"])
def test_tags_from_a_file_reach_filters_only_if_they_are_known(tag: str) -> None:
    video = SDR._replace(primaries=tag, transfer=tag, matrix=tag, chroma_location=tag)
    assert source_signal(video)[1:4] == ("bt709", "bt709", "bt709")
    filters = [*colour.interpret(video).filters, *convert(video, signal(video, encode()), encode()).filters]
    assert not any(tag and tag in name for name in filters if tag != "unknown")


@pytest.mark.parametrize("name", ["rgb24", "bgr0", "gbrp10le", "rgba", "0rgb", "pal8", "gbrap", "rgb48le", "x2rgb10le"])
def test_rgb_is_of_full_range(name: str) -> None:
    assert source_signal(SDR._replace(pixel_format=name))[3:5] == ("gbr", "pc")


@pytest.mark.parametrize("name", ["yuv420p", "yuva444p10le", "gray", "ya8", "yuyv422", "nv12"])
def test_other_samples_are_not_rgb(name: str) -> None:
    assert source_signal(SDR._replace(pixel_format=name))[3:5] == ("bt709", "tv")


def test_usual_samples_are_not_converted() -> None:
    filters = convert(SDR, signal(SDR, encode()), encode()).filters
    assert [name.partition("=")[0] for name in filters] == ["setparams", "format"]


@pytest.mark.parametrize("codec", ["libx265", "libsvtav1"])
@pytest.mark.parametrize(("video", "name"), [(PQ, "hdr10"), (HLG, "hlg")])
def test_hdr_stays_hdr_in_codecs_that_carry_it(video: Video, name: str, codec: str) -> None:
    kept = signal(video, encode(codec))
    assert kept == Signal("yuv420p10le", "bt2020", video.transfer, "bt2020nc", "tv", name)


@pytest.mark.parametrize(
    "wanted", [encode(), encode("libx265", bitDepth=8), encode("libx265", dynamicRange="sdr"), encode(bitDepth=10)]
)
def test_other_outputs_of_hdr_are_sdr(wanted: Ffmpeg) -> None:
    assert signal(PQ, wanted).colour == ("bt709", "bt709", "bt709", "tv", "sdr")


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("wanted", ["auto", "sdr", "keep"])
@pytest.mark.parametrize("video", [PQ, HLG, PQ._replace(pixel_format="yuv420p")])
def test_pq_and_hlg_never_get_8_bits(video: Video, wanted: Any, depth: Any, codec: str) -> None:
    wish = encode(codec, dynamicRange=wanted, bitDepth=depth)
    if wanted == "keep" and (codec == "libx264" or depth == 8):
        with pytest.raises(PermanentError) as caught:
            signal(video, wish)
        assert caught.value.failure.code == "dynamic-range-unsupported"
    else:
        result = signal(video, wish)
        assert result.dynamic_range == "sdr" or result.pixel_format == "yuv420p10le"


def test_keep_leaves_sdr_as_it_is() -> None:
    assert signal(SDR, encode(dynamicRange="keep")).colour == ("bt709", "bt709", "bt709", "tv", "sdr")


@pytest.mark.parametrize(
    ("profile", "compatibility", "transfer"),
    [(8, 1, "smpte2084"), (8, 4, "arib-std-b67"), (8, 2, "bt709"), (7, 6, "smpte2084")],
)
def test_dolby_vision_means_what_its_base_layer_is(profile: int, compatibility: int, transfer: str) -> None:
    video = PQ._replace(transfer="", metadata=HdrMetadata(dolby_vision=DolbyVision(profile, compatibility)))
    assert source_signal(video).transfer == transfer


@pytest.mark.parametrize(("profile", "compatibility"), [(5, 0), (10, 0), (20, 0)])
def test_dolby_vision_without_a_base_layer_is_refused(profile: int, compatibility: int) -> None:
    video = PQ._replace(metadata=HdrMetadata(dolby_vision=DolbyVision(profile, compatibility)))
    with pytest.raises(PermanentError) as caught:
        signal(video, encode("libx265"))
    assert caught.value.failure.code == "input-dolby-vision"


def test_metadata_for_each_scene_is_left_out_and_said() -> None:
    metadata = hdr_metadata([{"side_data_type": "HDR Dynamic Metadata SMPTE2094-40 (HDR10+)"}])
    step = convert(PQ._replace(metadata=metadata), signal(PQ, encode("libx265")), encode("libx265"))
    assert [notice.code for notice in step.notices] == ["dynamic-metadata-dropped"]
    assert "sidedata=mode=delete:type=DYNAMIC_HDR_PLUS" in step.filters


@pytest.mark.parametrize("value", ["", "1/0", "x/y", "nan/1", "1e999", None, [], "-1/5", "9" * 400])
def test_hostile_metadata_counts_as_none(value: Any) -> None:
    names = ("red_x", "red_y", "max_luminance", "max_content", "max_average", "dv_profile", "vdr_rpu_profile")
    kinds = ("Mastering display metadata", "Content light level metadata", "DOVI configuration record")
    metadata = hdr_metadata([{"side_data_type": kind, **dict.fromkeys(names, value)} for kind in kinds])
    assert metadata.light is None


@pytest.mark.parametrize(
    "report", [None, [], {}, {"frames": None}, {"frames": [1, "x"]}, {"frames": [{"side_data_list": 5}]}]
)
def test_a_frame_that_cannot_be_read_changes_nothing(report: Any) -> None:
    assert with_frame(PQ, report)._replace(hdr=False) == PQ


def test_the_bitstream_has_the_last_word() -> None:
    video = with_frame(SDR._replace(matrix="bt709"), {"frames": [{"color_space": "smpte170m", "color_range": "pc"}]})
    assert (video.matrix, video.full_range) == ("smpte170m", True)


def output(metadata: HdrMetadata = HdrMetadata()) -> Video:  # noqa: B008
    return PQ._replace(bits=10, metadata=metadata)


def test_metadata_that_an_output_lacks_is_said() -> None:
    source = PQ._replace(metadata=HdrMetadata(MASTERING, (1000, 400)))
    target = signal(source, encode("libx265"))
    rounded = (*MASTERING[:8], 0.00011, 999.9)
    assert verify(source, output(HdrMetadata(rounded, (1000, 400))), target) == []
    (notice,) = verify(source, output(HdrMetadata(MASTERING)), target)
    assert notice.code == "hdr-metadata-lost"
    assert "content light level" in notice.message
    assert "mastering" not in notice.message


def test_an_output_that_tells_another_signal_is_refused() -> None:
    with pytest.raises(PermanentError) as caught:
        verify(PQ, output()._replace(matrix="bt709"), signal(PQ, encode("libx265")))
    assert caught.value.failure.code == "output-invalid"
    assert "bt709" in caught.value.failure.message


@pytest.mark.parametrize(("curve", "node"), [("smpte2084", 0.58), ("arib-std-b67", 0.75)])
def test_reference_white_lands_near_the_white_of_sdr(curve: Any, node: float) -> None:
    rows = tone_map.cube(curve).splitlines()[1:]
    nodes, place = tone_map.NODES, node * (tone_map.NODES - 1)
    greys = [float(rows[index * (nodes * nodes + nodes + 1)].split()[0]) for index in range(nodes)]
    below = int(place)
    white = greys[below] + (greys[below + 1] - greys[below]) * (place - below)
    assert 0.88 < white < 0.93
    assert greys == sorted(greys)
    assert (greys[0], greys[-1]) == (0.0, 1.0)
