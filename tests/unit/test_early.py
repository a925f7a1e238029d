"""What plays while a package is made: segments of chunks, playlists that grow, and files that are still written."""

from fractions import Fraction
from itertools import pairwise

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cuts.fragments import Box, Sample, SampleDescription, boxes
from worker.early.playlists import (
    GrowingFile,
    Part,
    Picture,
    Sound,
    codec_string,
    cut,
    entry,
    gaps,
    parts_of,
    playlist,
    target_duration,
)

TICKS, FRAME, GOP = 12_800, 512, 50
"""25 frames per second, a key frame every 2 s."""
SHOWN = (0, 3, 1, 2)
"""The order of display of four frames, where a P frame is coded before the two B frames in front of it."""


def chunk(frames: int) -> list[Sample]:
    """A chunk in decode order, as an encoder that reorders pictures writes it: decoding begins before time 0."""
    samples = []
    for first in range(0, frames, GOP):
        group = range(first, min(first + GOP, frames))
        for start in range(0, len(group), 4):
            four = group[start : start + 4]
            order = SHOWN if len(four) == 4 else range(len(four))
            samples += [four[place] for place in order]
    return [
        Sample(FRAME * shown, FRAME * (n - 2), FRAME, 100 * n, 100, is_key=shown % GOP == 0)
        for n, shown in enumerate(samples)
    ]


@given(st.integers(1, 700), st.integers(1, 4), st.integers(0, 10**6))
def test_segments_of_a_chunk_have_all_frames_once_and_follow_each_other_without_a_gap(
    frames: int, groups: int, before: int
) -> None:
    start, step = before * FRAME, groups * GOP * FRAME
    end = start + frames * FRAME
    cuts = cut(chunk(frames), start, end, TICKS, step, 0)
    times = [sample.pts for each in cuts for sample in each.samples]
    assert sorted(times) == [start + FRAME * n for n in range(frames)]
    decoded = [sample.dts for each in cuts for sample in each.samples]
    assert decoded == sorted(times)
    assert sum(each.seconds for each in cuts) == Fraction(frames * FRAME, TICKS)
    assert all(each.seconds == Fraction(step, TICKS) for each in cuts[:-1])
    for each, following in pairwise(cuts):
        last = each.samples[-1]
        assert last.dts + last.duration == following.samples[0].dts == min(s.pts for s in following.samples)
    assert all(each.samples[0].is_key for each in cuts)
    assert cuts[-1].samples[-1].dts + cuts[-1].samples[-1].duration == end


def test_the_last_chunk_ends_with_its_last_frame() -> None:
    (only,) = cut(chunk(30), 0, None, TICKS, 3 * GOP * FRAME, 7)
    assert only.seconds == Fraction(30, 25)


def test_a_chunk_without_a_key_frame_in_front_is_refused() -> None:
    with pytest.raises(ValueError, match="key frame"):
        cut([Sample(0, 0, FRAME, 0, 10, is_key=False)], 0, None, TICKS, FRAME, 0)


def test_a_chunk_without_a_frame_is_gaps_of_a_segment_each() -> None:
    assert gaps(TICKS, 16 * TICKS, TICKS, 6 * TICKS) == [6, 6, 3]


def test_a_playlist_only_grows_and_ends_once() -> None:
    parts = [Part(Fraction(6006, 1000), "video-0.m4s"), Part(Fraction(2), "video-1.m4s", is_gap=True)]
    before = playlist(parts[:1], "video-init.mp4", 6, is_whole=False)
    after = playlist(parts, "video-init.mp4", 6, is_whole=False)
    whole = playlist(parts, "video-init.mp4", 6, is_whole=True)
    assert after.startswith(before)
    assert whole == f"{after}#EXT-X-ENDLIST\n"
    read = m3u8.loads(whole)
    assert (read.playlist_type, read.target_duration, read.version) == ("event", 6, 7)
    assert read.is_endlist
    assert read.is_independent_segments
    assert read.segment_map[0].uri == "video-init.mp4"
    assert [(each.duration, each.uri, bool(each.gap_tag)) for each in read.segments] == [
        (6.006, "video-0.m4s", False),
        (2.0, "video-1.m4s", True),
    ]
    assert read.start.time_offset == 0
    assert not m3u8.loads(after).is_endlist
    assert parts_of(whole) == parts


@pytest.mark.parametrize("text", ["", "#EXTM3U\n", "<html>", "#EXTINF:6,\n../../x\n", "#EXTINF:nan,\nvideo-0.m4s\n"])
def test_a_playlist_of_another_kind_has_no_segments(text: str) -> None:
    assert parts_of(text) == []


@pytest.mark.parametrize("seconds", [Fraction(6), Fraction(6006, 1000), Fraction(649, 100), Fraction(1)])
def test_no_segment_of_a_sound_is_longer_than_the_target(seconds: Fraction) -> None:
    packet = Fraction(1024, 44_100)
    assert round(seconds + packet) <= target_duration(seconds, packet)


def test_players_open_the_rung_with_its_sound() -> None:
    picture = Picture("avc1.64001E", 640, 360, Fraction(30_000, 1001), "sdr", 547_500)
    text = entry(picture, "early/0123456789/video.m3u8", Sound("en", "early/0123456789/audio.m3u8", 192_000))
    read = m3u8.loads(text)
    (variant,), (sound,) = read.playlists, read.media
    assert variant.uri == "early/0123456789/video.m3u8"
    assert variant.stream_info.bandwidth == 739_500
    assert variant.stream_info.codecs == "avc1.64001E,mp4a.40.2"
    assert variant.stream_info.resolution == (640, 360)
    assert variant.stream_info.frame_rate == 29.97
    assert variant.stream_info.video_range == "SDR"
    assert variant.stream_info.audio == sound.group_id == "stereo"
    assert (sound.uri, sound.language, sound.default) == ("early/0123456789/audio.m3u8", "en", "YES")
    mute = m3u8.loads(entry(picture._replace(dynamic_range="hlg"), "video.m3u8", None))
    assert (mute.media, mute.playlists[0].stream_info.codecs) == ([], "avc1.64001E")
    assert mute.playlists[0].stream_info.video_range == "HLG"


@pytest.mark.parametrize(
    ("kind", "box", "body", "codec"),
    [
        (b"avc1", b"avcC", "0164001effe1", "avc1.64001E"),
        (b"hvc1", b"hvcC", "0101600000009000000000005df000", "hvc1.1.6.L93.90"),
        (b"hvc1", b"hvcC", "01022000000090000000000096f000", "hvc1.2.4.L150.90"),
        (b"av01", b"av1C", "81080c00", "av01.0.08M.08"),
        (b"av01", b"av1C", "810d4c00", "av01.0.13M.10"),
    ],
)
def test_the_codec_is_told_by_the_description_of_samples(kind: bytes, box: bytes, body: str, codec: str) -> None:
    assert codec_string(SampleDescription(kind, b"", [Box(box, bytes.fromhex(body))])) == codec


@pytest.mark.parametrize("kind", [b"avc1", b"hvc1", b"av01", b"mp4v"])
def test_a_description_that_is_cut_short_has_no_codec(kind: bytes) -> None:
    members = [Box(name, b"\1") for name in (b"hvcC", b"av1C")]
    with pytest.raises(ValueError, match=r"codec|short"):
        codec_string(SampleDescription(kind, b"", members))


def test_a_file_that_grows_gives_each_fragment_when_it_is_whole() -> None:
    head = _box(b"ftyp", b"iso6") + _box(b"moov", _box(b"trak", _box(b"mdia", _box(b"mdhd", _timescale(48_000)))))
    fragments = [_sound(number, packets) for number, packets in enumerate((282, 281, 40))]
    whole = head + b"".join(fragments) + _box(b"mfra", b"")
    for step in (1, 7, 100, len(whole)):
        growing, taken = GrowingFile(), []
        for end in [*range(step, len(whole), step), len(whole)]:
            taken += growing.take(whole[growing.wanted : end])
            assert sum(each.size for each in taken) <= end
        assert growing.head == head
        assert [each.seconds for each in taken] == [Fraction(1024 * n, 48_000) for n in (282, 281, 40)]
        assert [whole[each.offset : each.offset + each.size] for each in taken] == fragments


@given(st.binary(max_size=200))
def test_a_file_of_another_kind_raises_nothing_but_value_errors(data: bytes) -> None:
    growing = GrowingFile()
    try:
        growing.take(data)
    except ValueError:
        return
    assert growing.wanted <= len(data)


def _box(kind: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4) + kind + body


def _timescale(ticks: int) -> bytes:
    return bytes(12) + ticks.to_bytes(4) + bytes(8)


def _sound(number: int, packets: int) -> bytes:
    """A fragment of so many packets of 1024 samples and 3 bytes."""
    mfhd = _box(b"mfhd", bytes(4) + number.to_bytes(4))
    tfhd = _box(b"tfhd", (0x020008).to_bytes(4) + (1).to_bytes(4) + (1024).to_bytes(4))
    trun = _box(b"trun", (0x201).to_bytes(4) + packets.to_bytes(4) + bytes(4) + packets * (3).to_bytes(4))
    moof = _box(b"moof", mfhd + _box(b"traf", tfhd + trun))
    assert [each.kind for each in boxes(moof)] == [b"moof"]
    return moof + _box(b"mdat", packets * b"abc")
