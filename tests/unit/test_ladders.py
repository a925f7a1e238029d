"""Ladders: the rungs of a package for any source, by Apple's recommendations and the promises of the API."""

import math
import random
from fractions import Fraction

import pytest

from elasticrecode.media.codecs import CODECS
from elasticrecode.media.ladders import bounds, boxes, inside, rungs
from elasticrecode.media.profiles import LADDER_NAMES, SCALES, Encryption, Ffmpeg, Package, Rung, bits

RATES = [
    Fraction(rate)
    for rate in ("0", "12", "24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60", "90", "120")
]


def size(encode: Ffmpeg) -> tuple[int, int]:
    width, height = map(int, encode.scale.split(":"))
    return width, height


def ladder(width: int, height: int, name: str = "h264", rate: str = "25", *, hdr: bool = False) -> list[list[str]]:
    encodes = rungs(Package(ladder=name), width, height, Fraction(rate), is_hdr=hdr)  # type: ignore[arg-type]
    return [[each.scale, each.bitrate or "", each.frameRate or ""] for each in encodes]


def random_rung(dice: random.Random) -> Rung:
    box = f"{dice.randrange(16, 4096, 2)}:{dice.randrange(16, 4096, 2)}"
    return Rung(
        scale=dice.choice([*SCALES, "source", box]),
        bitrate=f"{dice.randrange(50, 30_000)}K",
        codec=dice.choice(LADDER_NAMES),
        frameRate=dice.choice(["source", "30", "15", "30000/1001", "24"]),
    )


def test_ten_thousand_sources_get_the_promised_rungs() -> None:
    dice = random.Random(18)
    for _ in range(10_000):
        width, height = (round(math.exp(dice.uniform(math.log(2), math.log(8192)))) for _ in range(2))
        is_hdr, frame_rate = dice.random() < 0.5, dice.choice(RATES)
        package = Package(
            ladder=dice.choice([*LADDER_NAMES, [random_rung(dice) for _ in range(dice.randint(1, 12))]]),
            segmentSeconds=dice.choice([1, 2, 6, 10]),
            dynamicRange=dice.choice(["auto", "sdr"]),
        )
        chosen = rungs(package, width, height, frame_rate, is_hdr=is_hdr)
        case = (width, height, frame_rate, is_hdr, package)
        assert chosen, case
        assert len({(each.codec, each.scale, each.bitrate, each.dynamicRange) for each in chosen}) == len(chosen), case
        areas = [math.prod(size(each)) for each in chosen]
        assert areas == sorted(areas, reverse=True), case
        assert any(each.dynamicRange == "sdr" for each in chosen), case
        for each in chosen:
            wide, high = size(each)
            assert wide % 2 == high % 2 == 0, case
            assert 2 <= wide <= max(2, width), case
            assert 2 <= high <= max(2, height), case
            if min(wide, high) >= 128:
                assert abs(wide * height / (high * width) - 1) < 0.016, case
            average, cap, buffer = bits(each.bitrate or ""), bits(each.maxBitrate or ""), bits(each.buffersize or "")
            assert average <= cap, case
            assert cap * package.segmentSeconds + buffer <= 2 * average * package.segmentSeconds * 1.03, case
            hdr = each.dynamicRange == "keep"
            assert each.bitDepth == (10 if hdr else 8), case
            assert not hdr or (is_hdr and each.codec != "libx264" and package.dynamicRange == "auto"), case
            if each.frameRate != "source":
                divisor = frame_rate / Fraction(each.frameRate or "")
                assert divisor.denominator == 1, case
                assert divisor > 1, case
            assert frame_rate > 30 or isinstance(package.ladder, list) or each.frameRate == "source", case


def test_a_film_of_1080_lines_gets_the_rungs_of_apple() -> None:
    assert [bitrate for _, bitrate, _ in ladder(1920, 1080)] == [
        "7800K", "6M", "4500K", "3M", "2M", "1100K", "730K", "365K", "145K",
    ]  # fmt: skip
    assert [bitrate for _, bitrate, _ in ladder(1920, 1080, "h265")] == [
        "5800K", "4500K", "3400K", "2400K", "1600K", "900K", "600K", "300K", "145K",
    ]  # fmt: skip


def test_film_at_24_frames_takes_a_fifth_less_in_hevc_alone() -> None:
    assert ladder(1920, 1080, "h265", "24000/1001")[0] == ["1920:1080", "4640K", "source"]
    assert ladder(1920, 1080, "h264", "24000/1001")[0] == ["1920:1080", "7800K", "source"]


def test_fast_sources_are_halved_low_down_only() -> None:
    rates = {scale: rate for scale, _, rate in ladder(1920, 1080, rate="60000/1001")}
    assert rates == {
        "1920:1080": "source", "1280:720": "source", "960:540": "source",
        "768:432": "30000/1001", "640:360": "30000/1001", "416:234": "30000/1001",
    }  # fmt: skip
    low = [rate for scale, _, rate in ladder(1920, 1080, "h265", "50") if scale == "960:540"]
    assert low == ["source", "25", "25"]
    assert ladder(1920, 1080, rate="120")[0][2] == "60"


@pytest.mark.parametrize(
    ("source", "top"),
    [
        ((1778, 1000), "1778:1000"),
        ((2560, 1600), "2560:1600"),
        ((1920, 1200), "1920:1200"),
        ((1916, 1078), "1916:1078"),
        ((4096, 2160), "3840:2026"),
        ((7680, 4320), "3840:2160"),
        ((100, 60), "100:60"),
        ((1080, 1920), "1080:1920"),
        ((1080, 2340), "1080:2340"),
    ],
)
def test_the_top_keeps_what_the_source_has(source: tuple[int, int], top: str) -> None:
    assert ladder(*source)[0][0] == top


def test_hdr_becomes_hdr_and_sdr_rungs_where_the_codec_carries_it() -> None:
    def ranges(package: Package) -> list[tuple[str, object]]:
        return sorted(
            {(each.codec, each.dynamicRange) for each in rungs(package, 1280, 720, Fraction(25), is_hdr=True)}
        )

    assert ranges(Package()) == [("libx264", "sdr")]
    assert ranges(Package(ladder="h265")) == [("libx265", "keep"), ("libx265", "sdr")]
    assert ranges(Package(ladder="av1", dynamicRange="keep")) == [("libsvtav1", "keep")]
    assert ranges(Package(ladder="av1", dynamicRange="sdr")) == [("libsvtav1", "sdr")]
    own = Package(ladder=[Rung("720p", "2M", "h265"), Rung("360p", "500K", "h264")])
    assert ranges(own) == [("libx264", "sdr"), ("libx265", "keep"), ("libx265", "sdr")]


def test_own_rungs_that_a_small_source_makes_equal_are_one() -> None:
    own = Package(ladder=[Rung("1080p", "2M"), Rung("720p", "2M"), Rung("360p", "500K", maxBitrate="900K")])
    chosen = rungs(own, 640, 360, Fraction(25), is_hdr=False)
    assert [(each.scale, each.bitrate, each.maxBitrate) for each in chosen] == [
        ("640:360", "2M", "3M"), ("640:360", "500K", "900K"),
    ]  # fmt: skip


def test_speed_and_keyframes_are_those_of_the_package() -> None:
    for each in rungs(Package(ladder="av1", speed="fast"), 1280, 720, Fraction(25), is_hdr=False):
        assert (each.speed, each.keyframeSeconds, each.fit, each.codec) == ("fast", 2, "contain", "libsvtav1")


def test_inside_enlarges_where_it_may() -> None:
    assert inside(640, 360, (1920, 1080)) == (640, 360)
    assert inside(640, 360, (1920, 1080), enlarge=True) == (1920, 1080)


def test_no_text_of_an_encryption_shows_its_key() -> None:
    key = "00112233445566778899aabbccddeeff"
    assert key not in repr(Package(encryption=Encryption("cbcs", "https://keys.example/1", key=key)))
    assert set(LADDER_NAMES) == set(CODECS)


def test_an_automatic_ladder_has_the_sizes_of_the_fixed_one_and_none_above_the_source() -> None:
    assert [box.scale for box in boxes("h264", 1280, 720)] == ["1280:720", "960:540", "768:432", "640:360", "416:234"]
    assert [box.is_calm for box in boxes("h264", 1280, 720)] == [False, False, True, True, True]
    assert [box.scale for box in boxes("av1", 720, 1280)] == ["1280:720", "960:540", "768:432", "640:360"]
    assert boxes("h265", 1778, 1000)[0].scale == "3840:2160"  # its own size
    assert [box.scale for box in boxes("h264", 64, 36)] == ["3840:2160"]
    dice = random.Random(20)
    for _ in range(2000):
        width, height = (round(math.exp(dice.uniform(math.log(2), math.log(8192)))) for _ in range(2))
        codec = dice.choice(LADDER_NAMES)
        ladder = [Rung(scale=box.scale, bitrate="1M", codec=codec) for box in boxes(codec, width, height)]
        chosen = [size(each) for each in rungs(Package(ladder=ladder), width, height, Fraction(25), is_hdr=False)]
        areas = [wide * high for wide, high in chosen]
        assert len(set(chosen)) == len(ladder) > 0
        assert areas == sorted(areas, reverse=True)
        low, high = bounds(codec, width, height, is_hdr=False)
        assert 0 < low <= high


def test_a_ladder_that_is_yet_to_be_found_has_no_rungs() -> None:
    with pytest.raises(ValueError, match="finds its ladder first"):
        rungs(Package(ladder="auto"), 1280, 720, Fraction(25), is_hdr=False)
