"""Sources whose sound is odd."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.media.case import BUNNY, Between, Case, about, ffmpeg
from tests.media.measures import failure, frames, tracks, warnings
from tests.media.measures_audio import (
    channel_configuration,
    default_sound,
    languages,
    layouts,
    level,
    loudness,
    sample_rates,
    sound_codecs,
    sound_rate,
    titles,
    track_seconds,
    true_peak,
)

SMALL = {"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M", "speed": "fast"}}
_PICTURE = ("-t", 2, "-i", BUNNY)
_FADES = "afade=d=0.3,afade=t=out:st=1.6:d=0.3"
_BURSTS = (
    *(
        "-f",
        "lavfi",
        "-i",
        "anoisesrc=d=4:c=pink:r=48000:a=0.3:seed=1,volume='if(lt(mod(t,2),0.3),1,0.03)':eval=frame",
    ),
)
_H264 = ("-map", "0:v", "-vf", "scale=320:180", "-c:v", "libx264", "-preset", "ultrafast")


def _with(**audio: Any) -> dict[str, Any]:
    return {**SMALL, "audio": audio}


def _tones(layout: str, *levels: float, rate: int = 48000, seconds: float = 2) -> tuple[object, ...]:
    """An input with one tone to a channel, at these amplitudes; channel n has a tone of (n + 1) times 300 Hz."""
    tones = "|".join(f"{level}*sin({300 * (n + 1)}*2*PI*t)" for n, level in enumerate(levels))
    return ("-f", "lavfi", "-i", f"aevalsrc='{tones}':d={seconds}:s={rate}:c={layout}")


def _same(layout: str, *levels: float) -> tuple[object, ...]:
    """An input with a tone of 600 Hz in each channel, at these amplitudes."""
    tones = "|".join(f"{level}*sin(600*2*PI*t)" for level in levels)
    return ("-f", "lavfi", "-i", f"aevalsrc='{tones}':d=2:s=48000:c={layout}")


def _film(name: str, sound: tuple[object, ...], *options: object) -> Callable[[Path], Path]:
    """A film of 2 s with this sound."""
    return lambda folder: ffmpeg(folder, name, *_PICTURE, *sound, *_H264, "-map", "1:a", *options)


def _empty(name: str, *options: object) -> Callable[[Path], Path]:
    """A film whose audio track is announced and never comes."""
    return lambda folder: ffmpeg(folder, name, "-i", BUNNY, "-t", 2, "-c", "copy", "-bsf:a", "noise=drop=1", *options)


def _replaced(name: str, options: tuple[object, ...], *swaps: tuple[bytes, bytes]) -> Callable[[Path], Path]:
    """A film in which some bytes are replaced at their first place."""

    def make(folder: Path) -> Path:
        path = ffmpeg(folder, name, "-t", 2, "-i", BUNNY, "-map", "0:v", *options)
        data = path.read_bytes()
        for old, new in swaps:
            assert old in data
            data = data.replace(old, new, 1)
        path.write_bytes(data)
        return path

    return make


def _changing(folder: Path) -> Path:
    """A broadcast whose sound is stereo first, and 5.1 then."""
    parts = []
    for number, (layout, levels) in enumerate((("stereo", (0.1, 0.1)), ("5.1", (0.1,) * 6))):
        part = ffmpeg(
            folder, f"{number}.ts", *_PICTURE, *_tones(layout, *levels), *_H264, "-map", "1:a", "-c:a", "ac3",
            "-output_ts_offset", 2 * number,
        )  # fmt: skip
        parts.append(part.read_bytes())
    (folder / "changing.ts").write_bytes(b"".join(parts))
    return folder / "changing.ts"


def _mono_tracks(name: str, count: int, *options: object) -> Callable[[Path], Path]:
    """A broadcaster's file: each channel is a mono track of its own, with a tone of (n + 1) times 300 Hz."""

    def make(folder: Path) -> Path:
        inputs: list[object] = []
        for number in range(count):
            inputs += ["-f", "lavfi", "-i", f"aevalsrc='{0.05 * (number + 1)}*sin(600*2*PI*t)':d=2:s=48000:c=mono"]
        maps = [part for number in range(count) for part in ("-map", f"{number + 1}:a")]
        return ffmpeg(folder, name, *_PICTURE, *inputs, *_H264, *maps, "-c:a", "pcm_s24le", *options)

    return make


_LANGUAGES = (
    *("-i", BUNNY, *_tones("stereo", 0.1, 0.1), *_tones("mono", 0.1), *_tones("stereo", 0.05, 0.05)),
    *("-t", 2, "-map", "0:v", "-map", "0:a", "-map", "1:a", "-map", "2:a", "-map", "3:a", "-c:v", "copy"),
    *("-c:a", "aac", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fre"),
    *("-metadata:s:a:2", "language=ger", "-metadata:s:a:3", "language=eng", "-metadata:s:a:3", "title=Commentary"),
    *("-disposition:a", "0", "-disposition:a:1", "default"),
)


def _many_languages(folder: Path) -> Path:
    return ffmpeg(folder, "languages.mkv", *_LANGUAGES)


_FINE: Mapping[Any, object] = {failure: "", warnings: []}

CASES = (
    Case(
        "AC-3 with the layout 5.1(side)",
        _film("side.ts", _tones("5.1(side)", *[0.1] * 6), "-c:a", "ac3", "-b:a", "448k"),
        SMALL,
        {**_FINE, layouts: ["5.1"], sound_codecs: ["aac"]},
    ),
    Case(
        "AC-3 with the layout 5.1(side), in MP4",
        _film("side.mp4", _tones("5.1(side)", *[0.1] * 6), "-c:a", "ac3", "-b:a", "448k"),
        SMALL,
        {**_FINE, layouts: ["5.1"], channel_configuration: 6, sound_rate: Between(200_000, 420_000)},
    ),
    Case(
        "Sound of 7.1",
        _film("71.mkv", _tones("7.1", *[0.1] * 8), "-c:a", "flac"),
        SMALL,
        {failure: "", warnings: ["audio-layout-changed"], layouts: ["5.1"], level(0): about(-23, 1)},
    ),
    Case(
        "Sound of six channels in a hexagon",
        _film("hexagonal.mov", _tones("hexagonal", *[0.1] * 6), "-c:a", "pcm_s16le"),
        SMALL,
        {failure: "", layouts: ["5.1"], channel_configuration: 6},
    ),
    Case(
        "Sound of two channels and a subwoofer",
        _film("21.mkv", _tones("2.1", 0.1, 0.1, 0.1), "-c:a", "flac"),
        SMALL,
        {failure: "", warnings: ["audio-layout-changed"], layouts: ["stereo"]},
    ),
    Case(
        "Sound of sixteen channels without a layout",
        _film("16.mov", _tones("16c", *[0.1] * 16), "-c:a", "pcm_s16le"),
        SMALL,
        {failure: "", warnings: ["audio-layout-guessed"], layouts: ["stereo"], level(0): about(-23, 1)},
    ),
    Case(
        "Dialogue in the centre of 5.1, downmixed to stereo",
        _film("centre.mkv", _tones("5.1", 0, 0, 0.5, 0, 0, 0), "-c:a", "flac"),
        _with(channels="stereo"),
        {**_FINE, layouts: ["stereo"], level(0): about(-12.04, 0.5), level(1): about(-12.04, 0.5)},
    ),
    Case(
        "5.1 at full level, downmixed to stereo",
        _film("loud.mkv", _tones("5.1", *[0.99] * 6), "-c:a", "flac", "-af", _FADES),
        _with(channels="stereo"),
        {**_FINE, layouts: ["stereo"], true_peak: Between(-3, 0)},
    ),
    Case(
        "Stereo with both channels alike, to mono",
        _film("mono.mp4", _same("stereo", 0.5, 0.5), "-c:a", "aac", "-b:a", "256k"),
        _with(channels="mono"),
        {**_FINE, layouts: ["mono"], level(0): about(-9.03, 0.4), sound_rate: Between(60_000, 140_000)},
    ),
    Case(
        "A broadcast whose sound turns from stereo to 5.1",
        _changing,
        SMALL,
        {**_FINE, frames: 100, layouts: ["5.1"], track_seconds: [about(4, 0.05)]},
    ),
    Case(
        "MXF with four mono tracks",
        _mono_tracks("four.mxf", 4),
        SMALL,
        {
            failure: "",
            warnings: ["audio-paired", "audio-tracks-left-out"],
            layouts: ["stereo"],
            level(0): about(-29.03, 0.5),
            level(1): about(-23.01, 0.5),
        },
    ),
    Case(
        "MOV with four mono tracks, of which all are wanted",
        _mono_tracks("four.mov", 4),
        _with(tracks="all"),
        {
            failure: "",
            warnings: ["audio-paired"],
            layouts: ["stereo", "stereo"],
            level(0, 1): about(-19.49, 0.5),
            level(1, 1): about(-16.99, 0.5),
        },
    ),
    Case(
        "MOV with six mono tracks, to 5.1",
        _mono_tracks("six.mov", 6),
        _with(channels="5.1"),
        {failure: "", warnings: ["audio-paired"], layouts: ["5.1"], level(5): about(-13.47, 0.7)},
    ),
    Case(
        "Sound of 8 kHz in eight bits",
        _film("8k.mkv", _tones("mono", 0.5, rate=8000), "-c:a", "pcm_u8"),
        SMALL,
        {**_FINE, layouts: ["mono"], sample_rates: [48000], track_seconds: [about(2, 0.05)]},
    ),
    Case(
        "Sound of 192 kHz in floating point",
        _film("192k.mkv", _tones("stereo", 0.5, 0.5, rate=192000), "-c:a", "pcm_f32le"),
        SMALL,
        {**_FINE, sample_rates: [48000], level(0): about(-9.03, 0.3)},
    ),
    Case(
        "Sound of 44.1 kHz",
        _film("441.mp4", _tones("stereo", 0.5, 0.5, rate=44100), "-c:a", "aac"),
        SMALL,
        {**_FINE, sample_rates: [44100], track_seconds: [about(2, 0.05)]},
    ),
    Case(
        "Four audio tracks in three languages, of which all are wanted",
        _many_languages,
        _with(tracks="all"),
        {
            **_FINE,
            languages: ["eng", "fra", "deu", "eng"],
            titles: ["", "", "", "Commentary"],
            default_sound: [1],
            layouts: ["5.1", "stereo", "mono", "stereo"],
        },
    ),
    Case(
        "Four audio tracks in three languages, of which French and German are wanted",
        _many_languages,
        _with(tracks=["de", "fra"]),
        {**_FINE, languages: ["deu", "fra"], layouts: ["mono", "stereo"], default_sound: [1]},
    ),
    Case(
        "Four audio tracks in three languages, of which Japanese is wanted",
        _many_languages,
        _with(tracks=["ja"]),
        {failure: "", warnings: ["audio-language-missing"] * 2, languages: ["eng"]},
    ),
    Case(
        "Four audio tracks, of which the profile says nothing",
        _many_languages,
        SMALL,
        {failure: "", warnings: ["audio-tracks-left-out"], languages: ["eng"]},
    ),
    Case("Sound that is not wanted", _many_languages, _with(codec="none"), {**_FINE, tracks: "video"}),
    Case(
        "5.1(side) as Opus",
        _film("opus.mkv", _tones("5.1(side)", *[0.1] * 6), "-c:a", "ac3", "-b:a", "448k"),
        _with(codec="opus"),
        {**_FINE, sound_codecs: ["opus"], layouts: ["5.1"], level(2): about(-23, 1)},
    ),
    Case(
        "Stereo as Opus in MP4",
        _film("opus.mp4", _tones("stereo", 0.1, 0.1, rate=44100), "-c:a", "aac"),
        _with(codec="opus", bitrate="64K"),
        {**_FINE, sound_codecs: ["opus"], sample_rates: [48000], track_seconds: [about(2, 0.05)]},
    ),
    Case(
        "Sound to be copied, which its container takes",
        _film("copy.mp4", _tones("5.1", *[0.1] * 6), "-c:a", "eac3", "-b:a", "256k"),
        _with(codec="copy"),
        {**_FINE, sound_codecs: ["eac3"], track_seconds: [about(2, 0.05)]},
    ),
    Case(
        "Sound to be copied, which its container does not take",
        _film("copy.avi", _tones("stereo", 0.1, 0.1), "-c:a", "wmav2"),
        _with(codec="copy"),
        {failure: "", warnings: ["audio-encoded"], sound_codecs: ["aac"]},
    ),
    Case(
        "Sound of TS to be copied, which is AAC",
        _film("copy.ts", _tones("stereo", 0.1, 0.1), "-c:a", "aac"),
        _with(codec="copy"),
        {**_FINE, sound_codecs: ["aac"], track_seconds: [about(2, 0.06)]},
    ),
    Case(
        "5.1 as Opus in TS",
        _film("opus.ts", _tones("5.1", *[0.1] * 6), "-c:a", "aac"),
        _with(codec="opus"),
        {**_FINE, sound_codecs: ["opus"], layouts: ["5.1"], track_seconds: [about(2, 0.06)]},
    ),
    Case(
        "Sound to be copied from a part of a film",
        _film("part.mp4", _tones("stereo", 0.1, 0.1), "-c:a", "aac"),
        {"ffmpeg": {**SMALL["ffmpeg"], "start": 0.4, "end": 1.6}, "audio": {"codec": "copy"}},
        {failure: "", warnings: ["audio-encoded"], frames: 30, track_seconds: [about(1.2, 0.05)]},
    ),
    Case(
        "Two languages of a part of a film, to -16 LUFS in stereo",
        lambda folder: ffmpeg(
            folder,
            "two.mkv",
            "-i",
            BUNNY,
            "-map",
            "0:v",
            "-map",
            "0:a",
            "-map",
            "0:a",
            "-c",
            "copy",
            "-metadata:s:a:0",
            "language=eng",
            "-metadata:s:a:1",
            "language=fra",
        ),
        {
            "ffmpeg": {**SMALL["ffmpeg"], "start": 1, "end": 4},
            "audio": {"tracks": ["fr", "en"], "loudness": -16, "channels": "stereo"},
        },
        {**_FINE, languages: ["fra", "eng"], loudness: about(-16, 0.5), true_peak: Between(-12, -1)},
    ),
    Case(
        "Quiet 5.1, to -23 LUFS",
        _film("quiet.mkv", _tones("5.1", *[0.01] * 6), "-c:a", "flac"),
        _with(loudness=-23),
        {**_FINE, layouts: ["5.1"], loudness: about(-23, 0.5), true_peak: Between(-30, -1)},
    ),
    Case(
        "Loud 5.1, to -23 LUFS in stereo",
        _film("loud5.mkv", _tones("5.1", *[0.9] * 6), "-c:a", "flac", "-af", _FADES),
        _with(loudness=-23, channels="stereo"),
        {**_FINE, layouts: ["stereo"], loudness: about(-23, 0.5), true_peak: Between(-30, -1)},
    ),
    Case(
        "Bursts over a quiet ground, to -16 LUFS",
        _film("bursts.mkv", _BURSTS, "-c:a", "flac"),
        _with(loudness=-16),
        {**_FINE, loudness: about(-16, 0.5), true_peak: Between(-6, -1)},
    ),
    Case(
        "Bursts over a quiet ground, to a loudness that their peaks forbid",
        _film("bursts.mp4", _BURSTS, "-c:a", "aac", "-b:a", "256k"),
        _with(loudness=-6),
        {failure: "", warnings: ["audio-loudness-missed"], true_peak: Between(-6, -1)},
    ),
    Case(
        "Half a second of noise, to -16 LUFS as Opus",
        _film("short.mkv", ("-f", "lavfi", "-i", "anoisesrc=d=0.5:a=0.1:c=pink:r=48000:seed=1"), "-c:a", "flac"),
        _with(loudness=-16, codec="opus"),
        {**_FINE, layouts: ["mono"], loudness: about(-16, 0.5), true_peak: Between(-6, -1)},
    ),
    Case(
        "Silence, to -23 LUFS",
        _film("silence.mkv", ("-f", "lavfi", "-i", "anullsrc=cl=stereo:d=2:r=48000"), "-c:a", "flac"),
        _with(loudness=-23),
        {failure: "", warnings: ["audio-silent"], layouts: ["stereo"], loudness: -70.0},
    ),
    Case(
        "TS whose sound is announced and never comes",
        _empty("empty.ts"),
        SMALL,
        {failure: "", warnings: ["audio-empty"], tracks: "video", frames: 50},
    ),
    Case(
        "Fragmented MP4 whose sound is announced and never comes",
        _empty("empty.mp4", "-movflags", "frag_keyframe+empty_moov"),
        SMALL,
        {failure: "", warnings: ["audio-empty"], tracks: "video", frames: 50},
    ),
    Case(
        "Matroska whose sound is announced and never comes",
        _empty("empty.mkv"),
        SMALL,
        {failure: "", warnings: ["audio-empty"], tracks: "video", frames: 50},
    ),
    Case(
        "Fragmented MP4 whose first sound never comes, and the second does",
        _film(
            "second.mp4",
            _tones("stereo", 0.1, 0.1),
            "-map",
            "1:a",
            "-c:a:0",
            "libopus",
            "-c:a:1",
            "aac",
            "-bsf:a:0",
            "noise=drop=1",
            "-movflags",
            "frag_keyframe+empty_moov",
        ),
        SMALL,
        {failure: "", warnings: ["audio-empty"], tracks: "video audio", track_seconds: [about(2, 0.05)]},
    ),
    Case(
        "Matroska whose sound begins after 12 s",
        lambda folder: ffmpeg(
            folder,
            "late.mkv",
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=320x180:r=5:d=15",
            "-itsoffset",
            12,
            *_tones("stereo", 0.1, 0.1),
            *_H264,
            "-map",
            "1:a",
            "-c:a",
            "aac",
        ),
        SMALL,
        {**_FINE, frames: 75, tracks: "video audio", track_seconds: [Between(2, 15.1)]},
    ),
    Case(
        "MP4 whose sound is damaged in every packet",
        lambda folder: ffmpeg(folder, "bad.mp4", "-t", 2, "-i", BUNNY, "-c", "copy", "-bsf:a", "noise=amount=5"),
        SMALL,
        {failure: "", warnings: ["sound-damaged"], frames: 50},
    ),
    Case(
        "MP4 whose sound breaks off into 32 channels of noise",
        lambda folder: ffmpeg(
            folder, "half.mp4", "-t", 3, "-i", BUNNY, "-c", "copy", "-bsf:a", r"noise=amount=200*gt(n\,60)"
        ),
        SMALL,
        {failure: "", warnings: ["audio-empty"], tracks: "video", frames: 75},
    ),
    Case(
        "Matroska whose first sound has a codec that nobody knows",
        _replaced("xyz.mkv", ("-map", "0:a", "-map", "0:a", "-c", "copy"), (b"A_AAC", b"A_XYZ")),
        SMALL,
        {failure: "", warnings: ["audio-undecodable"], tracks: "video audio", layouts: ["5.1"]},
    ),
    Case(
        "MP4 whose only sound has a codec without a decoder",
        _replaced("ac4.mp4", ("-map", "0:a", "-c", "copy"), (b"mp4a", b"ac-4"), (b"esds", b"free")),
        SMALL,
        {failure: "", warnings: ["audio-undecodable"], tracks: "video", frames: 50},
    ),
)
