"""The first variant of a multivariant playlist, which players start with."""

from fractions import Fraction
from pathlib import Path

import m3u8

from worker.packaging.multivariant import multivariant
from worker.packaging.packager import Facts
from worker.packaging.rendition import Rendition
from worker.packaging.segments import Segment
from worker.packaging.tracks import Track


def _video(name: str, rate: int) -> Rendition:
    facts = Facts("avc1.64001f", 960, 540, (1, 1), (1, 1, 1), 0, 0)
    return _rendition(Track(Path(), name, "video"), facts, rate)


def _sound(name: str, rate: int) -> Rendition:
    facts = Facts("mp4a.40.2", 0, 0, (1, 1), (0, 0, 0), 48_000, 2)
    return _rendition(Track(Path(), name, "audio", "en", channels=2, group="stereo"), facts, rate)


def _rendition(track: Track, facts: Facts, rate: int) -> Rendition:
    part = [Segment(0, rate * 6 // 8, Fraction(6))]
    return Rendition(track, facts, part, [], 90_000, Fraction(25), 0, (0, 0), 6, rate, 0)


def test_players_start_with_the_variant_that_is_nearest_to_2000_kbit_with_its_sound() -> None:
    videos = [_video("low", 1_100_000), _video("under", 1_700_000), _video("over", 2_250_000)]
    silent = m3u8.loads(multivariant(videos, "v", None)).playlists
    heard = m3u8.loads(multivariant([*videos, _sound("sound", 128_000)], "v", None)).playlists
    assert [one.uri for one in silent] == ["v/over.m3u8", "v/low.m3u8", "v/under.m3u8"]
    assert [one.uri for one in heard] == ["v/under.m3u8", "v/low.m3u8", "v/over.m3u8"]
    assert heard[0].stream_info.average_bandwidth == 1_828_000
