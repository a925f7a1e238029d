"""Packages of real encodes by the real Packager, read by parsers of other people and by the checker of packages."""

import struct
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import m3u8
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from mpegdash.parser import MPEGDASHParser

from tests.packages.check import check
from tests.packages.package import Package
from tests.packaging.ladders import (
    AES,
    CBCS,
    FFMPEG,
    FFPROBE,
    KEY,
    SECONDS,
    VERSION,
    Built,
    build,
    languages,
    rungs,
    sound,
    sprites,
    subtitles,
    trick,
    video,
)
from worker.packaging.tracks import Track


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Built:
    """Three rungs, languages and layouts, subtitles, key frames, sprites."""
    return build([*rungs(), *languages(), trick()], folder / "whole", thumbnails=sprites())


def broken(built: Built, key: bytes | None = None) -> set[str]:
    """The rules of the checker that a package breaks, which it must keep."""
    rows = check(Package(built.root, key=key))
    assert len(rows) > 100
    return {f"{row.rule.name}: {row.finding.where} {row.finding.measured}" for row in rows if row.verdict == "FAIL"}


def master(built: Built) -> Any:
    return m3u8.load(str(built.root / "master.m3u8"))


def frames(path: Path, *options: str) -> list[str]:
    """The hashes of a file's decoded frames, with their times."""
    command = [FFMPEG, "-v", "error", *options, "-i", str(path), "-f", "framehash", "-hash", "md5", "-"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    return [line for line in lines if not line.startswith("#")]


def samples(path: Path, *options: str) -> list[str]:
    """The hashes of a file's samples as they are coded."""
    shown = ["-show_entries", "packet=data_hash", "-show_data_hash", "md5", "-of", "csv=p=0"]
    command = [FFPROBE, "-v", "error", *options, *shown, str(path)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()


def test_a_whole_package_breaks_no_rule(whole: Built) -> None:
    assert broken(whole) == set()


LADDERS: dict[str, tuple[Callable[[], list[Track]], dict[str, Any]]] = {
    "hevc": (lambda: rungs(codec="h265"), {}),
    "av1": (lambda: rungs(codec="av1"), {}),
    "portrait": (lambda: rungs((("360:640", 600), ("234:416", 145))), {}),
    "ntsc": (
        lambda: rungs(fps="30000/1001", gop=60),
        {"segment": Fraction(6006, 1000), "gop": Fraction(2002, 1000)},
    ),
    "film": (lambda: rungs(fps="24000/1001", gop=48), {"segment": Fraction(6006, 1000), "gop": Fraction(2002, 1000)}),
    "halved": (lambda: [*rungs((("640:360", 600),), fps="50", gop=100), *rungs((("416:234", 145),))], {}),
    "hdr": (
        lambda: [
            *rungs(codec="h265", colour="pq", depth=10),
            *rungs((("416:234", 146), ("640:360", 601)), codec="h265"),
        ],
        {},
    ),
    "hlg-av1": (
        lambda: [*rungs(codec="av1", colour="hlg", depth=10), *rungs((("416:234", 146),), codec="av1")],
        {},
    ),
}


@pytest.mark.parametrize("name", LADDERS)
def test_a_ladder_of_any_kind_breaks_no_rule(name: str, folder: Path) -> None:
    ladder, options = LADDERS[name]
    built = build([*ladder(), *languages()], folder / name, **options)
    assert broken(built) == set()


def test_tracks_hold_the_samples_of_their_sources_at_the_same_times(whole: Built) -> None:
    for track in [*rungs(), *languages()[:3]]:
        packaged = whole.root / VERSION / f"{track.name}.mp4"
        assert samples(packaged) == samples(track.file)
        assert frames(packaged) == frames(track.file)


def test_key_frames_fall_at_equal_ticks_on_rungs_of_one_rate(whole: Built) -> None:
    def times(name: str) -> list[str]:
        shown = ["-show_entries", "packet=pts,flags", "-of", "csv=p=0"]
        command = [FFPROBE, "-v", "error", *shown, str(whole.root / VERSION / f"{name}.mp4")]
        lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
        return [line.split(",")[0] for line in lines if "K" in line.split(",")[1]]

    expected = [str(12800 * 2 * number) for number in range(SECONDS // 2)]
    assert [times(track.name) for track in rungs()] == [expected] * 3


def test_the_first_variant_is_the_one_to_start_with(folder: Path) -> None:
    ladder = rungs((("640:360", 600), ("480:270", 2000), ("416:234", 145)))
    built = build([*rungs(codec="h265"), *ladder], folder / "first")
    names = [one.uri for one in master(built).playlists]
    assert names[0] == f"{VERSION}/h264-270p-2000k.m3u8"
    assert [name.split("/")[1].split("-")[0] for name in names] == ["h264"] * 3 + ["h265"] * 3
    assert names[1:3] == [f"{VERSION}/h264-234p-145k.m3u8", f"{VERSION}/h264-360p-600k.m3u8"]


def test_every_group_has_every_language(whole: Built) -> None:
    groups: dict[str, list[tuple[str, str, str, str]]] = {}
    for one in master(whole).media:
        if one.type == "AUDIO":
            row = (one.language, one.channels, one.default, one.uri.split("/")[1])
            groups.setdefault(one.group_id, []).append(row)
    french = ("fr", "2", "NO", "audio-fr-stereo.m3u8")
    assert groups == {
        "audio-stereo": [("en", "2", "YES", "audio-en-stereo.m3u8"), french],
        "audio-5.1": [("en", "6", "YES", "audio-en-5.1.m3u8"), french],
    }


def test_a_key_frame_of_each_gop_decodes_by_itself(whole: Built) -> None:
    built = whole.root / VERSION
    playlist = m3u8.load(str(built / "h264-360p-600k-iframes.m3u8"))
    data = (built / "h264-360p-600k.mp4").read_bytes()
    size = int(playlist.segments[0].init_section.byterange.split("@")[0])
    decoded = []
    for segment in playlist.segments:
        length, offset = map(int, segment.byterange.split("@"))
        (whole.folder / "frame.mp4").write_bytes(data[:size] + data[offset : offset + length])
        decoded.append(frames(whole.folder / "frame.mp4")[0].split(",")[-1])
    every = [line.split(",")[-1] for line in frames(built / "h264-360p-600k.mp4")]
    assert decoded == every[::50]


def test_dense_key_frames_are_for_fast_forward_alone(whole: Built) -> None:
    parsed = master(whole)
    assert not [one for one in parsed.playlists if "trick" in one.uri]
    assert [one.uri for one in parsed.iframe_playlists if "trick" in one.uri] == [f"{VERSION}/h264-234p-trick.m3u8"]
    playlist = m3u8.load(str(whole.root / VERSION / "h264-234p-trick.m3u8"))
    assert [segment.duration for segment in playlist.segments] == [1.0] * SECONDS
    manifest = MPEGDASHParser.parse((whole.root / "manifest.mpd").read_text())
    sets = manifest.periods[0].adaptation_sets
    tricks = [one for one in sets for item in one.essential_properties or [] if "trickmode" in item.scheme_id_uri]
    assert [one.representations[0].id for one in tricks] == ["h264-234p-trick"]


def test_the_mpd_addresses_the_index_of_each_track(whole: Built) -> None:
    manifest = MPEGDASHParser.parse((whole.root / "manifest.mpd").read_text())
    shown = [one for item in manifest.periods[0].adaptation_sets for one in item.representations if one.segment_bases]
    assert len(shown) == 7
    for one in shown:
        first, last = map(int, one.segment_bases[0].index_range.split("-"))
        data = (whole.root / one.base_urls[0].base_url_value).read_bytes()
        assert (struct.unpack(">I", data[first : first + 4])[0], data[first + 4 : first + 8]) == (
            last - first + 1,
            b"sidx",
        )


def test_figures_are_those_of_the_files(whole: Built) -> None:
    for figures in whole.packaged.tracks:
        name = f"{figures.name}.{'vtt' if figures.kind == 'text' else 'mp4'}"
        size = (whole.root / VERSION / name).stat().st_size
        assert figures.bytes == size
        if figures.kind in ("video", "audio"):
            playlist = m3u8.load(str(whole.root / VERSION / f"{figures.name}.m3u8"))
            sizes = [int(one.byterange.split("@")[0]) for one in playlist.segments]
            assert figures.segments == len(sizes)
            assert abs(figures.average - sum(sizes) * 8 / sum(one.duration for one in playlist.segments)) < 2
            coded = sum(len(data) for data in payloads(whole.root / VERSION / name))
            assert figures.overhead == size - coded


def payloads(path: Path) -> Iterator[bytes]:
    """The contents of the mdat boxes of a file."""
    data, offset = path.read_bytes(), 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"mdat":
            yield data[offset + 8 : offset + size]
        offset += size


def test_the_same_tracks_make_the_same_bytes(folder: Path, whole: Built) -> None:
    again = build([*rungs(), *languages(), trick()], folder / "again", thumbnails=sprites())
    for path, name in whole.packaged.files:
        assert (again.root / name).read_bytes() == path.read_bytes(), name


def test_the_entry_files_are_last(whole: Built) -> None:
    names = [name for _, name in whole.packaged.files]
    assert names[-2:] == ["manifest.mpd", "master.m3u8"]
    assert all(name.startswith(f"{VERSION}/") for name in names[:-2])


def test_formats_that_nobody_wants_are_left_out(folder: Path) -> None:
    built = build(rungs()[:1], folder / "dash", formats=["dash"])
    assert sorted(name for _, name in built.packaged.files) == [f"{VERSION}/h264-360p-600k.mp4", "manifest.mpd"]
    built = build(rungs()[:1], folder / "hls", formats=["hls"])
    assert built.packaged.files[-1][1] == "master.m3u8"
    assert not [name for _, name in built.packaged.files if name.endswith(".mpd")]


def test_sample_encryption_is_undone_by_the_key(folder: Path) -> None:
    built = build([*rungs(), *languages(), trick()], folder / "cbcs", encryption=CBCS)
    assert broken(built, KEY) == set()
    for track in [*rungs()[:2], *languages()[:1]]:
        packaged = built.root / VERSION / f"{track.name}.mp4"
        assert samples(packaged) != samples(track.file)
        assert samples(packaged, "-decryption_key", KEY.hex()) == samples(track.file)
    again = build([*rungs(), *languages(), trick()], folder / "cbcs2", encryption=CBCS)
    for path, name in built.packaged.files:
        assert (again.root / name).read_bytes() == path.read_bytes(), name


def test_whole_segments_are_undone_by_the_key(folder: Path) -> None:
    built = build([*rungs(), *languages(), trick()], folder / "aes", formats=["hls"], encryption=AES)
    assert [name for _, name in built.packaged.files if "iframes" in name or "trick" in name] == []
    assert len(built.packaged.notices) == 1
    for track in [*rungs()[:2], *languages()[:1]]:
        playlist = m3u8.load(str(built.root / VERSION / f"{track.name}.m3u8"))
        data = (built.root / VERSION / f"{track.name}.mp4").read_bytes()
        clear = data[: int(playlist.segments[0].init_section.byterange.split("@")[0])]
        for number, segment in enumerate(playlist.segments):
            assert (segment.key.method, segment.key.uri) == ("AES-128", AES.key_uri)
            length, offset = map(int, segment.byterange.split("@"))
            cipher = Cipher(AES128(KEY), CBC(number.to_bytes(16, "big"))).decryptor()
            padded = cipher.update(data[offset : offset + length]) + cipher.finalize()
            padder = PKCS7(128).unpadder()
            clear += padder.update(padded) + padder.finalize()
        (built.folder / "clear.mp4").write_bytes(clear)
        assert samples(built.folder / "clear.mp4") == samples(track.file)


@pytest.mark.parametrize("encryption", [CBCS, AES])
def test_the_key_is_left_nowhere(encryption: Any, folder: Path) -> None:
    built = build(rungs()[:1], folder / f"left-{encryption.scheme}", formats=["hls"], encryption=encryption)
    for path in built.folder.iterdir():
        data = path.read_bytes()
        assert KEY not in data, path.name
        assert KEY.hex().encode() not in data.lower(), path.name
    assert KEY.hex() not in repr(encryption)
    assert not [path.name for path in built.folder.iterdir() if "tempfile" in path.name or "flags" in path.name]


def test_labels_of_a_hostile_file_do_no_harm(folder: Path) -> None:
    label = 'a"\n#EXT-X-ENDLIST\r\x00</Label><x>'
    tracks = [
        *rungs()[:2],
        Track(sound(2), "one", "audio", 'en"', label, 2),
        Track(sound(2, hertz=880), "two", "audio", "en", label, 2),
        Track(subtitles(), "three", "text", "en", label),
    ]
    built = build(tracks, folder / "hostile")
    assert broken(built) == set()
    assert len((built.root / "master.m3u8").read_text().splitlines()) < 20


def test_groups_of_the_same_sounds_are_one(folder: Path) -> None:
    english = Track(sound(2), "english", "audio", "en", "", 2, is_default=True)
    french = Track(sound(1), "french", "audio", "fr", "", 1)
    built = build([*rungs()[:2], english, french], folder / "alike")
    assert broken(built) == set()
    assert {one.group_id for one in master(built).media} == {"audio-stereo"}
    assert len(master(built).playlists) == 2


def test_two_tracks_of_one_language_have_names_that_differ(folder: Path) -> None:
    tracks = [
        *rungs()[:2],
        Track(sound(2), "one", "audio", "en", "", 2, is_default=True),
        Track(sound(2, hertz=880), "two", "audio", "en", "Commentary", 2),
        Track(sound(1), "three", "audio", "", "", 1),
    ]
    built = build(tracks, folder / "names")
    assert broken(built) == set()
    assert len({(one.group_id, one.name) for one in master(built).media}) == len(master(built).media)


def test_sounds_of_other_codecs_are_named_by_their_sample_entries(folder: Path) -> None:
    tracks = [
        *rungs()[:2],
        Track(sound(2), "one", "audio", "en", "English", 2, is_default=True, group="stereo"),
        Track(sound(6, codec="eac3"), "two", "audio", "en", "English", 6, group="5.1"),
        Track(sound(2, codec="libopus"), "three", "audio", "fr", "Français", 2, group="stereo"),
    ]
    built = build(tracks, folder / "codecs")
    assert broken(built) == set()
    assert {figures.codecs for figures in built.packaged.tracks[2:]} == {"mp4a.40.2", "ec-3", "Opus"}


def test_sounds_carry_the_loudness_that_they_have(whole: Built) -> None:
    for track in languages()[:3]:
        command = [FFMPEG, "-hide_banner", "-i", str(track.file), "-af", "ebur128=peak=true", "-f", "null", "-"]
        log = subprocess.run(command, capture_output=True, check=True, text=True).stderr
        loudness, peak = (float(log.rsplit(f" {word}:", 1)[1].split()[0]) for word in ("I", "Peak"))
        data = (whole.root / VERSION / f"{track.name}.mp4").read_bytes()
        place = data.index(b"ludt")
        box = data[place + 8 : place - 4 + struct.unpack_from(">I", data, place - 4)[0]]
        assert box[:8] == b"tlou\0\0\0\0"
        coded_peak, count, method, coded = int.from_bytes(box[10:13], "big"), box[14], box[15], box[16]
        assert (count, method) == (1, 1)
        assert abs(coded / 4 - 57.75 - loudness) <= 0.15
        assert abs(20 - coded_peak / 32 - peak) <= 0.1


def test_silence_has_no_loudness(folder: Path) -> None:
    silent = sound(2, volume=0)
    built = build([*rungs()[:2], Track(silent, "silence", "audio", "en", "", 2)], folder / "silent")
    assert b"ludt" not in (built.root / VERSION / "silence.mp4").read_bytes()
    assert broken(built) == set()


def test_a_film_shorter_than_a_segment_is_one_segment(folder: Path) -> None:
    built = build(rungs()[:2], folder / "short", segment=Fraction(20))
    assert [figures.segments for figures in built.packaged.tracks] == [1, 1]
    assert broken(built) == set()


def test_video_without_b_frames_starts_at_zero(folder: Path) -> None:
    track = Track(video("416:234", 90, fps="25", gop=25), "dense", "video")
    built = build([track], folder / "gops", gop=Fraction(1))
    playlist = m3u8.load(str(built.root / VERSION / "dense-iframes.m3u8"))
    assert [segment.duration for segment in playlist.segments] == [1.0] * SECONDS
