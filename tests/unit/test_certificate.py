"""The parts of certificates that need no encoder: checks, caps, records of runs, and what stays secret."""

import gzip
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from elasticrecode.media.profiles import Encryption, Ffmpeg, Package, Profile, resolve
from worker.certificate.again import Unlike, make_again, read
from worker.certificate.document import Certificate, Input, public
from worker.certificate.repeating import unrepeatable
from worker.media.buffer import rate_of
from worker.media.packets import Packet, TrackMeter
from worker.packaging.boxes import Fragment, TrackFile
from worker.packaging.rules import check_tracks
from worker.packaging.tracks import Track
from worker.sandbox.runner import Runner
from worker.sandbox.steps import Step, recorded
from worker.settings import Settings

SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "node", "pod", "ffmpeg", "ffprobe")
TICKS = 1000


def track(
    *, start: int = 0, gops: int = 4, gop: int = 2000, step: int = 40, hole: int = 0, spare: int = 0
) -> TrackFile:
    """A packaged track: a fragment each `gop` ticks, and a segment for each two of them."""
    fragments = [
        Fragment(
            offset=100 + 1000 * n,
            size=1000,
            first=200,
            start=start + n * gop + (hole if n == gops - 1 else 0),
            duration=gop,
            samples=gop // step,
            sample_bytes=900,
            sizes=(18,) * (gop // step),
            durations=(step,) * (gop // step),
        )
        for n in range(gops)
    ]
    segments = [(100 + 1000 * n, 2000 + (spare if n == 0 else 0), 2) for n in range(0, gops, 2)]
    return TrackFile(TICKS, 100, (0, 100), segments, fragments)


def broken(rungs: list[TrackFile], sounds: list[TrackFile]) -> set[str]:
    files = {f"video-{n}": file for n, file in enumerate(rungs)} | {f"audio-{n}": file for n, file in enumerate(sounds)}
    tracks = [Track(Path(), name, "video" if name.startswith("video") else "audio") for name in files]
    return {rule.rule for rule in check_tracks(tracks, files) if not rule.passed}


def test_tracks_that_fit_break_no_rule() -> None:
    assert broken([track(), track(step=80)], [track(step=20)]) == set()


@pytest.mark.parametrize(
    ("wrong", "rules"),
    [
        (track(start=40), {"starts-at-zero", "idr-aligned", "segments-aligned", "rates-divide"}),
        (track(hole=40), {"decode-times-continue", "idr-aligned"}),
        (track(spare=10), {"index-tiles"}),
        (track(gops=2, gop=4000), {"idr-every-2-s", "idr-aligned", "segments-aligned"}),
        (track(step=50), {"rates-divide"}),
        (track(gops=6), {"idr-aligned", "segments-aligned", "rates-divide", "tracks-equally-long"}),
    ],
)
def test_a_track_that_does_not_fit_breaks_its_rules(wrong: TrackFile, rules: set[str]) -> None:
    assert broken([track(), wrong], [track(step=20)]) == rules


def metered(sizes: list[int]) -> TrackMeter:
    meter = TrackMeter()
    for number, size in enumerate(sizes):
        meter.add(Packet(0, number / 32, number / 32, 1 / 32, size))
    return meter


def test_a_rate_tells_how_far_it_exceeds_its_cap() -> None:
    encode = Ffmpeg("libx264", "240p", bitrate="128K", maxBitrate="128K", buffersize="128K")
    steady = rate_of("file", encode, metered([500] * 64))
    assert (steady.mean, steady.peak, steady.cap, steady.buffer, steady.is_kept) == (
        128_000,
        128_000,
        128_000,
        128_000,
        True,
    )
    burst = rate_of("file", encode, metered([500] * 10 + [20_000] + [500] * 10))
    assert burst.overflow == 8 * 20_000 - 128_000
    assert burst.is_kept is False
    assert rate_of("file", Ffmpeg("libsvtav1", "240p", bitrate="100K"), metered([500])).is_kept is None


def test_a_record_of_a_run_has_its_texts_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "tags.ffmetadata").write_text("title=x")
    (tmp_path / "other.srt").write_text("not read")
    (tmp_path / "input").write_bytes(b"film")
    command = [
        "/opt/bin/ffmpeg",
        "-i",
        f"file:{tmp_path}/input",
        "-i",
        "file:tags.ffmetadata",
        f"file:{tmp_path}/output",
    ]
    step = recorded("encode", command, tmp_path)
    assert (step.program, step.arguments) == (
        "ffmpeg",
        ["-i", "file:input", "-i", "file:tags.ffmetadata", "file:output"],
    )
    assert step.outputs == ["output"]
    assert {name: gzip.decompress(b64decode(text)) for name, text in step.files.items()} == {
        "tags.ffmetadata": b"title=x"
    }


@pytest.mark.parametrize(
    ("options", "is_same"),
    [
        ("-c:v libx264 -crf 23 -x264-params threads=3", True),
        ("-c:v libx264 -b:v 1M -x264-params threads=3", True),
        ("-c:v libx264 -b:v 1M -maxrate 1M -x264-params fps=25:threads=3", False),
        ("-c:v libx264 -b:v 1M -maxrate 1M -x264-params fps=25:threads=1", True),
        ("-c:v libx265 -crf 25 -x265-params pools=4", True),
        ("-c:v libx265 -b:v 1M -maxrate 1M -x265-params pools=4", False),
        ("-c:v libx265 -b:v 1M -maxrate 1M -x265-params pools=1:frame-threads=1", True),
        ("-c:v libsvtav1 -svtav1-params crf=30:lp=2", True),
        ("-c:v libsvtav1 -b:v 1M -svtav1-params lp=2", False),
        ("-c:v h264_nvenc -b:v 1M", False),
    ],
)
def test_encoders_whose_threads_race_are_told(options: str, is_same: bool) -> None:
    steps = [Step("encode", "ffmpeg", ["-i", "file:input", *options.split(), "file:output"])]
    assert (unrepeatable(steps) == []) is is_same


def test_of_the_encryption_only_the_scheme_is_told() -> None:
    key = "00112233445566778899aabbccddeeff"
    sealed = Encryption("cbcs", "https://keys.example/?token=hidden", key=key, keyId=key[::-1], sealedKey="c2VhbGVk")
    told = public(resolve(Profile(package=Package(encryption=sealed))))
    assert told["package"]["encryption"] == {"scheme": "cbcs"}
    assert not [word for word in (key, key[::-1], "hidden", "c2VhbGVk") if word in str(told)]


def certificate(source: bytes, *steps: Step, files: dict[str, str] | None = None) -> Certificate:
    digest = hashlib.sha256(source).hexdigest()
    return Certificate(
        certificate=1,
        job="j",
        attempt=1,
        written="",
        machine={},
        input=Input("s3://b/k", len(source), "", sha256=digest),
        profile={},
        programs=[],
        steps=list(steps),
        files=files or {},
    )


@pytest.fixture
def repeat(tmp_path: Path) -> Callable[[Certificate], list[Path]]:
    source, folder = tmp_path / "source", tmp_path / "again"
    source.write_bytes(b"film")
    folder.mkdir()
    return lambda one: make_again(one, source, folder, SETTINGS, Runner())


def test_a_hostile_certificate_runs_and_writes_nothing(
    repeat: Callable[[Certificate], list[Path]], tmp_path: Path
) -> None:
    with pytest.raises(Unlike, match="a program 'sh'"):
        repeat(certificate(b"film", Step("encode", "sh", ["-c", "true"])))
    text = b64encode(gzip.compress(b"x")).decode()
    with pytest.raises(Unlike, match="lacks the text"):
        repeat(certificate(b"film", Step("encode", "ffmpeg", [], {"../../x": "1"}), files={"1": text}))
    with pytest.raises(Unlike, match="has 4 bytes, not 5"):
        repeat(certificate(b"films"))
    assert not (tmp_path / "x").exists()


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("{}")
    with pytest.raises(Unlike, match="is no certificate"):
        read(path)
    newer = msgspec.to_builtins(certificate(b"film")) | {"certificate": 2}
    path.write_bytes(msgspec.json.encode(newer))
    with pytest.raises(Unlike, match="has version 2"):
        read(path)
