"""What each of ffmpeg's options does to the fields of a profile. Pure."""

import re
from collections.abc import Callable, Mapping

from elasticrecode_client.command import ffmpeg_filters as filters
from elasticrecode_client.command import ffmpeg_values as values
from elasticrecode_client.command.ffmpeg_reading import Flag, Reading
from elasticrecode_client.command.ffmpeg_tables import AUDIO_CODECS, CODECS, PRESETS, TUNINGS
from elasticrecode_client.command.ffmpeg_values import Unsayable

_PICTURES = ("0:v", "0:v:0", "v", "v:0", "0:0")
_LANGUAGE = re.compile(r"(?:0:)?(?:([as]):)?m:language:([a-z]{2,3})", re.ASCII)


def _video_codec(reading: Reading, name: str) -> None:
    if name not in CODECS:
        near = (
            "-c:v libsvtav1" if name.startswith(("libvpx", "vp9", "av1", "libaom")) else "-c:v libx264 or -c:v libx265"
        )
        if name == "copy":
            raise Unsayable("pictures are always encoded", "-c:v libx264; -c:a copy copies the sound")
        raise Unsayable("workers do not have this encoder", near)
    codec, is_gpu, note = CODECS[name]
    reading.video["codec"] = codec
    if is_gpu:
        reading.video["platform"] = "gpu"
    if note:
        reading.notes.append(note)


def _audio_codec(reading: Reading, name: str) -> None:
    if name not in AUDIO_CODECS:
        raise Unsayable("workers do not encode it", "-c:a aac, -c:a libopus or -c:a copy")
    reading.audio["codec"] = AUDIO_CODECS[name]


def _both_codecs(reading: Reading, name: str) -> None:
    if name == "copy":
        reading.audio["codec"] = "copy"
    _video_codec(reading, name)


def _subtitle_codec(reading: Reading, name: str) -> None:
    if name not in ("copy", "mov_text", "webvtt", "srt", "subrip"):
        raise Unsayable("text tracks are carried as the container takes them", "-c:s mov_text, or --burn LANGUAGE")
    reading.subtitles.setdefault("tracks", "all")


def _bitrate(reading: Reading, text: str) -> None:
    if values.bits(text):
        reading.video["bitrate"] = _between(text, 50_000, 200_000_000)


def _between(text: str, low: int, high: int) -> str:
    given = values.bits(text)
    if not low <= given <= high:
        nearest = values.rate_of(min(max(given, low), high))
        raise Unsayable(f"is out of range: {values.rate_of(low)} to {values.rate_of(high)}", nearest)
    return values.rate_of(given)


def _video_rate(field: str, low: int, high: int) -> Callable[[Reading, str], None]:
    return lambda reading, text: reading.video.update({field: _between(text, low, high)})


def _quality(reading: Reading, text: str) -> None:
    wanted = values.number(text)
    if not 0 <= wanted <= 63:
        raise Unsayable("is out of range", "0 to 51, for AV1 to 63")
    reading.video["quality"] = {"crf": int(wanted) if wanted == int(wanted) else wanted}


def _preset(reading: Reading, word: str) -> None:
    if word not in PRESETS:
        raise Unsayable("is no preset", "-preset fast, medium or slow")
    reading.video["speed"], runs = PRESETS[word]
    if word not in runs:
        reading.notes.append(f"-preset {word} becomes {reading.video['speed']}: {' or '.join(runs)} by encoder.")


def _tune(reading: Reading, word: str) -> None:
    if word not in TUNINGS:
        raise Unsayable("is a tuning that workers do not have", "leave it out, or -tune zerolatency")
    if TUNINGS[word]:
        reading.video["profile"] = TUNINGS[word]


def _profile(reading: Reading, word: str) -> None:
    if word in ("main10", "main-10"):
        reading.video["bitDepth"] = 10
    elif word not in ("high", "main"):
        raise Unsayable("follows from the codec, the depth and the rates", "leave it out")
    elif word == "main" and reading.video.get("codec", "h264") == "h264":
        raise Unsayable("H.264 is encoded as High, which every player of this decade decodes", "leave it out")


def _filters(reading: Reading, chain: str) -> None:
    for text, fault in filters.apply_video(chain, reading.video):
        reading.fault(Flag(reading.flags["-vf"].name, text), fault)
    for text in re.findall(r"scale=(-[12]:\d+|\d+:-[12])", chain):
        reading.notes.append(f"scale={text} becomes {reading.video.get('scale')}: inside that box, never enlarged.")


def _audio_filters(reading: Reading, chain: str) -> None:
    for text, fault in filters.apply_audio(chain, reading.audio):
        reading.fault(Flag(reading.flags["-af"].name, text), fault)


def _size(reading: Reading, text: str) -> None:
    filters.set_size(reading.video, values.size(text), "exact")


def _pixels(reading: Reading, text: str) -> None:
    filters.set_pixels(reading.video, text)


def _channels(reading: Reading, text: str) -> None:
    layouts = {"1": "mono", "2": "stereo", "6": "5.1"}
    if text not in layouts:
        raise Unsayable("outputs have mono, stereo or 5.1", "-ac 2, or -ac 6")
    reading.audio["channels"] = layouts[text]


def _sampling(_: Reading, text: str) -> None:
    if text != "48000":
        raise Unsayable(
            "follows from the source: 44.1 kHz and its multiples stay so, all else is 48 kHz", "leave it out"
        )


def _no_video(reading: Reading, _: str) -> None:
    reading.has_video = False


def _no_audio(reading: Reading, _: str) -> None:
    reading.audio = {"codec": "none"}


def _time(field: str) -> Callable[[Reading, str], None]:
    return lambda reading, text: reading.video.update({field: values.seconds(text)})


def _forced_keyframes(reading: Reading, text: str) -> None:
    match = re.fullmatch(r"expr:gte\(t,\s*n_forced\*([\d.]+)\)", text)
    if not match:
        raise Unsayable("keyframes stand at even intervals", "-force_key_frames 'expr:gte(t,n_forced*2)'")
    reading.set_interval("-force_key_frames", values.number(match[1]))


def _number_of(field: str) -> Callable[[Reading, str], None]:
    return lambda reading, text: reading.video.update({field: values.number(text)})


def _map(reading: Reading, text: str) -> None:
    plain = text.rstrip("?")
    reading.maps_video = reading.maps_video or plain in (*_PICTURES, "0")
    if text.startswith("-") or plain in _PICTURES:
        return
    if match := _LANGUAGE.fullmatch(plain):
        part = reading.subtitles if match[1] == "s" else reading.audio
        tracks = part.setdefault("tracks", [])
        part["tracks"] = [*tracks, *({match[2]} - {*tracks})] if isinstance(tracks, list) else tracks
    elif plain in ("0:a:0", "a:0"):
        reading.audio["tracks"] = "first"
    elif plain in ("0:a", "a"):
        reading.audio["tracks"] = "all"
    elif plain in ("0:s", "s"):
        reading.subtitles["tracks"] = "all"
    elif plain == "0":
        reading.audio["tracks"] = reading.subtitles["tracks"] = "all"
    else:
        raise Unsayable("tracks are chosen by their language, or all", "-map 0:a, or -map 0:a:m:language:eng")


def _parameters(reading: Reading, text: str) -> None:
    """The parameters of x264 and x265 that have an option of ffmpeg's own."""
    words = {"crf": "-crf", "keyint": "-g", "preset": "-preset", "tune": "-tune"}
    rates = {"bitrate": "-b:v", "vbv-maxrate": "-maxrate", "vbv-bufsize": "-bufsize"}
    for part in text.split(":"):
        name, _, value = part.partition("=")
        if name in words or name in rates:
            own = words.get(name) or rates[name]
            READERS[own](reading, value if name in words else f"{value}k")
        elif part not in ("scenecut=0", "no-scenecut", "no-scenecut=1", "open-gop=0", "no-open-gop", "no-open-gop=1"):
            raise Unsayable(f"{name} is the encoder's own", "-preset slow spends more time on the same choices")


READERS: Mapping[str, Callable[[Reading, str], None]] = {
    "-i": lambda reading, path: reading.inputs.append(path),
    "-c": _both_codecs,
    "-c:v": _video_codec,
    "-c:a": _audio_codec,
    "-c:s": _subtitle_codec,
    "-b:v": _bitrate,
    "-maxrate": _video_rate("maxrate", 50_000, 200_000_000),
    "-minrate": _video_rate("minrate", 0, 200_000_000),
    "-bufsize": _video_rate("buffersize", 1000, 500_000_000),
    "-crf": _quality,
    "-cq": _quality,
    "-preset": _preset,
    "-tune": _tune,
    "-profile:v": _profile,
    "-vf": _filters,
    "-af": _audio_filters,
    "-s": _size,
    "-pix_fmt": _pixels,
    "-r": lambda reading, text: reading.video.update(frameRate=values.frame_rate(text)),
    "-g": _number_of("g"),
    "-force_key_frames": _forced_keyframes,
    "-b:a": lambda reading, text: reading.audio.update(bitrate=_between(text, 16_000, 1_024_000)),
    "-ac": _channels,
    "-ar": _sampling,
    "-an": _no_audio,
    "-vn": _no_video,
    "-ss": _time("start"),
    "-to": _time("to"),
    "-t": _time("t"),
    "-map": _map,
    "-x264-params": _parameters,
    "-x264opts": _parameters,
    "-x265-params": _parameters,
    "-hwaccel": lambda reading, word: reading.video.update({"platform": "gpu"} if word in ("cuda", "cuvid") else {}),
}
"""Option, by its name in the tables → what reads its value. Raises Unsayable."""
