"""Which audio tracks an output gets, in which layout, and under which language."""

import pytest
from msgspec import convert

from elasticrecode.media.profiles import Profile
from worker.media import languages
from worker.media.audio import AudioPlan, graphs, output_options, plan_audio
from worker.media.source import AudioTrack

STEREO = AudioTrack(1, "aac", 2, "stereo", 48000)
SURROUND = AudioTrack(1, "ac3", 6, "5.1(side)", 48000)


def plan(*tracks: AudioTrack, muxer: str = "mp4", demuxer: str = "matroska", **audio: object) -> AudioPlan:
    return plan_audio(tracks, demuxer, convert({"audio": audio}, Profile), muxer)


def codes(planned: AudioPlan) -> list[str]:
    return [notice.code for notice in planned.notices]


@pytest.mark.parametrize(
    ("wanted", "tag"),
    [("en", "eng"), ("fra", "fre"), ("fre", "fra"), ("de-AT", "ger"), ("pt-BR", "pt_br"), ("zh", "chi"), ("und", "")],
)
def test_tags_of_one_language_match(wanted: str, tag: str) -> None:
    assert languages.matches(wanted, tag)


@pytest.mark.parametrize(("wanted", "tag"), [("en", ""), ("pt-BR", "pt-PT"), ("fr", "frr"), ("xx", "")])
def test_tags_of_different_languages_do_not_match(wanted: str, tag: str) -> None:
    assert not languages.matches(wanted, tag)


def test_languages_are_written_in_three_letters() -> None:
    assert [languages.three_letters(tag) for tag in ("en", "fre", "x", "", "EN-us")] == [
        "eng",
        "fra",
        "und",
        "und",
        "eng",
    ]


@pytest.mark.parametrize(
    ("channels", "layout", "expected"),
    [
        (1, "mono", 1), (2, "stereo", 2), (2, "downmix", 2), (3, "2.1", 2), (3, "3.0", 2), (4, "quad", 6),
        (5, "5.0(side)", 6), (6, "5.1(side)", 6), (6, "hexagonal", 6), (7, "6.1", 6), (8, "7.1", 6), (24, "22.2", 6),
        (6, "", 6), (8, "8 channels (FL+FR+FC+LFE+BL+BR+DL+DR)", 6), (3, "", 2), (16, "", 2), (4, "ambisonic 1", 2),
    ],
)  # fmt: skip
def test_an_output_has_mono_stereo_or_surround(channels: int, layout: str, expected: int) -> None:
    (track,) = plan(AudioTrack(1, "flac", channels, layout, 48000)).tracks
    assert track.channels == expected


@pytest.mark.parametrize(
    ("rate", "expected"), [(8000, 48000), (22050, 44100), (44100, 44100), (96000, 48000), (176400, 44100), (0, 48000)]
)
def test_the_sample_rate_is_one_that_players_take(rate: int, expected: int) -> None:
    (track,) = plan(STEREO._replace(rate=rate)).tracks
    assert track.rate == expected


def test_opus_has_48_kilohertz() -> None:
    (track,) = plan(STEREO._replace(rate=44100), codec="opus").tracks
    assert (track.codec, track.rate) == ("libopus", 48000)


def test_surround_gets_more_bits_than_stereo() -> None:
    assert plan(SURROUND).tracks[0].options == ("b", "384K")
    assert plan(STEREO).tracks[0].options == ("b", "128K")


@pytest.mark.parametrize(
    ("codec", "muxer", "copied"),
    [
        ("aac", "mp4", True),
        ("eac3", "mp4", True),
        ("dts", "mp4", False),
        ("dts", "matroska", True),
        ("opus", "mov", False),
    ],
)
def test_a_track_is_copied_where_its_container_takes_it(codec: str, muxer: str, copied: bool) -> None:
    planned = plan(STEREO._replace(codec=codec), muxer=muxer, codec="copy")
    assert (planned.tracks[0].codec == "copy") == copied
    assert codes(planned) == ([] if copied else ["audio-encoded"])


def test_a_part_of_a_track_is_not_copied() -> None:
    planned = plan_audio([STEREO], "mov", convert({"audio": {"codec": "copy"}}, Profile), "mp4", ("atrim=start=1",))
    assert codes(planned) == ["audio-encoded"]
    assert "atrim=start=1" in planned.tracks[0].filters


def test_tracks_of_different_languages_are_no_pair() -> None:
    left = AudioTrack(1, "pcm_s16le", 1, "mono", 48000, language="eng")
    planned = plan(left, left._replace(stream=2, language="spa"), demuxer="mov", tracks="all")
    assert [track.streams for track in planned.tracks] == [(1,), (2,)]


def test_three_mono_tracks_are_no_pairs() -> None:
    tracks = [AudioTrack(number, "pcm_s16le", 1, "mono", 48000) for number in (1, 2, 3)]
    assert [track.streams for track in plan(*tracks, demuxer="mxf", tracks="all").tracks] == [(1,), (2,), (3,)]


def test_a_title_from_a_file_has_no_control_characters() -> None:
    planned = plan(STEREO._replace(title="a\0b\nc"), STEREO._replace(stream=2), tracks="all")
    assert planned.tracks[0].title == "abc"


def test_a_layout_from_a_file_never_enters_a_filter() -> None:
    planned = plan(AudioTrack(1, "flac", 2, "stereo[x];movie=/etc/passwd", 48000))
    assert "movie" not in str(graphs(planned)) + str(output_options(planned))


def test_the_length_of_aac_whose_rate_the_decoder_may_double_is_unknown() -> None:
    assert STEREO.seconds(96000) == 2
    assert STEREO._replace(rate=24000).seconds(96000) == 0
    assert STEREO._replace(rate=24000, codec="mp3").seconds(96000) == 4
