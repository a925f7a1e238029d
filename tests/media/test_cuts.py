"""Cuts of films of all kinds: the pictures of all cuts are those of the film, and the rest has everything else."""

import shutil
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.media.case import BUNNY, FFMPEG, FFPROBE, SETTINGS, ffmpeg
from worker.cuts import objects
from worker.cuts.index import Film, Uncuttable, join_rest, make_cut, make_rest, open_index
from worker.cuts.objects import LocalFile
from worker.media.demuxers import input_options
from worker.media.encode import inspect
from worker.media.source import Source
from worker.sandbox.runner import Runner

SECONDS = 12
BOUNDS = (0.0, 2.0, 4.24, 4.28, 6.999, 9.5, 11.96)
"""On a key frame, off one, a frame apart, between two frames, and one frame before the end."""
SOUND = ("-f", "lavfi", "-i", f"sine=d={SECONDS}")
FAST = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", 50)


def picture(size: str = "320x180", rate: str = "25") -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={SECONDS},noise=alls=12:allf=t")


FIELDS = ("-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ildct+ilme")
H264: dict[str, tuple[object, ...]] = {
    "closed": (*picture(), *SOUND, *FAST),
    "open": (*picture(), *SOUND, *FAST, "-x264-params", "open-gop=1:bframes=3"),
    "pyramid": (*picture(), *SOUND, *FAST, "-g", 120, "-bf", 5, "-x264-params", "b-pyramid=normal:ref=5"),
    "plain": (*picture(), *SOUND, *FAST, "-bf", 0),
    "film": (*picture(rate="30000/1001"), *SOUND, *FAST),
    "sparse": (*picture(), *FAST, "-g", 1000, "-keyint_min", 1000, "-sc_threshold", 0),
    "fields": (*picture("720x576", "50"), *SOUND, *FIELDS, *FAST, "-x264-params", "tff=1", "-g", 40),
    "late-sound": (*picture(), "-itsoffset", 1.3, *SOUND, *FAST),
    "late-picture": ("-itsoffset", 0.7, *picture(), *SOUND, *FAST),
    "later": ("-itsoffset", 2, *picture(), "-itsoffset", 1.5, *SOUND, *FAST, "-copyts"),
}
OTHERS: dict[str, tuple[object, ...]] = {
    "hevc": (*picture(), *SOUND, "-c:v", "libx265", "-preset", "ultrafast",
             "-x265-params", "log-level=error:keyint=48:bframes=4:open-gop=1"),
    "vp9": (*picture(), *SOUND, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8, "-g", 50),
    "av1": (*picture(), *SOUND, "-c:v", "libsvtav1", "-preset", 12, "-g", 64),
    "mpeg2": (*picture("720x576", "50"), *SOUND, *FIELDS, "-c:v", "mpeg2video", "-b:v", "4M", "-g", 15, "-bf", 2,
              "-c:a", "mp2"),
    "mpeg4": (*picture(), *SOUND, "-c:v", "mpeg4", "-g", 50, "-bf", 2),
}  # fmt: skip
INTRA: dict[str, tuple[object, ...]] = {
    "prores": (*picture(), *SOUND, "-c:v", "prores", "-c:a", "pcm_s16le"),
    "mjpeg": (*picture(), *SOUND, "-c:v", "mjpeg", "-q:v", 4, "-c:a", "pcm_s16le"),
}


@cache
def film(folder: Path, name: str) -> Path:
    """One of the films, made once."""
    kind, _, container = name.partition(".")
    if made := (H264 | OTHERS | INTRA).get(kind):
        sound = ("-c:a", "libopus") if container == "webm" else ()
        return ffmpeg(folder, name, *made, *sound, "-strict", "-2")
    whole = film(folder, "open.mp4" if kind.startswith("edit") else "plain.mp4")
    jitter = "setts=ts=N*512+128*mod(N*5\\,17)"
    changed: dict[str, tuple[object, ...]] = {
        "edit": ("-ss", 3.3, "-i", whole, "-c", "copy"),
        "edit-end": ("-ss", 2.1, "-t", 8.3, "-i", whole, "-c", "copy"),
        "front": ("-i", whole, "-c", "copy", "-movflags", "+faststart"),
        "varied": ("-i", whole, "-c", "copy", "-bsf:v", jitter, "-video_track_timescale", 90000),
    }
    return ffmpeg(folder, name, *changed[kind])


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("films")
    return lambda name: film(folder, name)


@pytest.fixture(autouse=True)
def by_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also small films are read by ranges."""
    monkeypatch.setattr(objects, "_SMALL", 0)


class Frame(NamedTuple):
    """A decoded picture: its time in ticks, and the hash of its samples."""

    time: int
    content: str


def decoded(ticks: int, *arguments: object) -> list[Frame]:
    """The pictures that a graph of filters gives as [picture]. There are no errors."""
    shown = ("-map", "[picture]", "-fps_mode:v", "passthrough", "-enc_time_base:v", f"1/{ticks}")
    command = [
        FFMPEG,
        "-v",
        "fatal",
        "-nostdin",
        *arguments,
        *shown,
        "-avoid_negative_ts",
        "disabled",
        "-f",
        "framemd5",
        "-",
    ]
    lines = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split(",") for line in lines if not line.startswith("#")]
    return [Frame(int(field[2]), field[5].strip()) for field in fields]


def whole_film(path: Path, source: Source, film: Film) -> list[Frame]:
    """The pictures that ffmpeg gives to the encoder of the undivided film, which reads the sound as well."""
    video = source.video
    sound = [word for track in source.audio if track.is_usable for word in ("-map", f"0:{track.stream}")]
    return decoded(
        film.ticks, *input_options(Runner().limits, is_late=video.is_late), "-noautorotate", "-reinit_filter:v", 0,
        "-f", video.demuxer, "-i", path, *([*sound, "-f", "null", "-"] if sound else []),
        "-filter_complex", f"[0:{video.stream}]null[picture]",
    )  # fmt: skip


def cut_film(path: Path, film: Film) -> list[Frame]:
    """The pictures that ffmpeg gives to the encoder of a cut."""
    return decoded(
        film.ticks, "-copyts", "-noautorotate", "-reinit_filter:v", 0, "-f", film.demuxer, "-i", path,
        "-filter_complex", f"[0:{film.stream}]{','.join(film.filters)}[picture]",
    )  # fmt: skip


class Opened:
    """A film that is opened by ranges in a folder of its own."""

    def __init__(self, path: Path, folder: Path) -> None:
        folder.mkdir()
        self.path, self.folder = path, folder
        self.file = LocalFile(path, Runner())
        self.source, self.index = open_index(self.file, folder, SETTINGS, Runner())


def spans(bounds: Iterable[float]) -> list[tuple[float, float | None]]:
    return [*pairwise(bounds), (list(bounds)[-1], None)]


def frames_of_cuts(film: Opened, bounds: Iterable[float]) -> list[Frame]:
    """The pictures of all cuts between bounds, each as far as it lies in its span."""
    ticks, frames = film.index.film.ticks, list[Frame]()
    for start, end in spans(bounds):
        cut = film.folder / "cut"
        make_cut(film.index.film, film.index.recipe(start, end), film.file, cut, Runner())
        first = round(start * ticks, 3) if start else -(2**60)
        last = 2**60 if end is None else round(end * ticks, 3)
        frames += [frame for frame in cut_film(cut, film.index.film) if first <= frame.time < last]
    return frames


MP4 = [f"{name}.mp4" for name in (*H264, *OTHERS, "edit", "edit-end", "front", "varied")]
MOV = [f"{name}.mov" for name in (*INTRA, "edit-end")]
MATROSKA = [*(f"{name}.mkv" for name in (*H264, *OTHERS, "varied") if name != "mpeg4"), "vp9.webm", "av1.webm"]
BROADCAST = [f"{name}.ts" for name in (*H264, "hevc", "mpeg2")]
OFTEN = {
    *("open.mp4", "fields.mp4", "varied.mp4", "edit-end.mov", "av1.mkv", "open.mkv", "late-sound.mkv", "vp9.webm"),
    *("pyramid.ts", "hevc.ts", "mpeg2.ts", "later.ts"),
}
NAMES = [
    pytest.param(name, marks=() if name in OFTEN else pytest.mark.full) for name in (*MP4, *MOV, *MATROSKA, *BROADCAST)
]


@pytest.mark.parametrize("name", NAMES)
def test_the_cuts_have_the_frames_of_the_film_each_once_at_its_time(
    name: str, films: Callable[[str], Path], tmp_path: Path
) -> None:
    film = Opened(films(name), tmp_path / "cuts")
    whole = whole_film(film.path, film.source, film.index.film)
    assert len(whole) > 100
    assert frames_of_cuts(film, BOUNDS) == whole
    if film.index.is_exact:
        assert film.index.frames == len(whole)
    local = tmp_path / "input"
    shutil.copy(film.path, local)
    assert film.source == inspect(local, SETTINGS, Runner())


def packets(path: Path, film: Source) -> list[str]:
    """The packets of all tracks beside the film, with hashes of their data."""
    listed = []
    for stream in [*(track.stream for track in film.audio), *(track.stream for track in film.subtitles)]:
        command = [FFPROBE, "-v", "error", "-f", film.video.demuxer, "-select_streams", str(stream)]
        shown = ["-show_entries", "packet=stream_index,pts,dts,duration,size,data_hash", "-show_data_hash", "md5"]
        done = subprocess.run([*command, *shown, "-print_format", "csv=p=0", path], capture_output=True, text=True)
        listed += done.stdout.splitlines()
    return listed


def rest_of(film: Opened, bounds: Iterable[float]) -> Path:
    """The rest, by whatever way the container has it; all cuts are made."""
    pieces, cut = list[Path](), film.folder / "cut"
    for number, (start, end) in enumerate(spans(bounds)):
        pieces.append(film.folder / f"piece-{number}")
        recipe = film.index.recipe(start, end)
        make_cut(film.index.film, recipe, film.file, cut, Runner(), pieces[-1])
    rest = make_rest(film.index, film.file, film.folder / "rest")
    if not rest:
        rest = film.folder / "rest"
        join_rest(film.index.film, pieces, rest)
    return rest


@pytest.mark.parametrize(
    "name", ["closed.mp4", "later.mp4", "edit-end.mp4", "prores.mov", "open.mkv", "vp9.webm", "pyramid.ts", "mpeg2.ts"]
)
def test_the_rest_has_the_packets_of_all_other_tracks(name: str, films: Callable[[str], Path], tmp_path: Path) -> None:
    film = Opened(films(name), tmp_path / "cuts")
    rest = rest_of(film, BOUNDS)
    assert len(packets(film.path, film.source)) > 100
    assert packets(rest, film.source) == packets(film.path, film.source)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 80 MB."""
    noise = (
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=640x360:r=25:d=32,noise=alls=60:allf=t",
        *("-f", "lavfi", "-i", "sine=d=32"),
    )
    folder = tmp_path_factory.mktemp("long")
    return ffmpeg(
        folder, "x.mkv", *noise, "-c:v", "mpeg2video", "-b:v", "20M", "-minrate", "20M", "-g", 12, "-c:a", "mp2"
    )


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_all_cuts_and_the_rest_read_at_most_a_fifth_more_than_the_film(
    container: str, long_film: Path, tmp_path: Path
) -> None:
    film = Opened(ffmpeg(tmp_path, f"x.{container}", "-i", long_film, "-c", "copy"), tmp_path / "cuts")
    assert film.file.size > 60_000_000
    rest = rest_of(film, (0, 11, 21))
    assert packets(rest, film.source) == packets(film.path, film.source)
    assert film.file.bytes_read <= 1.2 * film.file.size
    assert rest.stat().st_blocks * 512 < 0.2 * film.file.size


def test_a_film_whose_key_frames_are_gradual_is_not_cut(films: Callable[[str], Path], tmp_path: Path) -> None:
    gradual = ffmpeg(tmp_path, "x.mp4", *picture(), *FAST, "-x264-params", "intra-refresh=1")
    with pytest.raises(Uncuttable, match="build up"):
        Opened(gradual, tmp_path / "cuts")


def test_a_film_in_fragments_is_not_cut(tmp_path: Path) -> None:
    fragments = ffmpeg(tmp_path, "x.mp4", "-i", BUNNY, "-c", "copy", "-movflags", "frag_keyframe")
    with pytest.raises(Uncuttable, match="fragmented"):
        Opened(fragments, tmp_path / "cuts")


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("x.avi", (), "no index"),
        ("x.flv", (), "no index"),
        ("x.m2ts", ("-mpegts_m2ts_mode", 1), "no index"),
        ("x.mkv", ("-live", 1), "no cues"),
    ],
)
def test_a_film_without_an_index_is_not_cut(
    name: str, arguments: tuple[object, ...], reason: str, films: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(Uncuttable, match=reason):
        Opened(ffmpeg(tmp_path, name, "-i", films("closed.mp4"), "-c", "copy", *arguments), tmp_path / "cuts")


def test_a_transport_stream_whose_clock_begins_anew_is_not_cut(films: Callable[[str], Path], tmp_path: Path) -> None:
    stream = films("closed.ts").read_bytes()
    (tmp_path / "x.ts").write_bytes(stream * 2)
    with pytest.raises(Uncuttable):
        Opened(tmp_path / "x.ts", tmp_path / "cuts")
