"""Nobody can tell a divided film from the undivided one: sources, codecs, containers and lengths of chunks, by figures.

With SIZE=full every source meets every encode and container.
"""

import itertools
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.media.case import FFMPEG, FFPROBE, Made, ffmpeg, make
from tests.media.dividing import DividedFilm, divide
from tests.sizes import SIZE
from worker.cuts import movie
from worker.joining.bucket import overflow
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
    "negative start": Film(
        "film.mp4", ("-ss", 0.5, "-i", "long.mp4", "-c", "copy", "-avoid_negative_ts", "disabled")
    ),
    "much beside": Film("film.mkv", (*picture(), *tone(), *tone(pitch=440), *_BESIDE, *X264, "-g", 30, *_TWO)),
    "mov": Film("film.mov", (*picture(), *tone(), *X264, "-c:a", "pcm_s16le")),
    "vp9, webm": Film("film.webm", (*picture(), *tone(), "-c:v", "libvpx-vp9", "-b:v", "300K", "-g", 30)),
    "hevc": Film("film.mp4", (*picture(), *tone(), "-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                              "keyint=30:open-gop=1:log-level=1", "-c:a", "aac")),
    "avi": Film("film.avi", (*picture(), *tone(), *X264, "-bf", 0), "cannot be cut"),
    "flv": Film("film.flv", (*picture(), *tone(), *X264, "-c:a", "aac", "-ar", 44100), "cannot be cut"),
}  # fmt: skip


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


def shown(path: Path, *options: str) -> Any:
    command = [FFPROBE, "-v", "error", *options, "-show_data_hash", "md5", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def pictures(path: Path) -> list[dict[str, Any]]:
    """The packets of the film, in the order of the file."""
    found: list[dict[str, Any]] = shown(path, "-select_streams", "v:0", "-show_packets")["packets"]
    return found


def sounds_and_texts(path: Path) -> dict[int, list[tuple[Any, ...]]]:
    """Times and digests of the packets of all other tracks."""
    tracks: dict[int, list[tuple[Any, ...]]] = {}
    for each in shown(path, "-show_packets")["packets"]:
        if each["codec_type"] != "video":
            what = (each.get("pts"), each.get("dts"), each.get("duration"), each["data_hash"], each["flags"])
            tracks.setdefault(each["stream_index"], []).append(what)
    return tracks


def described(path: Path, *, exact: bool) -> Any:
    """All that the file's heads tell, but for bytes. `exact` also of the parameter sets."""
    told = shown(path, "-show_streams", "-show_format", "-show_chapters")
    told["format"] = {k: v for k, v in told["format"].items() if k not in ("filename", "size", "bit_rate")}
    for stream in told["streams"]:
        for name in ("bit_rate", "max_bit_rate", *(() if exact else ("extradata_hash", "extradata_size"))):
            stream.pop(name, None)
        for name in ("BPS", "NUMBER_OF_BYTES"):
            stream.get("tags", {}).pop(name, None)
    return told


def frame_digests(path: Path) -> str:
    """The times and digests of all decoded pictures."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def film_times(path: Path) -> list[tuple[int, bool]]:
    """When each frame is shown, and whether it is a keyframe."""
    return sorted((each["pts"], "K" in each["flags"]) for each in pictures(path))


@pytest.mark.parametrize(
    "job", JOBS, ids=lambda job: f"{job.film} | {job.encode} | {job.container} | {job.seconds:g} s"
)
def test_nobody_can_tell_that_a_film_was_divided(tmp_path: Path, job: Job) -> None:
    whole, divided = outcome(tmp_path, job)
    assert divided.plan, divided.reason
    assert len(divided.plan.work) > 1
    one, other = whole.target, divided.file
    assert film_times(other) == film_times(one)
    assert sounds_and_texts(other) == sounds_and_texts(one)
    rate = ENCODES[job.encode].get("maxBitrate") or ENCODES[job.encode].get("bitrate")
    exact = not (rate and "h265" in job.encode)  # x265 writes its options, with the caps, into the head
    assert described(other, exact=exact) == described(one, exact=exact)
    if "h265" not in job.encode:
        assert [each.get("dts") for each in pictures(other)] == [each.get("dts") for each in pictures(one)]
    if ENCODES[job.encode].get("quality") == {"crf": 0}:
        assert frame_digests(other) == frame_digests(one)
    if rate:
        assert spilled(other, int(rate.removesuffix("K")) * 1000) == 0
    assert divided.produced
    assert sorted(n.code for n in divided.produced.notices) == sorted(n.code for n in whole.notices)


def spilled(path: Path, rate: int) -> int:
    """Bits by which a film exceeds a rate with a buffer of one second."""
    film, packets = shown(path, "-select_streams", "v:0", "-show_streams")["streams"][0], pictures(path)
    above, below = map(int, film["time_base"].split("/"))
    return overflow(((each["dts"] * above, int(each["size"])) for each in packets), below, rate, rate)


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
    assert described(divided.file, exact=True) == described(whole.target, exact=True)


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
