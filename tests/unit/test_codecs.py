"""The table of codecs, and what follows from it: request types, resolution, documentation."""

import typing

import pytest

from elasticrecode.jobs.uris import SCORE_FILES
from elasticrecode.media import codecs
from elasticrecode.media.codecs import CODECS, PURPOSES, SPEEDS, Encoder, encoder_of
from elasticrecode.media.profiles import SCHEMA, Ffmpeg, FfmpegProfile, resolve
from tests.conftest import ROOT

MARKER = "<!-- The table of media/codecs.py -->"


@pytest.mark.parametrize("word", CODECS)
def test_every_codec_has_an_encoder_on_cpu_with_a_preset_for_each_speed(word: str) -> None:
    assert "cpu" in CODECS[word].encoders
    for encoder in CODECS[word].encoders.values():
        assert set(encoder.presets) == set(SPEEDS)
        assert set(encoder.tunings) == set(PURPOSES)
        assert encoder_of(encoder.name) == (CODECS[word], encoder)


def test_without_a_speed_quality_takes_its_time_and_latency_does_not() -> None:
    encoder = CODECS["h264"].encoders["cpu"]
    assert [encoder.preset(purpose, None) for purpose in PURPOSES] == ["medium", "veryfast"]
    assert [encoder.preset("latency", speed) for speed in SPEEDS] == ["veryfast", "medium", "slow"]


def test_requests_may_use_words_and_the_names_of_encoders_and_decoders() -> None:
    encoders = {encoder.name for codec in CODECS.values() for encoder in codec.encoders.values()}
    decoders = {decoder for codec in CODECS.values() for decoder in codec.decoders.values()}
    assert set(typing.get_args(codecs.CodecName)) == {*CODECS, *encoders}
    assert set(typing.get_args(codecs.DecoderName)) == {"h264", "h265", *decoders}
    assert SCHEMA["ffmpeg"]["codec"] == ("h264", "h265")


@pytest.mark.parametrize(
    ("word", "platform"), [(word, platform) for word, codec in CODECS.items() for platform in codec.encoders]
)
def test_a_word_resolves_to_the_encoder_and_decoder_of_the_platform(word: str, platform: codecs.Platform) -> None:
    origin = word if CODECS[word].decoders else "h264"
    encode = Ffmpeg(codec=word, scale="720p", bitrate="1M", platform=platform, originCodec=origin)
    resolved = resolve(FfmpegProfile(ffmpeg=encode)).ffmpeg
    assert resolved
    assert resolved.codec == CODECS[word].encoders[platform].name
    assert resolved.originCodec == CODECS[origin].decoders.get(platform, origin)


def test_every_output_has_a_content_type_whatever_the_host_knows() -> None:
    assert {extension: codecs.content_type(f"a.{extension.upper()}") for extension in codecs.CONTAINERS} == {
        "mp4": "video/mp4",
        "m4v": "video/mp4",
        "mov": "video/quicktime",
        "mkv": "video/x-matroska",
        "ts": "video/mp2t",
        "mts": "video/mp2t",
        "m2ts": "video/mp2t",
    }
    others = {"poster.jpg": "image/jpeg", "en.vtt": "text/vtt", "song.m4a": "audio/mp4", "song.opus": "audio/ogg"}
    assert {name: codecs.content_type(name) for name in others} == others
    assert [codecs.content_type(f"a.mp4{suffix}") for suffix in SCORE_FILES] == ["application/json", "text/html"]


def _cell(value: Encoder | str | None) -> str:
    name = value.name if isinstance(value, Encoder) else value
    return f"`{name}`" if name else "none"


def test_the_documented_table_of_codecs_is_this_one() -> None:
    (path,) = [path for path in (ROOT / "docs").rglob("*.md") if MARKER in path.read_text()]
    rows = [
        "| codec | encoder on cpu | encoder on gpu | decoder on gpu |",
        "|---|---|---|---|",
        *(
            f"| `{word}` | {_cell(each.encoders.get('cpu'))} | {_cell(each.encoders.get('gpu'))} "
            f"| {_cell(each.decoders.get('gpu'))} |"
            for word, each in CODECS.items()
        ),
    ]
    documented = path.read_text().partition(MARKER)[2].strip().partition("\n\n")[0].splitlines()
    missing = [row for row in rows if row not in documented]
    assert documented == rows, f"{path.relative_to(ROOT)} lacks {missing or 'the order of media/codecs.py'}"
