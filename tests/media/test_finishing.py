"""The file of a divided film is the one of the undivided encode: streams, times, sound, texts, tags and warnings."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from elasticrecode.media.profiles import Profile, resolve
from tests.media.case import FFPROBE, SETTINGS, ffmpeg
from tests.media.chunks import UNEVEN, encode_chunks, encode_of, frame_times, packets
from worker.cuts.fragments import boxes
from worker.errors import PermanentError
from worker.joining.finish import finish_file
from worker.joining.join import Joined, join
from worker.joining.sounds import Sound, encode_sound
from worker.media import timing
from worker.media.encode import Encoded, inspect, transcode
from worker.media.plan import Plan, make_plan
from worker.media.subtitles import read_subtitles
from worker.sandbox.runner import Runner

SECONDS = 6
PICTURE = ("-f", "lavfi", "-i", f"testsrc2=size=192x108:rate=25:duration={SECONDS}")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", 12, "-pix_fmt", "yuv420p", "-g", 50)
VARYING = ("-vf", UNEVEN, "-fps_mode", "passthrough", "-enc_time_base", "1/90000")
TICKS = ("-video_track_timescale", 90_000)
_SCOPES = {b"moov", b"trak", b"mdia", b"edts", b"minf"}
_HEADS = {b"mvhd", b"tkhd", b"mdhd", b"elst", b"hdlr", b"vmhd", b"smhd"}


def tone(number: int, seconds: float = SECONDS, rate: int = 48_000, level: float = 0.3) -> tuple[object, ...]:
    """An input with a tone that comes and goes."""
    wave = f"{level}*sin({220 * number}*2*PI*t)*lt(mod(t,1.5),1)"
    return ("-f", "lavfi", "-i", f"aevalsrc='{wave}|{wave}':d={seconds}:s={rate}")


CHAPTERS = ";FFMETADATA1\ntitle=A film\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={start + 3000}\ntitle=Part {start}\n" for start in (0, 3000)
)


TEXTS = "1\n00:00:01,000 --> 00:00:02,500\nBonjour\n\n2\n00:00:04,000 --> 00:00:05,000\nSalut\n"


class Film(NamedTuple):
    """A source: its name, and the arguments of ffmpeg that make it."""

    name: str
    arguments: tuple[object, ...]


FILMS = {
    "mp4, sound later": Film("film.mp4", (*PICTURE, "-itsoffset", 0.3, *tone(1), *H264, "-c:a", "aac")),
    "mkv, picture later": Film(
        "film.mkv", ("-itsoffset", 0.5, *PICTURE, *tone(1, 7), "-map", "0:v", "-map", "1:a", *H264, "-c:a", "flac")
    ),
    "mkv, uneven, 44.1 kHz": Film("film.mkv", (*PICTURE, *tone(1, rate=44_100), *H264, *VARYING, "-c:a", "flac")),
    "ts, sound later": Film("film.ts", (*PICTURE, "-itsoffset", 0.4, *tone(1, 5), *H264, "-c:a", "mp2")),
    "ts, sound earlier": Film(
        "film.ts", ("-itsoffset", 0.4, *PICTURE, *tone(1, 7), "-map", "0:v", "-map", "1:a", *H264, "-c:a", "aac")
    ),
    "mov, uneven": Film("film.mov", (*PICTURE, *tone(1), *H264, *VARYING, *TICKS, "-c:a", "aac")),
    "29.97": Film("film.mp4", ("-f", "lavfi", "-i", "testsrc2=size=192x108:rate=30000/1001:duration=6", *H264)),
    "much beside": Film(
        "film.mkv",
        (
            *PICTURE, *tone(1), *tone(2), *tone(3), "-i", "texts.srt", "-i", "tags.txt", *H264, "-c:a", "flac",
            *("-map", 0, "-map", 1, "-map", 2, "-map", 3, "-map", 4, "-map_metadata", 5, "-map_chapters", 5),
            *("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger", "-metadata:s:a:1", "title=Ton"),
            *("-metadata:s:s:0", "language=fre", "-disposition:a:1", "default", "-disposition:a:0", 0),
            *("-bsf:a:2", "noise=drop=1", "-c:s", "srt"),
        ),
    ),
    "mp4, no sound": Film("film.mp4", (*PICTURE, *H264, "-video_track_timescale", 600)),
}  # fmt: skip


class Job(NamedTuple):
    """A film to transcode, the muxer of the output, the profile, and the seams in seconds."""

    film: str
    muxer: str
    profile: Mapping[str, Any]
    seams: tuple[float, ...] = (0, 2)


def profile(codec: str = "h264", audio: Mapping[str, Any] | None = None, **encode: Any) -> dict[str, Any]:
    return {"ffmpeg": encode_of(codec, **encode), "audio": {"codec": "aac", **(audio or {})}}


MUCH = {**profile(audio={"tracks": "all", "loudness": -20}), "subtitles": {}}
JOBS = {
    "h264 mp4": Job("mp4, sound later", "mp4", profile()),
    "h264 mp4 from mkv": Job("mkv, picture later", "mp4", profile(), (0, 2, 4)),
    "h264 mkv": Job("mkv, picture later", "matroska", profile()),
    "h264 mkv uneven": Job("mkv, uneven, 44.1 kHz", "matroska", profile(), (0, 4)),
    "h264 ts": Job("ts, sound later", "mpegts", profile()),
    "h264 ts, early sound": Job("ts, sound earlier", "mpegts", profile()),
    "h264 mp4 from ts": Job("ts, sound later", "mp4", profile(), (0, 2, 4)),
    "h264 mov uneven": Job("mov, uneven", "mov", profile(), (0, 2, 4)),
    "29.97": Job("29.97", "mp4", profile(), (0, 2)),
    "much beside, mp4": Job("much beside", "mp4", MUCH),
    "much beside, mkv": Job("much beside", "matroska", MUCH),
    "h264 mp4 without sound": Job("mp4, no sound", "mp4", profile()),
    "h265 mp4": Job("mov, uneven", "mp4", profile("h265"), (0, 2, 4)),
    "h265 mkv": Job("mkv, uneven, 44.1 kHz", "matroska", profile("h265", {"codec": "opus"})),
    "h265 mov": Job("mp4, sound later", "mov", profile("h265")),
    "h265 ts": Job("mp4, sound later", "mpegts", profile("h265")),
    "av1 mp4": Job("mp4, sound later", "mp4", profile("av1", {"codec": "opus"})),
    "av1 mkv": Job("mov, uneven", "matroska", profile("av1", {"codec": "opus"})),
    "copied sound": Job("mp4, sound later", "mp4", profile(audio={"codec": "copy"})),
    "copied sound, mkv": Job("mkv, picture later", "matroska", profile(audio={"codec": "copy"})),
    "copied sound, ts": Job("ts, sound later", "mpegts", profile(audio={"codec": "copy"})),
    "copied sound, early, ts": Job("ts, sound earlier", "mpegts", profile(audio={"codec": "copy"})),
    "loudness": Job("mp4, sound later", "mp4", profile(audio={"loudness": -23})),
    "a rate": Job("mkv, picture later", "mp4", profile(frameRate="24000/1001"), (0, 2 + 1 / 24_000)),
    "a part": Job("mp4, sound later", "mp4", profile(start=1.0, end=5.0)),
    "a part of ts": Job("ts, sound earlier", "mp4", profile(start=1.0, end=5.0)),
}


def without_pictures(folder: Path, source: Path, *, is_copied: bool) -> Path:
    """The source without the film's packets, with its tracks and its clock. MP4s keep their index, here with all.

    ffmpeg, which makes the others here, leaves out the length of the last packet, which a copy has.
    """
    demuxer = source.suffix[1:]
    if demuxer in ("mp4", "mov") or is_copied:
        return Path(shutil.copy(source, folder / "rest"))
    clock = ("-copyts", "-muxdelay", 0, "-muxpreload", 0, "-avoid_negative_ts", "disabled")
    kind = {"ts": "mpegts", "mkv": "matroska"}[demuxer]
    return ffmpeg(
        folder,
        "rest",
        *clock[:1],
        "-i",
        source,
        "-map",
        0,
        "-c",
        "copy",
        "-bsf:v",
        "noise=drop=1",
        *clock[1:],
        "-f",
        kind,
    )


class Outcome(NamedTuple):
    """An output, and what the worker tells of it."""

    file: Path
    encoded: Encoded


def undivided(folder: Path, source: Path, job: Job) -> Outcome:
    folder.mkdir()
    shutil.copy(source, folder / "input")
    request = resolve(msgspec.convert(job.profile, Profile))
    assert request.ffmpeg
    encoded = transcode(
        folder / "input", folder / "output", "s3://b/out", job.muxer, request, request.ffmpeg, SETTINGS, Runner(),
        lambda _: None, then_score=False,
    )  # fmt: skip
    return Outcome(folder / "output", encoded)


def divided(folder: Path, source: Path, job: Job) -> Outcome:
    folder.mkdir()
    request, runner = resolve(msgspec.convert(job.profile, Profile)), Runner()
    assert request.ffmpeg
    local = Path(shutil.copy(source, folder / "input"))
    probed = inspect(local, SETTINGS, runner)
    texts = read_subtitles(local, probed, request, request.ffmpeg, SETTINGS.ffmpeg, runner, ())
    plan = make_plan(probed, request, request.ffmpeg, job.muxer, texts)
    opened = (*timing.reference_options(probed.video, probed.sound_starts, request.ffmpeg), "-i", local)
    ticks = timing.ticks(probed.video, request.ffmpeg)
    every = frame_times(plan, opened)
    seams = [round(seam * ticks) and round(seam * ticks) + every[0] for seam in job.seams]
    chunks = encode_chunks(folder, plan, opened, seams, every)
    rest = without_pictures(folder, source, is_copied=job.profile["audio"]["codec"] == "copy")
    local.unlink()
    sound = encode_sound(plan, rest, SETTINGS, runner, lambda *_: None)
    joined = join(chunks, folder / "joined.mp4", ticks, FFPROBE, runner, consume=True)
    encoded = finish_file(plan, joined, sound, folder / "output", "s3://b/out", SETTINGS, runner)
    return Outcome(folder / "output", encoded)


def shape(path: Path) -> dict[str, Any]:
    """What ffprobe tells of a file, but for what follows from the size of pictures.

    In a transport stream HEVC's parameter sets may be apart by another number of zeros.
    """
    command = [FFPROBE, "-v", "error", "-show_streams", "-show_format", "-show_chapters", "-show_data_hash", "sha256"]
    text = subprocess.run([*command, "-of", "json", str(path)], capture_output=True, check=True).stdout
    report: dict[str, Any] = json.loads(text)
    for name in ("size", "bit_rate", "filename"):
        report["format"].pop(name, None)
    for stream in report["streams"]:
        if stream["codec_type"] == "video":
            stream.pop("bit_rate", None)
            if report["format"]["format_name"] == "mpegts":
                stream.pop("extradata_hash"), stream.pop("extradata_size")
            for tag in ("BPS", "NUMBER_OF_BYTES"):
                stream.get("tags", {}).pop(tag, None)
    return report


def heads(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of an MP4 that tell times, names, places and languages."""
    for box in boxes(body):
        if box.kind in _SCOPES:
            yield from heads(box.body)
        elif box.kind in _HEADS:
            yield box.kind, box.body


def compare(one: Outcome, other: Outcome, muxer: str) -> None:
    """Fail where a divided output, `other`, is not the undivided `one`."""
    assert shape(other.file) == shape(one.file)
    before, after = packets(one.file), packets(other.file)
    assert sorted(each["pts"] for each in after) == sorted(each["pts"] for each in before)
    assert [each.get("dts") for each in after] == [each.get("dts") for each in before]
    assert [each["pts"] for each in after if "K" in each["flags"]] == [
        each["pts"] for each in before if "K" in each["flags"]
    ]
    assert packets(other.file, "a") == packets(one.file, "a")
    assert packets(other.file, "s") == packets(one.file, "s")
    if muxer in ("mp4", "mov"):
        assert list(heads(other.file.read_bytes())) == list(heads(one.file.read_bytes()))
    assert other.encoded.notices == one.encoded.notices
    assert other.encoded.plan.audio == one.encoded.plan.audio
    figures = [msgspec.to_builtins(each.encoded.output) for each in (one, other)]
    for each in figures:
        for name in ("bytes", "bitrate", "peakBitrate"):
            each.pop(name, None)
    assert figures[0] == figures[1]


@pytest.mark.parametrize("name", JOBS)
def test_the_output_is_the_one_of_an_undivided_encode(tmp_path: Path, name: str) -> None:
    job = JOBS[name]
    film = FILMS[job.film]
    (tmp_path / "texts.srt").write_text(TEXTS)
    (tmp_path / "tags.txt").write_text(CHAPTERS)
    source = ffmpeg(tmp_path, film.name, *film.arguments)
    compare(undivided(tmp_path / "whole", source, job), divided(tmp_path / "parts", source, job), job.muxer)


def parts(folder: Path) -> tuple[Plan, Joined, Sound]:
    """A small film that is joined, its plan and its sound, in a folder."""
    arguments = ("-f", "lavfi", "-i", "testsrc2=size=64x36:rate=25:duration=1", *tone(1, 1), "-c:a", "aac")
    rest = ffmpeg(folder, "input.mp4", *arguments)
    request, runner = resolve(msgspec.convert(profile(), Profile)), Runner()
    assert request.ffmpeg
    plan = make_plan(inspect(rest, SETTINGS, runner), request, request.ffmpeg, "mp4")
    every = frame_times(plan, ("-i", rest))
    ticks = timing.ticks(plan.source.video, request.ffmpeg)
    joined = join(encode_chunks(folder, plan, ("-i", rest), [0], every), folder / "joined", ticks, FFPROBE, runner)
    return plan, joined, encode_sound(plan, rest, SETTINGS, runner, lambda *_: None)


def test_an_output_that_lacks_frames_of_its_chunks_is_refused(tmp_path: Path) -> None:
    plan, joined, sound = parts(tmp_path)
    more = joined._replace(frames=joined.frames + 1)
    with pytest.raises(PermanentError, match="The output has 25 frames; its chunks have 26") as refused:
        finish_file(plan, more, sound, tmp_path / "output", "s3://b/out", SETTINGS, Runner())
    assert refused.value.failure.code == "output-invalid"


def test_sound_of_another_film_is_refused(tmp_path: Path) -> None:
    plan, _, _ = parts(tmp_path)
    other = ffmpeg(tmp_path, "other.mp4", *tone(1, 1), "-c:a", "ac3")
    with pytest.raises(PermanentError, match="other audio tracks than the source"):
        encode_sound(plan, other, SETTINGS, Runner(), lambda *_: None)
