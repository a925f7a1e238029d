"""Sources of jobs for sound alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.media.case import BUNNY, Between, Case, about, ffmpeg
from tests.media.measures import failure, tracks, warnings
from tests.media.measures_audio import (
    channel_configuration,
    languages,
    layouts,
    loudness,
    sample_rates,
    sound_codecs,
    track_seconds,
    true_peak,
)

AAC: Mapping[str, Any] = {"audio": {"codec": "aac"}}
_TONE = ("-f", "lavfi", "-i", "aevalsrc='0.2*sin(600*2*PI*t)|0.1*sin(900*2*PI*t)':d=2:s=44100:c=stereo")
_FINE: Mapping[Any, object] = {failure: "", warnings: [], tracks: "audio"}


def _tone(name: str, *options: object) -> Callable[[Path], Path]:
    return lambda folder: ffmpeg(folder, name, *_TONE, *options)


def _bunny(name: str, *options: object) -> Callable[[Path], Path]:
    return lambda folder: ffmpeg(folder, name, "-t", 2, "-i", BUNNY, *options)


CASES = (
    Case(
        "WAV",
        _tone("tone.wav", "-c:a", "pcm_s24le"),
        AAC,
        {**_FINE, sound_codecs: ["aac"], layouts: ["stereo"], sample_rates: [44100], track_seconds: [about(2, 0.05)]},
    ),
    Case(
        "MP3 with a cover",
        lambda folder: ffmpeg(
            folder,
            "cover.mp3",
            *_TONE,
            "-f",
            "lavfi",
            "-i",
            "color=s=64x64:d=0.04:r=25",
            "-map",
            "0",
            "-map",
            "1",
            "-c:a",
            "libmp3lame",
            "-c:v",
            "mjpeg",
            "-disposition:v",
            "attached_pic",
        ),
        AAC,
        {**_FINE, sound_codecs: ["aac"], track_seconds: [about(2, 0.06)]},
    ),
    Case("FLAC", _tone("tone.flac"), {"audio": {"codec": "opus"}}, {**_FINE, sound_codecs: ["opus"]}),
    Case("ADTS", _tone("tone.aac", "-c:a", "aac"), AAC, {**_FINE, track_seconds: [about(2, 0.06)]}),
    Case("Ogg with Vorbis", _tone("tone.ogg", "-c:a", "libvorbis"), AAC, {**_FINE, layouts: ["stereo"]}),
    Case(
        "M4A, to -16 LUFS as Opus",
        _tone("tone.m4a", "-c:a", "aac"),
        {"audio": {"codec": "opus", "loudness": -16}},
        {**_FINE, loudness: about(-16, 0.5), true_peak: Between(-12, -1), sample_rates: [48000]},
    ),
    Case(
        "MP4 with a picture and sound of 5.1",
        _bunny("film.mp4", "-c", "copy"),
        {"audio": {}},
        {**_FINE, layouts: ["5.1"], channel_configuration: 6, track_seconds: [about(2, 0.05)]},
    ),
    Case(
        "TS whose AC-3 is 5.1(side), to stereo",
        _bunny("film.ts", "-c:v", "copy", "-af", "aresample=ochl=5.1(side)", "-c:a", "ac3"),
        {"audio": {"channels": "stereo", "bitrate": "192K"}},
        {**_FINE, layouts: ["stereo"], track_seconds: [about(2, 0.06)]},
    ),
    Case(
        "Matroska with three languages, of which two are wanted",
        _bunny(
            "film.mkv",
            "-map",
            "0:v",
            "-map",
            "0:a",
            "-map",
            "0:a",
            "-map",
            "0:a",
            "-c",
            "copy",
            "-metadata:s:a:0",
            "language=eng",
            "-metadata:s:a:1",
            "language=fre",
            "-metadata:s:a:2",
            "language=ger",
        ),
        {"audio": {"tracks": ["fr", "en"]}},
        {failure: "", warnings: [], tracks: "audio audio", languages: ["fra", "eng"]},
    ),
    Case("MP4 without sound", _bunny("mute.mp4", "-an", "-c:v", "copy"), AAC, {failure: "input-no-audio"}),
    Case(
        "TS whose only sound never comes",
        _bunny("empty.ts", "-c", "copy", "-bsf:a", "noise=drop=1"),
        AAC,
        {failure: "input-no-audio"},
    ),
    Case(
        "A playlist of sound",
        lambda folder: _written(folder / "list.m3u8", "#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n"),
        AAC,
        {failure: "input-no-audio"},
    ),
)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
