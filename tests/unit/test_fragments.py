"""A head and fragments of another file's samples give ffmpeg the same packets: times, sizes, flags and bytes."""

import json
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.case import BUNNY, FFPROBE, ffmpeg
from worker.cuts.fragments import Sample, boxes, fragment, head_of

TEST = ("-f", "lavfi", "-i", "testsrc2=size=128x72:rate=24000/1001:duration=2")
UNEVEN = (
    "-vf",
    "settb=1/90000,setpts=N*3003+mod(N*N\\,7)*311",
    "-fps_mode",
    "passthrough",
    "-enc_time_base",
    "1/90000",
)
X265 = ("-c:v", "libx265", "-x265-params", "log-level=none")
SOUND = ("-f", "lavfi", "-i", "sine=duration=2", "-map", "1:a", "-map", "0:v")


class Kind(NamedTuple):
    """A file to cut: its name, what ffmpeg makes it with, and which of its tracks is the film."""

    name: str
    arguments: tuple[object, ...]
    track: int = 0


KINDS = {
    "h264 with B-frames": Kind("a.mp4", (*TEST, "-c:v", "libx264", "-bf", 3, "-g", 12)),
    "h264 600 ticks": Kind("a.mov", (*TEST, "-c:v", "libx264", "-video_track_timescale", 600)),
    "h264 90000 ticks": Kind("a.mp4", (*TEST, *UNEVEN, "-c:v", "libx264", "-video_track_timescale", 90_000)),
    "h264 24000 ticks": Kind("a.mp4", (*TEST, "-c:v", "libx264", "-video_track_timescale", 24_000)),
    "h264 30030 ticks": Kind("a.mp4", (*TEST, "-c:v", "libx264", "-video_track_timescale", 30_030)),
    "offsets below 0": Kind("a.mp4", (*TEST, "-c:v", "libx264", "-bf", 3, "-movflags", "+negative_cts_offsets")),
    "behind the sound": Kind("a.mp4", (*TEST, *SOUND, "-c:v", "libx264", "-c:a", "aac"), 1),
    "fragmented": Kind("a.mp4", (*TEST, "-c:v", "libx264", "-movflags", "+frag_keyframe+empty_moov", "-g", 10)),
    "hevc": Kind("a.mp4", (*TEST, *X265, "-tag:v", "hvc1")),
    "hevc 10 bits": Kind("a.mp4", (*TEST, *X265, "-pix_fmt", "yuv420p10le")),
    "av1": Kind("a.mp4", (*TEST, "-c:v", "libsvtav1", "-preset", 12)),
    "prores": Kind("a.mov", (*TEST, "-c:v", "prores_ks")),
    "mjpeg": Kind("a.mov", (*TEST, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
    "mpeg4": Kind("a.mp4", (*TEST, "-c:v", "mpeg4", "-bf", 2)),
    "real clip": Kind("a.mp4", ("-i", BUNNY, "-map", "0:v", "-map", "0:a", "-c", "copy")),
}  # fmt: skip


def listed(path: Path, what: str, stream: int, *options: str) -> list[dict[str, Any]]:
    """What ffprobe lists of a stream."""
    command = [FFPROBE, "-v", "error", "-select_streams", str(stream), *options, "-show_entries", what, "-of", "json"]
    report = json.loads(subprocess.run([*command, str(path)], capture_output=True, check=True).stdout)
    entries: list[dict[str, Any]] = report[what.partition("=")[0] + "s"]
    return entries


def packets(path: Path, stream: int = 0) -> list[dict[str, Any]]:
    """The packets of a stream, with a digest of their bytes."""
    wanted = "packet=pts,dts,pos,size,duration,flags,data_hash"
    return listed(path, wanted, stream, "-show_data_hash", "sha256", "-ignore_editlist", "1")


def samples(path: Path, stream: int) -> list[Sample]:
    """The samples of a stream as ffprobe lists its packets, moved to times of at least 0."""
    read = packets(path, stream)
    shift = min(packet["dts"] for packet in read)
    return [
        Sample(
            packet["pts"] - shift,
            packet["dts"] - shift,
            packet["duration"],
            int(packet["pos"]),
            int(packet["size"]),
            packet["flags"].startswith("K"),
        )
        for packet in read
    ]


def moov_of(path: Path) -> bytes:
    body = path.read_bytes()
    offset = 0
    for box in boxes(body):
        size = len(box.body) + 8
        if box.kind == b"moov":
            return body[offset : offset + size]
        offset += size
    raise AssertionError("no moov")


def write(source: Path, target: Path, track: int, groups: Sequence[Sequence[Sample]]) -> None:
    """A fragmented file of these samples of a file."""
    original = source.read_bytes()
    with target.open("wb") as file:
        file.write(head_of(moov_of(source), track))
        for number, group in enumerate(groups, 1):
            file.write(fragment(group, number))
            for each in group:
                file.write(original[each.offset : each.offset + each.size])


def seen(path: Path, stream: int, shift: int) -> list[tuple[Any, ...]]:
    return [
        (packet["pts"] - shift, packet["dts"] - shift, packet["size"], packet["flags"], packet["data_hash"])
        for packet in packets(path, stream)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fragments")


@pytest.mark.parametrize("later", [0, 90_000, 2**32 + 12_345, 2**50])
@pytest.mark.parametrize("name", KINDS)
def test_ffmpeg_reads_the_same_packets_from_fragments(folder: Path, name: str, later: int) -> None:
    kind = KINDS[name]
    place = folder / name.replace(" ", "-")
    place.mkdir(exist_ok=True)
    source, target = place / kind.name, place / "cut.mp4"
    if not source.exists():
        ffmpeg(place, kind.name, *kind.arguments)
    every = samples(source, kind.track)
    moved = [each._replace(pts=each.pts + later, dts=each.dts + later) for each in every]
    third = -(-len(moved) // 3)
    write(source, target, kind.track, [moved[:third], moved[third : 2 * third], moved[2 * third :]])
    first = packets(source, kind.track)[0]["dts"]
    assert seen(target, 0, later) == seen(source, kind.track, first)
    shape = "stream=codec_name,profile,width,height,pix_fmt,time_base,extradata_hash,sample_aspect_ratio,color_range"
    options = ("-show_data_hash", "sha256")
    before, after = listed(source, shape, kind.track, *options), listed(target, shape, 0, *options)
    assert after == before
    assert packets(target)[-1]["duration"] == every[-1].duration


def test_what_the_sample_description_tells_is_kept(tmp_path: Path) -> None:
    """Colour, aspect and light are there, and the turn of the track's head."""
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    hdr = ("-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc,setsar=4/3")
    coded = ffmpeg(
        tmp_path, "hdr.mp4", *TEST, *hdr, "-pix_fmt", "yuv420p10le", "-c:v", "libx265",
        "-x265-params", f"log-level=none:hdr10=1:repeat-headers=1:{light}",
    )  # fmt: skip
    turned = ffmpeg(tmp_path, "a.mp4", "-display_rotation", "90", "-i", coded, "-c", "copy")
    write(turned, tmp_path / "cut.mp4", 0, [samples(turned, 0)])
    shape = "stream=color_transfer,color_primaries,color_space,sample_aspect_ratio:stream_side_data"
    before, after = (listed(path, shape, 0)[0] for path in (turned, tmp_path / "cut.mp4"))
    assert before["side_data_list"]
    assert before["color_transfer"] == "smpte2084"
    assert after == before


def test_a_file_of_times_beyond_the_format_is_refused() -> None:
    good = Sample(0, 0, 1, 0, 1, is_key=True)
    for bad in (
        good._replace(dts=-1),
        good._replace(size=2**32),
        good._replace(size=-1),
        good._replace(pts=2**31),
        good._replace(pts=-(2**31)),
        good._replace(duration=2**32),
        good._replace(dts=2**63, pts=2**63),
    ):
        with pytest.raises(ValueError, match="sample"):
            fragment([bad], 1)
    with pytest.raises(ValueError, match="order"):
        fragment([good._replace(dts=5), good._replace(dts=4)], 1)
    with pytest.raises(ValueError, match="no sample"):
        fragment([], 1)


def test_data_of_more_than_4_gb_has_a_long_head() -> None:
    data = fragment([Sample(n, n, 1, 0, 2**31, is_key=True) for n in range(3)], 1)
    assert struct.unpack(">I4sQ", data[-16:]) == (1, b"mdat", 3 * 2**31 + 16)


@pytest.fixture(scope="module")
def moov(folder: Path) -> bytes:
    return moov_of(ffmpeg(folder, "moov.mp4", *TEST, "-frames:v", 3, "-c:v", "libx264"))


@given(st.data())
def test_a_damaged_moov_gives_a_head_or_is_refused(moov: bytes, data: st.DataObject) -> None:
    damaged = bytearray(moov)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(moov) - 5))
        struct.pack_into(">I", damaged, place, data.draw(st.sampled_from([0, 1, 8, 2**31, 2**32 - 1])))
    cut = data.draw(st.integers(0, len(moov)) | st.just(len(moov)))
    try:
        head = head_of(bytes(damaged[:cut]), data.draw(st.integers(-1, 2)))
    except ValueError:
        return
    assert [box.kind for box in boxes(head)] == [b"ftyp", b"moov"]
    assert len(head) <= len(moov) + 200


def test_a_track_whose_samples_have_two_descriptions_is_refused(moov: bytes) -> None:
    place = moov.index(b"stsd") + 8
    with pytest.raises(ValueError, match="several descriptions"):
        head_of(moov[:place] + struct.pack(">I", 2) + moov[place + 4 :], 0)
    with pytest.raises(ValueError, match="no track 1"):
        head_of(moov, 1)
