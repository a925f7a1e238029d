"""Nobody can tell a divided film from the undivided one: sources, codecs, containers and lengths of chunks, by figures.

With SIZE=full every source meets every encode and container.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.media.case import Made, ffmpeg, make
from tests.media.dividing import DividedFilm, divide
from tests.media.seams import (
    described,
    film_times,
    frame_digests,
    light,
    parameter_sets,
    pictures,
    sounds_and_texts,
    spilled,
)
from tests.packages.made import make_package
from tests.sizes import SIZE
from worker.cuts import movie
from worker.media.images import webvtt

SECONDS = 5
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", 20, "-pix_fmt", "yuv420p")
SCENES = "cellauto=s=64x36:rule=110:r=25"
MOVING = "testsrc2=s=96x54:r=25"
CHAPTERS = ";FFMETADATA1\ntitle=A film\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={start + 1700}\ntitle=Part {start}\n" for start in (0, 1700, 3400)
)
TEXTS = "1\n00:00:00,900 --> 00:00:02,500\nBonjour\n\n2\n00:00:03,900 --> 00:00:04,500\nSalut\n"


def tone(seconds: float = SECONDS, pitch: int = 330) -> tuple[object, ...]:
    """An input with a tone that comes and goes."""
    return ("-f", "lavfi", "-i", f"aevalsrc='0.3*sin({pitch}*2*PI*t)*lt(mod(t,0.7),0.5)':d={seconds}:s=48000")


def picture(filters: str = "", base: str = MOVING, seconds: float = SECONDS) -> tuple[object, ...]:
    """An input with pictures of which every one differs."""
    return ("-f", "lavfi", "-i", f"{base}:d={seconds}" + (f",{filters}" if filters else ""))


class Film(NamedTuple):
    """A source: its name, and the arguments of ffmpeg that make it. `reason` is why it is not divided."""

    name: str
    arguments: tuple[object, ...]
    reason: str = ""


_OPEN = ("-x264-params", "open-gop=1:keyint=30:min-keyint=30:scenecut=0:bframes=3:b-adapt=0")
_PYRAMID = ("-x264-params", "keyint=37:bframes=5:b-pyramid=normal:b-adapt=0:ref=4:scenecut=0")
_FIELDS = ("-x264-params", "tff=1:keyint=25:scenecut=0", "-flags", "+ilme+ildct")
_FREE = ("-fps_mode", "passthrough", "-enc_time_base", "1/90000")
_VARYING = "settb=1/90000,setpts=N*3600+mod(N*N\\,7)*311"
_JOIN = ("-map", "0:v", "-map", "1:a")
_CUTS = "select='not(between(t,2.2,2.4))',hue=h='90*gte(t,1.94)':b='2*gte(t,3.1)'"
_BESIDE = ("-i", "texts.srt", "-i", "tags.txt", "-map", 0, "-map", 1, "-map", 2, "-map", 3, "-map_metadata", 4)
_TWO = ("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fre", "-metadata:s:s:0", "language=fre")
_PQ = "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
_HLG = _PQ.replace("smpte2084", "arib-std-b67")
_HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params")
_GROUPS = "keyint=30:open-gop=1:log-level=1"
_MASTERED = (
    "hdr10=1:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)

FILMS = {
    "open groups, mp4": Film("film.mp4", (*picture(), *tone(), *X264, *_OPEN, "-c:a", "aac")),
    "open groups, mkv": Film("film.mkv", (*picture(), *tone(), *X264, *_OPEN, "-c:a", "flac")),
    "open groups, ts": Film("film.ts", (*picture(), *tone(), *X264, *_OPEN, "-c:a", "mp2")),
    "pyramids": Film("film.mp4", (*picture(), *tone(), *X264, *_PYRAMID, "-c:a", "aac")),
    "pyramids, mkv": Film("film.mkv", (*picture(), *tone(), *X264, *_PYRAMID, "-c:a", "aac")),
    "fields": Film(
        "film.mp4",
        (*picture("interlace", base="testsrc2=s=128x72:r=50"), *tone(), *X264, *_FIELDS, "-c:a", "aac"),
    ),
    "fields, ts": Film(
        "film.ts", (*picture("interlace", base="testsrc2=s=128x72:r=50"), *tone(), *X264, *_FIELDS, "-c:a", "mp2")
    ),
    "varying": Film("film.mp4", (*picture(_VARYING), *tone(), *X264, *_FREE, "-c:a", "aac")),
    "varying, mkv": Film("film.mkv", (*picture(_VARYING), *tone(), *X264, *_FREE, "-g", 20, "-c:a", "aac")),
    "29.97": Film("film.mp4", (*picture(base="testsrc2=s=96x54:r=30000/1001"), *tone(), *X264, "-g", 40)),
    "29.97, mkv": Film("film.mkv", (*picture(base="testsrc2=s=96x54:r=30000/1001"), *tone(), *X264, "-g", 40)),
    "23.976, ts": Film("film.ts", (*picture(base="testsrc2=s=96x54:r=24000/1001"), *tone(), *X264, "-g", 40)),
    "sound earlier": Film("film.mp4", ("-itsoffset", 0.4, *picture(), *tone(6), *_JOIN, *X264, "-c:a", "aac")),
    "sound later": Film("film.mp4", (*picture(), "-itsoffset", 0.4, *tone(4), *_JOIN, *X264, "-c:a", "aac")),
    "sound earlier, mkv": Film("film.mkv", ("-itsoffset", 0.4, *picture(), *tone(6), *_JOIN, *X264, "-g", 30)),
    "sound earlier, ts": Film(
        "film.ts", ("-itsoffset", 0.4, *picture(), *tone(6), *_JOIN, *X264, "-g", 30, "-c:a", "aac")
    ),
    "sound later, ts": Film(
        "film.ts", (*picture(), "-itsoffset", 0.4, *tone(4), *_JOIN, *X264, "-g", 30, "-c:a", "mp2")
    ),
    "scene cuts": Film("film.mp4", (*picture(_CUTS), *tone(), *X264, *_FREE, "-c:a", "aac")),
    "one frame more": Film("film.mp4", (*picture(seconds=4.04), *tone(4), *X264, "-c:a", "aac")),
    "one frame more, mkv": Film("film.mkv", (*picture(seconds=4.04), *tone(4), *X264, "-g", 30, "-c:a", "aac")),
    "negative start": Film("film.mp4", ("-ss", 0.5, "-i", "long.mp4", "-c", "copy", "-avoid_negative_ts", "disabled")),
    "much beside": Film("film.mkv", (*picture(), *tone(), *tone(pitch=440), *_BESIDE, *X264, "-g", 30, *_TWO)),
    "mov": Film("film.mov", (*picture(), *tone(), *X264, "-c:a", "pcm_s16le")),
    "vp9, webm": Film("film.webm", (*picture(), *tone(), "-c:v", "libvpx-vp9", "-b:v", "300K", "-g", 30)),
    "hevc": Film("film.mp4", (*picture(), *tone(), *_HEVC, _GROUPS, "-c:a", "aac")),
    "HDR10": Film("film.mp4", (*picture(_PQ), *tone(), *_HEVC, f"{_GROUPS}:{_MASTERED}", "-c:a", "aac")),
    "HDR10, ts": Film("film.ts", (*picture(_PQ), *tone(), *_HEVC, f"{_GROUPS}:{_MASTERED}", "-c:a", "aac")),
    "HLG": Film("film.mkv", (*picture(_HLG), *tone(), *_HEVC, _GROUPS, "-c:a", "flac")),
    "avi": Film("film.avi", (*picture(), *tone(), *X264, "-bf", 0), "cannot be cut"),
    "flv": Film("film.flv", (*picture(), *tone(), *X264, "-c:a", "aac", "-ar", 44100), "cannot be cut"),
}
LIGHT = ("HDR10", "HDR10, ts", "HLG")
"""Films whose pictures tell how bright they are."""


def encode(codec: str = "h264", **options: Any) -> dict[str, Any]:
    """A profile's encode, with a keyframe each second."""
    quality = {} if "bitrate" in options else {"quality": {"crf": 30}}
    return {"codec": codec, "scale": "source", "speed": "fast", "keyframeSeconds": 1, **quality, **options}


ENCODES: Mapping[str, Mapping[str, Any]] = {
    "lossless": encode(quality={"crf": 0}),
    "crf": encode(),
    "capped": encode(quality={"crf": 24}, maxBitrate="150K", buffersize="150K"),
    "capped below a level": encode(quality={"crf": 10}, maxBitrate="500K", buffersize="500K"),
    "bitrate": encode(bitrate="150K"),
    "h265": encode("h265"),
    "h265 capped": encode("h265", maxBitrate="150K", buffersize="150K"),
    "h265, 10 bits": encode("h265", bitDepth=10),
    "h265 bitrate": encode("h265", bitrate="150K"),
    "av1": encode("av1"),
    "av1, 10 bits": encode("av1", bitDepth=10),
    "trimmed": encode(quality={"crf": 0}, start=0.7, end=3.9),
    "30": encode(quality={"crf": 0}, frameRate="30"),
    "24000/1001": encode(quality={"crf": 0}, frameRate="24000/1001", start=0.5),
    "half a second": encode(quality={"crf": 0}, keyframeSeconds=0.5),
    "doubled": encode(quality={"crf": 0}, deinterlace="double"),
}


class Job(NamedTuple):
    """A film to transcode, the encode, the container of the output, and the longest chunk in seconds."""

    film: str
    encode: str
    container: str = "mp4"
    seconds: float = 1

    @property
    def profile(self) -> dict[str, Any]:
        beside = self.film == "much beside"
        audio = {"codec": "opus" if self.container == "webm" else "aac"}
        texts = {"subtitles": {"tracks": "all"}} if beside else {}
        sounds = {**audio, "tracks": "all", "loudness": -20} if beside else audio
        return {"split": "auto", "ffmpeg": dict(ENCODES[self.encode]), "audio": sounds, **texts}


SAMPLE = [
    Job("open groups, mp4", "lossless", "mkv"),
    Job("open groups, mkv", "trimmed"),
    Job("open groups, ts", "lossless"),
    Job("fields", "lossless"),
    Job("varying", "crf", seconds=2),
    Job("29.97", "h265"),
    Job("sound earlier", "bitrate"),
    Job("sound later, ts", "capped", "ts"),
    Job("one frame more", "av1"),
    Job("scene cuts", "capped below a level", seconds=1),
    Job("29.97", "h265 capped", seconds=1),
    Job("scene cuts", "30"),
    Job("much beside", "crf", "mkv", 2),
    Job("negative start", "lossless"),
    Job("sound earlier, mkv", "24000/1001", "mkv"),
    Job("HDR10", "h265, 10 bits"),
    Job("HLG", "h265 capped", "mkv"),
]
CONTAINERS = ("mp4", "mkv", "ts", "mov")


def every_job() -> Iterator[Job]:
    """All films by all encodes, and all containers and lengths in turn."""
    turn = itertools.cycle(itertools.product(CONTAINERS, (1, 2, 1.5)))
    for film, wanted in itertools.product(FILMS, ENCODES):
        is_part_of_stream = film.endswith(", ts") and "start" in ENCODES[wanted]
        if not FILMS[film].reason and not is_part_of_stream:
            container, seconds = next(turn)
            yield Job(film, wanted, "mkv" if container == "ts" and "av1" in wanted else container, seconds)


JOBS = list(dict.fromkeys([*SAMPLE, *(every_job() if SIZE != "sample" else ())]))


def source_of(folder: Path, film: Film, suffix: str) -> Path:
    """A source, named as the output is to be."""
    (folder / "texts.srt").write_text(TEXTS)
    (folder / "tags.txt").write_text(CHAPTERS)
    if "long.mp4" in film.arguments:
        ffmpeg(folder, "long.mp4", *picture(), *tone(), *X264, "-g", 50, "-c:a", "aac")
    made = ffmpeg(folder, f"made-{film.name}", *film.arguments, "-t", 6)
    return made.rename(folder / f"film.{suffix}")


class Outcome(NamedTuple):
    """The two outputs of a job, and how the film was divided."""

    whole: Made
    divided: DividedFilm


def outcome(folder: Path, job: Job) -> Outcome:
    """Transcode a film undivided and divided."""
    places = [folder / name for name in ("source", "whole", "divided")]
    for place in places:
        place.mkdir()
    source = source_of(places[0], FILMS[job.film], job.container)
    made = make(places[1], source, job.profile)
    assert made.failure == ""
    return Outcome(made, divide(places[2], source, job.profile, job.seconds))


@pytest.mark.parametrize(
    "job", JOBS, ids=lambda job: f"{job.film} | {job.encode} | {job.container} | {job.seconds:g} s"
)
def test_nobody_can_tell_that_a_film_was_divided(tmp_path: Path, job: Job) -> None:
    whole, divided = outcome(tmp_path, job)
    assert divided.plan, divided.reason
    assert len(divided.plan.work) > 1
    one, other = whole.target, divided.file
    wanted = ENCODES[job.encode]
    assert film_times(other) == film_times(one)
    assert sounds_and_texts(other) == sounds_and_texts(one)
    assert described(other) == described(one)
    if wanted["codec"] == "h265":
        assert parameter_sets(other) == parameter_sets(one)
    else:
        assert [each.get("dts") for each in pictures(other)] == [each.get("dts") for each in pictures(one)]
    if job.film in LIGHT:
        assert light(other) == light(one)
    if wanted.get("quality") == {"crf": 0}:
        assert frame_digests(other) == frame_digests(one)
    if rate := wanted.get("maxBitrate") or wanted.get("bitrate"):
        assert spilled(other, int(rate.removesuffix("K")) * 1000) == 0
    assert divided.produced
    assert sorted(n.code for n in divided.produced.notices) == sorted(n.code for n in whole.notices)


def test_the_rungs_of_a_divided_package_are_those_of_the_undivided_one(tmp_path: Path) -> None:
    (tmp_path / "divided").mkdir()
    source = source_of(tmp_path, FILMS["open groups, mp4"], "mp4")
    ladder = [{"scale": "90:50", "bitrate": "150K"}, {"scale": "48:26", "bitrate": "60K", "frameRate": "15"}]
    wanted = {"package": {"ladder": ladder, "speed": "fast", "segmentSeconds": 1}, "split": "auto"}
    whole = make_package(source, wanted, tmp_path / "whole").made
    divided = divide(tmp_path / "divided", source, wanted, 2)
    assert divided.plan, divided.reason
    assert divided.produced
    assert len(divided.plan.work) > 1
    rungs = [[path for path, output in made.files if output.role == "rendition"] for made in (whole, divided.produced)]
    sounds = [[path for path, output in made.files if output.role == "audio"] for made in (whole, divided.produced)]
    assert [len(paths) for paths in (*rungs, *sounds)] == [2, 2, 1, 1]
    for number, (one, other) in enumerate(zip(*rungs, strict=True)):
        assert film_times(other) == film_times(one)
        assert described(other) == described(one)
        assert [each["dts"] for each in pictures(other)] == [each["dts"] for each in pictures(one)]
        plan = divided.plan.rates[number]
        assert spilled(other, round(plan.peak), round(plan.buffer)) == 0
    assert sounds_and_texts(sounds[1][0]) == sounds_and_texts(sounds[0][0])
    assert segment_lengths(tmp_path / "divided") == segment_lengths(tmp_path / "whole" / "job")


def segment_lengths(folder: Path) -> dict[str, list[str]]:
    """The lengths of the segments in each playlist of a package's tracks."""
    playlists = sorted(path for path in folder.glob("package-*.m3u8") if "iframes" not in path.name)
    lengths = {path.name: re.findall(r"#EXTINF:.*", path.read_text()) for path in playlists}
    assert sum(map(len, lengths.values())) > len(lengths) > 3
    return lengths


@pytest.mark.parametrize("name", [name for name, film in FILMS.items() if film.reason])
def test_a_film_that_cannot_be_cut_stays_whole_and_says_why(tmp_path: Path, name: str) -> None:
    (tmp_path / "divided").mkdir()
    source = source_of(tmp_path, FILMS[name], "mp4")
    divided = divide(tmp_path / "divided", source, Job(name, "crf").profile, 1)
    assert FILMS[name].reason in divided.reason


def test_sprites_of_a_divided_film_end_with_the_picture_where_the_sound_is_longer(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("source", "whole", "divided")]
    for folder in folders:
        folder.mkdir()
    source = ffmpeg(folders[0], "film.mkv", *picture(seconds=4), *tone(4.023), *X264, "-g", 25, "-c:a", "flac")
    wanted = {"ffmpeg": ENCODES["crf"], "images": {"sprite": {"everySeconds": 1, "width": 64}}}
    whole, divided = make(folders[1], source, wanted), divide(folders[2], source, wanted, 1)
    assert whole.stills
    assert divided.produced, divided.reason
    cues = webvtt(whole.stills, source.name)
    assert cues.count("-->") == 4
    assert [path.read_text() for path, _ in divided.produced.files if path.suffix == ".vtt"] == [cues]
    sprites = [path.read_bytes() for path, _ in divided.produced.files if path.name.startswith("sprite")]
    assert sprites == [path.read_bytes() for path in whole.stills.sprites]


def test_the_rest_of_a_film_may_come_from_its_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movie, "_MOST_RANGES", 3)
    monkeypatch.setattr(movie, "_GAPS", (0,))
    whole, divided = outcome(tmp_path, Job("sound earlier", "crf"))
    assert divided.plan, divided.reason
    assert divided.plan.has_rest
    assert sounds_and_texts(divided.file) == sounds_and_texts(whole.target)
    assert described(divided.file) == described(whole.target)


@pytest.mark.parametrize("share", [0.5, 0.55])
def test_a_damaged_matroska_film_finishes_with_the_warning_of_the_undivided_one(tmp_path: Path, share: float) -> None:
    folders = [tmp_path / name for name in ("source", "whole", "divided")]
    for folder in folders:
        folder.mkdir()
    source = ffmpeg(
        folders[0], "film.mkv", *picture(seconds=16), *tone(16), *X264, "-g", 12, "-cluster_time_limit", 400
    )
    content = bytearray(source.read_bytes())
    middle, size = int(len(content) * share), len(content) // 50
    content[middle : middle + size] = bytes(size)
    source.write_bytes(content)
    wanted = {"ffmpeg": ENCODES["crf"], "audio": {"codec": "aac"}}
    whole, divided = make(folders[1], source, wanted), divide(folders[2], source, wanted, 1)
    assert whole.failure == ""
    assert "picture-damaged" in {notice.code for notice in whole.notices}
    assert divided.produced, divided.reason
    assert "picture-damaged" in {notice.code for notice in divided.produced.notices}
    assert abs(len(film_times(divided.file)) - len(film_times(whole.target))) < 25


def test_a_part_of_a_transport_stream_stays_whole(tmp_path: Path) -> None:
    _, divided = outcome(tmp_path, Job("sound earlier, ts", "trimmed", "ts"))
    assert divided.plan is None
    assert "transport stream" in divided.reason
